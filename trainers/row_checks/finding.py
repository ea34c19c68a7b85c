"""A finding on training rows: what it is, where, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

SHOWN = 3
"""Places that a finding names."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem that some rows have."""

    what: str
    advice: str
    places: Sequence[str] = field(repr=False)
    """File and line of each row that has it; empty if no single row has it."""

    @property
    def first_places(self) -> str:
        """The first places, a line each."""
        more = len(self.places) - SHOWN
        return "\n".join([*self.places[:SHOWN], *([f"and {more:,} more"] if more > 0 else [])])


def find(what: str, advice: str, places: Sequence[str]) -> list[Finding]:
    """Return the finding as a list, which is empty where no row has it."""
    return [Finding(what, advice, places)] if places else []
