"""Redaction: personal data and secrets are taken out of texts before export.

E-mail addresses, phone numbers, payment cards, bank accounts, IP addresses and secrets become their
kind in angle brackets. What can be checked is checked: a card by Luhn's digit, an IBAN by its
remainder, an address by parsing it, so that order numbers and dates stay. Names, streets and dates
of birth stay, too; to remove those, pass your own function.

    >>> scrub_text("Mail jo@example.org or call +1 202 555 0143.")
    'Mail <email> or call <phone>.'
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from tunegate.harness.contracts import lookup
from tunegate.harness.records.errors import UsageError
from tunegate.harness.telemetry.export.secret_rules import find_secrets

if TYPE_CHECKING:
    from tunegate.harness.telemetry.export.content import ContentCapture, Redact


KINDS = ("email", "phone", "card", "iban", "ip", "key")
"""Kinds of data found by form and check digits; names and streets are not found."""


class _RedactionRule(NamedTuple):
    kind: str
    form: re.Pattern[str]
    length: Callable[[str], int]
    """How many characters of a match are the value; 0 if the match is not personal data."""

    def values(self, text: str) -> Iterator[tuple[int, int]]:
        for found in self.form.finditer(text):
            if length := self.length(found[0]):
                yield found.start(), found.start() + length


def scrub_text(text: str) -> str:
    """Return the text with `<email>`, `<phone>`, `<card>`, `<iban>`, `<ip>` and `<key>` in it.

    The time is linear in the length of the text.
    """
    return mask_values(text, kinds=KINDS)


def personal_values(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield kind, begin and end of what `scrub_text` replaces, in the order of the text."""
    places = [(begin, end, "key") for begin, end in find_secrets(text)]
    taken = bytearray(len(text))
    for begin, end, _ in places:
        taken[begin:end] = b"x" * (end - begin)
    for rule in _RULES:
        for begin, end in rule.values(text):
            if not any(taken[begin:end]):
                taken[begin:end] = b"x" * (end - begin)
                places.append((begin, end, rule.kind))
    yield from ((kind, begin, end) for begin, end, kind in sorted(places))


def mask_values(
    text: str, *, kinds: Collection[str], keep: Collection[str] = (), start: int = 0
) -> str:
    """Return the text from `start` with a mark such as `<email>` for each value of `kinds`.

    Values to `keep` stay.
    """
    parts, last = [], start
    for kind, begin, end in personal_values(text):
        if kind in kinds and begin >= start and text[begin:end] not in keep:
            parts += [text[last:begin], f"<{kind}>"]
            last = end
    return "".join([*parts, text[last:]])


def _card(text: str) -> int:
    """Luhn's check digit over 13 to 19 digits (ISO/IEC 7812-1, annex B)."""
    digits = _digits(text)
    doubled = [d if at % 2 == 0 else sum(divmod(2 * d, 10)) for at, d in enumerate(digits[::-1])]
    right = 13 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(doubled) % 10 == 0
    return len(text) if right else 0


def _iban(text: str) -> int:
    """Its remainder by 97 is 1, with letters as numbers (ISO 13616-1)."""
    ends = [len(text), *(at for at in range(len(text) - 1, 0, -1) if text[at] == " ")]
    for end in ends:  # a word in capitals may follow
        plain = text[:end].replace(" ", "")
        number = "".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])
        if 15 <= len(plain) <= 34 and int(number) % 97 == 1:
            return end
    return 0


def _phone(text: str) -> int:
    """As many digits as a number of E.164 may have."""
    return len(text) if 8 <= len(_digits(text)) <= 15 else 0


def _address(text: str) -> int:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return 0
    if address.version == 6 and not (len(text) > 6 and any(sign.isdecimal() for sign in text)):
        return 0  # `a::b` is a name in C++
    return 0 if address.is_loopback or address.is_unspecified else len(text)


def _digits(text: Iterable[str]) -> list[int]:
    return [int(sign) for sign in text if "0" <= sign <= "9"]


# Each quantifier is bounded, or its characters cannot begin what follows: no text makes them
# backtrack far.
_RULES = (
    _RedactionRule(
        "email",
        re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b"),
        len,
    ),
    _RedactionRule("iban", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{1,4}){3,8}\b"), _iban),
    _RedactionRule("card", re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?!\d|\.\d)"), _card),
    _RedactionRule(
        "ip",
        re.compile(
            r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\d|\.\d)"
            r"|(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4}(?![\w:])"
        ),
        _address,
    ),
    _RedactionRule(
        "phone",
        re.compile(
            r"(?<![\w+])\+\d(?:[ ()./-]{0,2}\d){7,14}(?!\d)"
            r"|(?<![\w.-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])"
            r"|(?<![\w.-])\(?0\d{1,4}\)?[ /-]\d{3,}(?:[ /-]?\d{2,}){0,3}(?![\w-])"
        ),
        _phone,
    ),
)
"""In the order of search, after secrets: an IBAN may hold what looks like a card."""

NAMES: dict[str, Redact | None] = {"pii": scrub_text, "none": None}
"""Name → redaction; None leaves texts as they are."""


def content_of(shown: bool, redact: str) -> ContentCapture | None:
    """Return what traces hold of prompts and answers; None if they hold nothing.

    `redact` is `pii`, `none`, or `pkg.mod:fn`, a function from text to text.
    """
    redaction = find_redaction(redact)
    if not shown:
        return None
    from tunegate.harness.telemetry.export.content import ContentCapture

    return ContentCapture(redaction)


def find_redaction(redact: str) -> Redact | None:
    """Return the redaction called `redact`, or the user's own; None for `none`."""
    if ":" not in redact:
        if redact not in NAMES:
            raise UsageError(
                f"redaction {redact!r} must be pii, none or a function written pkg.mod:fn"
            )
        return NAMES[redact]
    redaction = lookup.find_object("tunegate.harness.telemetry.export", redact, what="redaction")
    if not callable(redaction):
        raise UsageError(f"redaction {redact!r} must be a function from text to text")
    return redaction  # type: ignore[no-any-return]  # its results are checked each time
