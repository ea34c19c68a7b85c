"""Personal data in a text: what the redaction of traces would take out of it."""

from __future__ import annotations

import re
from collections import Counter

from harness.tracing.scrub import scrub

KINDS = ("email", "phone", "card", "iban", "ip", "key")
"""What is looked for, by form and check digits; names and streets are not."""
_MARK = re.compile(f"<({'|'.join(KINDS)})>")


def personal_data(text: str, kinds: tuple[str, ...] = KINDS) -> Counter[str]:
    """Return how often each of the kinds stands in a text."""
    found = Counter(_MARK.findall(scrub(text)))
    found.subtract(_MARK.findall(text))  # a text that was redacted before has marks of its own
    return Counter({kind: found[kind] for kind in kinds if found[kind] > 0})
