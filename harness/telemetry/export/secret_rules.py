"""Secrets in a text: keys, tokens and passwords, by the rules of betterleaks and a few forms more.

The rules are in secret_rules.json, with their source and licence. A rule is tried on a text that
holds one of its keywords, and its value must look random (Shannon's entropy).
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

_RULES = Path(__file__).with_name("secret_rules.json")


@dataclass(frozen=True, eq=False)
class _SecretRule:
    id: str
    regex: str
    keywords: Sequence[str]
    """In lower case; a text without any has no such secret."""
    entropy: float = 0.0
    """Bits per character that a value must exceed."""
    group: int = 0
    """Group of the value; 0 is the first that matched, or else the whole match."""
    unless: str = ""
    stopwords: Sequence[str] = ()
    """Parts of names and words, which no random value holds."""

    @cached_property
    def form(self) -> re.Pattern[str]:
        return re.compile(self.regex, re.ASCII)

    def values(self, text: str) -> Iterator[tuple[int, int]]:
        for match in self.form.finditer(text):
            groups = (self.group,) if self.group else range(1, self.form.groups + 1)
            begin, end = match.span(next((at for at in groups if match[at]), 0))
            value = text[begin:end]
            if _entropy(value) > self.entropy and not self._is_excepted(match[0], value):
                yield begin, end

    def _is_excepted(self, match: str, value: str) -> bool:
        if not self.unless:
            return False
        return (
            not any(sign.isdecimal() for sign in value)
            or any(word in value.lower() for word in self.stopwords)
            or re.search(self.unless, match, re.ASCII) is not None
        )


def find_secrets(text: str) -> list[tuple[int, int]]:
    """Return begin and end of each secret, in the order of the text."""
    spans = [
        *(span for form in _FORMS for span in _form_values(form, text)),
        *(span for rule in _rules_for(text) for span in rule.values(text)),
    ]
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


# What the rules leave out. Each quantifier is bounded, or its
# characters cannot begin what follows: no text makes them backtrack far.
_BASIC = re.compile(r"(?i)\bbasic +([A-Za-z0-9+/]{6,1024}={0,2})(?![\w+/=])")
_FORMS = (
    # OpenAI's form, used by many others
    re.compile(r"\b(sk-(?=[A-Za-z_\-]{0,256}\d)[A-Za-z0-9_\-]{12,256})"),
    re.compile(r"\b(ya29\.[A-Za-z0-9_\-]{12,1024})"),  # Google's OAuth 2.0
    # RFC 6750, section 2.1
    re.compile(r"(?i)\bbearer ((?=[A-Z._~+/\-]{0,256}\d)[A-Z0-9._~+/\-]{16,4096}=*)"),
    _BASIC,
    re.compile(r"""\bcurl [^\n]{0,200}?(?:-u|--user)[ =]?["']?[^\s"':]{1,64}:([^\s"']{2,256})"""),
    re.compile(r":(?:\\?/){2}[^\s:/?#@\"'<>{}\\]{0,64}:([^\s/?#@\"'<>{}\\]{1,256})@"),
    re.compile(  # a private key, also one whose end was cut off
        r"(?i)(-----BEGIN[ A-Z0-9_-]{0,100}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[A-Z0-9+/=:,\s]|-(?!-)|\\{1,8}[nrt/]){16,8192}"
        r"(?:-----END[ A-Z0-9_-]{0,100}KEY(?: BLOCK)?-----)?)"
    ),
)


def _form_values(form: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    for found in form.finditer(text):
        if form is not _BASIC or _is_credentials(found[1]):
            yield found.span(1)


def _is_credentials(encoded: str) -> bool:
    """Return whether a text is a name, a colon and a password in base64 (RFC 7617)."""
    try:
        name, colon, _ = base64.b64decode(encoded, validate=True).decode().partition(":")
    except ValueError:
        return False
    return bool(colon) and name.isprintable()


def _entropy(value: str) -> float:
    """Shannon's entropy in bits per character."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


def _rules_for(text: str) -> Iterable[_SecretRule]:
    keywords, rules = _keyword_index()
    found = {found[1] for found in keywords.finditer(text.lower())}
    return dict.fromkeys(rule for keyword in sorted(found) for rule in rules[keyword])


@cache
def _keyword_index() -> tuple[re.Pattern[str], dict[str, list[_SecretRule]]]:
    """Return an expression that finds the longest keyword at each place, and its rules.

    Where a keyword begins with another one, it has the rules of both.
    """
    rules = [_SecretRule(**rule) for rule in json.loads(_RULES.read_text("utf-8"))["rules"]]
    words = sorted({keyword for rule in rules for keyword in rule.keywords})
    return re.compile(f"(?=({_trie(words)}))"), {
        word: [rule for rule in rules if any(map(word.startswith, rule.keywords))] for word in words
    }


def _trie(words: Iterable[str]) -> str:
    """Return an expression for the longest of the words, which tries each character once."""
    heads: dict[str, list[str]] = {}
    for word in words:
        heads.setdefault(word[:1], []).append(word[1:])
    ends = heads.pop("", None) is not None
    if not heads:
        return ""
    body = "|".join(re.escape(head) + _trie(rest) for head, rest in heads.items())
    return f"(?:{body})" + ("?" if ends else "")
