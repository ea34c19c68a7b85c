"""What a check found: its name and a reason that quotes no personal data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One failed check."""

    check: str
    """`json_schema`, `injection`, `personal` …"""
    reason: str


def in_words(violations: list[Violation]) -> str:
    """Return violations in one line."""
    return "; ".join(f"{one.check}: {one.reason}" for one in violations)
