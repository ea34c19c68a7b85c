"""What came out of running an answer with the tests of its case."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from tunegate.harness.records.record import Record, Text


class End(StrEnum):
    """How a program ended."""

    PASSED = "passed"
    FAILED = "failed"
    TIME = "time"
    """It used up its time."""
    MEMORY = "memory"
    OUTPUT = "output"
    PROCESSES = "processes"
    UNKNOWN = "unknown"
    """The sandbox failed, or the case's own solution fails its tests: no evidence."""


class Outcome(Record):
    """The result of an answer's tests."""

    end: End
    tests: tuple[bool, ...] = ()
    """Whether each test passed; those after a failure count as failed."""
    reason: Text | None = None
    """Why the first one failed."""
    test: Text | None = None
    """The line of the test that failed, or its input."""

    @classmethod
    def unknown(cls, reason: str) -> Self:
        """Return the outcome of a run that says nothing about the answer."""
        return cls(end=End.UNKNOWN, reason=reason)

    @property
    def share(self) -> float:
        """Share of the tests that passed."""
        return sum(self.tests) / len(self.tests) if self.tests else 0.0
