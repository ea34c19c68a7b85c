"""Violations: what a check found, and how it is printed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CheckViolation:
    """One failed check."""

    check: str
    """`json_schema`, `injection`, `personal` …"""
    reason: str
    failed: bool = False
    """Whether the check failed to run, so that nothing is known."""


def format_violations(violations: list[CheckViolation]) -> str:
    """Return violations in one line."""
    return "; ".join(f"{one.check}: {one.reason}" for one in violations)


_LONGEST = 200


def shorten_reason(reason: str | None) -> str:
    """Return a reason in one line of at most 200 characters."""
    text = " ".join((reason or "failed").split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def format_counts(found: Mapping[str, int]) -> str:
    """Return kinds of data with their counts, such as `2 email, 1 iban`."""
    return ", ".join(f"{count} {kind}" for kind, count in found.items())


def check_length(text: str, most: int | None) -> Iterator[CheckViolation]:
    """Yield the violation of a text that is longer than `most` characters."""
    if most is not None and len(text) > most:
        yield CheckViolation("length", f"{len(text)} characters, and {most} are allowed")
