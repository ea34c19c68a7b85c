"""Values in rows that belong to somebody: personal data and secrets, without made-up ones."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from tunegate.harness.telemetry.export.redaction import personal_values

_EXAMPLE = re.compile(r"(?:^|[@.])example(?:\.\w+)?$|\.(?:test|invalid|localhost)$", re.IGNORECASE)
"""Domains that nobody can have (RFC 2606)."""
_FICTION = re.compile(r"(?<!\d)555(?!\d)")
"""The exchange of made-up numbers in North America."""
_CARD = re.compile(r"\d{13,19}|(?:\d{4}[ -]){3}\d{1,7}|\d{4}[ -]\d{6}[ -]\d{4,5}")
"""Digits as on a card; a table of numbers passes Luhn's check in one case of ten."""


def somebodys_values(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield kind, begin and end of the values that may be somebody's, in the order of the text."""
    for kind, begin, end in personal_values(text):
        if not is_nobodys(kind, text[begin:end]):
            yield kind, begin, end


def is_nobodys(kind: str, value: str) -> bool:
    """Return whether a value cannot be anybody's, so that training on it does no harm."""
    if kind == "ip":
        return not ipaddress.ip_address(value).is_global
    if kind == "card":
        return not _CARD.fullmatch(value)
    made_up = {"email": _EXAMPLE, "phone": _FICTION}.get(kind)
    return made_up is not None and made_up.search(value) is not None
