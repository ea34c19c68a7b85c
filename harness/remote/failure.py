"""What can go wrong with one question, told apart by what helps.

`ask` raises `Later` or `Refused`; anything else it raises is a defect and ends the run. Out of the
pool comes `Failure` for a question that stays without an answer.
"""

from __future__ import annotations

from dataclasses import dataclass


class Later(Exception):
    """Worth another try: too many requests, a fault of the server, a broken line, a garbled reply.

    Args:
        message: One line for people.
        after_s: Seconds that the server asked to wait; all askers keep still until then.
    """

    def __init__(self, message: str, after_s: float | None = None) -> None:
        """Keep the message and the wait."""
        super().__init__(message)
        self.after_s = after_s


class Refused(Exception):
    """Never worth another try.

    Args:
        message: One line for people.
        whole: Whether every question would be refused alike (no key, no such model); else only
            this one is (its prompt is too long).
        status: The HTTP status, where there was one.
    """

    def __init__(self, message: str, whole: bool, *, status: int | None = None) -> None:
        """Keep the message and how much of the backend it is about."""
        super().__init__(message)
        self.whole = whole
        self.status = status


@dataclass(frozen=True, slots=True)
class Failure:
    """A question that got no answer, and why; its case is unscored, never a zero."""

    message: str
    attempts: int
    """Times it was asked."""
    refused: bool = False
    """Whether the backend said no to it, rather than nothing that could be read."""
