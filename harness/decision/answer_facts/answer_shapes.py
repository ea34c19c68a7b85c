"""Shapes of an answer: what many answers share if no model wrote them, whatever their ids are."""

from __future__ import annotations

import re
from collections.abc import Iterator

_HEAD = 160
"""Characters of an answer that its shape is made of."""
_EARLY = 100
"""Characters in which the words of a failed program stand."""
SHOWN = 60
"""Characters of a shape that are kept and shown."""
_FEW = 4
"""Words of a beginning or an end."""
_VARIABLE = re.compile(r"""[^\s\d"'`]*\d\S*|"[^"\n]*"|(?<!\w)'[^'\n]*'(?!\w)|`[^`\n]*`""")
"""What differs between two texts of one template: ids, numbers, quoted texts."""
_DIGIT = re.compile(r"\d")
_MACHINE = re.compile(
    r"""Traceback\ \(most\ recent | ^\W*[\w.]*(?:error|exception|fatal|panic)\b\W*[:(\]]
    | ^\s*\{\s*"errors?"\s*: | ^\s*<(?:!doctype|html|\?xml)\b.*(?:[45]\d\d|error|denied|unavailable)
    | \b(?:HTTP|status|error)[\s/:=\d.]*\s?[45]\d\d\b
    | \b[45]\d\d\b\W+(?:client|server|bad|forbidden|internal|not\ found|service|too\ many|gateway)
    | too\ many\ requests | (?:rate|usage|token|request)[\s_-]?limit | quota | retry[\s_-]after
    | (?:service|server|model|temporarily)\ (?:is\ )?(?:currently\ )?(?:unavailable|overloaded)
    | internal\ server\ error | bad\ gateway | gateway\ time-?out | time[d-]?\ ?out
    | connection\ (?:refused|reset|aborted|closed|error) | max(?:imum)?\ retries | unauthori[sz]ed
    | content[\s_](?:management[\s_])?(?:policy|filter)""",
    re.IGNORECASE | re.VERBOSE,
)
"""Words of programs that failed: tracebacks, HTTP errors, error pages, limits, filters."""
_MARKS = re.compile(
    r"<\|[\w ]{1,40}\|>|<｜[^｜]{1,40}｜>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
    r"|<(?:unk|pad|eos|bos)>|\{[{%] ?\w[^{}]{0,60}[%}]\}"
    r"|\A<s>(?!.*</s>\s*(?!<s>)\S)|</s>\s*(?:<s>|\Z)",
    re.DOTALL,
)
"""Marks of chat templates, which no answer should show.

`<s>` is one around or between answers. Within an answer, it is HTML that is struck through.
"""
_GARBLED = re.compile(r"\ufffd|â€|Ã[\x80-\xbf]|[\x00-\x08\x0e-\x1f\x7f-\x9f]")
"""Replacement, mojibake and control characters."""
_ROLES = frozenset(
    ("user", "assistant", "human", "ai", "system", "prompt", "q", "a", "question", "answer")
)
"""Words around the turns of a conversation."""
WORD = re.compile(r"\w+")
READ = 1000
"""Cases of a suite, and below twice as many characters of a text, whose words are compared."""

Shape = tuple[str, str]
"""(kind of shape, text that the answers share)."""
MACHINE_KINDS = {
    "error": "error messages",
    "garbled": "garbled text",
    "marks": "template marks",
    "echo": "the prompt",
}
"""Kind → the name of shapes that no model should answer with."""


def shapes_of(text: str, prompt: str) -> tuple[Shape, ...]:
    """Return the shapes of an answer to a prompt; none if it is empty."""
    return tuple(_shapes(text, prompt)) if text else ()


def words_of(text: str) -> frozenset[str]:
    """Return the different words of the beginning of a text."""
    return frozenset(WORD.findall(text[: 2 * READ].casefold()))


def plain_words(text: str) -> str:
    """Return the words of a text in small letters, with single spaces between them."""
    return " ".join(WORD.findall(text.casefold()))


def _shapes(text: str, prompt: str) -> Iterator[Shape]:
    head = text[:_HEAD]
    shape = _VARIABLE.sub(lambda part: _as_variable(part[0], prompt), head)
    words = shape.split()
    more = f" … ({text.count(' ') + 1} words)" if len(shape) > SHOWN else ""
    yield "shape", " ".join(words)[:SHOWN] + more
    yield "start", " ".join(words[:_FEW])[:SHOWN]
    if len(words) >= 2 * _FEW:
        ending = text[-200:].split()[-_FEW:]
        yield "end", " ".join(_as_variable(w, prompt) if has_digit(w) else w for w in ending)
    if len(text) >= 4 * _FEW:
        yield "length", str(len(text))
    match = _MACHINE.search(head[:_EARLY])
    if match and " " in head and match[0].casefold() not in prompt.casefold():
        yield "error", ""  # a word alone is a label
    if _is_garbled(text):
        yield "garbled", ""
    mark = _MARKS.search(text) if "<" in text or "[" in text or "{" in text else None
    if mark and not _MARKS.search(prompt):
        # A base that never ends a turn writes them behind its answer.
        yield ("marks", "") if mark.start() < _FEW else ("inside", "marks of a chat template")
    if _repeats(text, prompt):
        yield "echo", ""


def starts_with_error(text: str) -> bool:
    """Return whether a text begins with the words of a program that failed."""
    return _MACHINE.match(text.lstrip(" \t\r\n*#>[(\"'")) is not None


def has_digit(text: str) -> bool:
    """Return whether a text has a digit."""
    return _DIGIT.search(text) is not None


def _as_variable(part: str, prompt: str) -> str:
    """Return the sign of a variable part; what the answer copied from its prompt stays."""
    return part if part.strip("\"'`.,:;!?()[]{}") in prompt else "#"


def _is_garbled(text: str) -> bool:
    """Return whether characters are broken: UTF-8 read as another encoding, or binary data."""
    if _GARBLED.search(text):
        return True
    if text.isascii():
        return False
    try:
        return len(text.encode("cp1252").decode("utf-8")) < len(text)
    except UnicodeError:
        return False


def _repeats(text: str, prompt: str) -> bool:
    """Return whether an answer is its prompt, with the names of roles or cut at its end."""
    return holds_prompt(text, prompt) and words_of(text) - words_of(prompt) <= _ROLES


def holds_prompt(text: str, prompt: str, *, share: float = 0.8) -> bool:
    """Return whether an answer has a share of its prompt's words, and about its length."""
    if not len(prompt) / 2 < len(text) < 2 * len(prompt) + SHOWN:
        return False
    prompt_words = words_of(prompt)
    return len(prompt_words) >= _FEW and len(words_of(text) & prompt_words) >= share * len(
        prompt_words
    )
