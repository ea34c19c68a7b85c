"""How hard a remote backend may be asked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.errors import UsageError


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a pool of askers; checked when it is made."""

    concurrency: int = 8
    """Questions that are under way at the same time."""
    deadline_s: float = 120.0
    """Seconds a question may take, all its attempts together; waiting for its turn not counted."""
    attempts: int = 5
    """Times a question is asked at most."""
    requests_per_minute: float | None = None
    """Attempts a minute of all askers together; None is as fast as answers come."""
    tokens_per_minute: float | None = None
    """Tokens a minute, as the caller estimates them for each question; None is without bound."""

    def __post_init__(self) -> None:
        """Refuse what would ask nothing or never end.

        Raises:
            UsageError: a bound is out of range.
        """
        for name in ("concurrency", "attempts"):
            value = getattr(self, name)
            if value < 1:
                raise UsageError(f"{name}={value!r} must be a whole number of at least 1")
        for name in ("deadline_s", "requests_per_minute", "tokens_per_minute"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"{name}={value!r} must be a finite number above 0")
