"""Rate limits: when the next request to a backend may be sent."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from tunegate.harness.contracts.model import PoolLimits


@dataclass
class RateLimiter:
    """Spreads a cost evenly: no minute ever holds more than the rate."""

    per_minute: float | None
    free_at: float = 0.0
    """When the next may go, on the monotonic clock."""

    def reserve(self, cost: float, now: float) -> float:
        """Return when a cost may be spent, and reserve it."""
        if self.per_minute is None:
            return now
        turn = max(self.free_at, now)
        self.free_at = turn + 60.0 * cost / self.per_minute
        return turn


@dataclass
class RequestLimiter:
    """Says when each attempt may begin."""

    limits: PoolLimits
    stop: threading.Event = field(default_factory=threading.Event)
    """No attempt may begin."""
    closing: threading.Event = field(default_factory=threading.Event)
    """No question may begin; those in progress may still be answered."""
    paused_until: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __post_init__(self) -> None:
        """Make the rates."""
        self._requests = RateLimiter(self.limits.requests_per_minute)
        self._tokens = RateLimiter(self.limits.tokens_per_minute)

    def wait(self, cost: float) -> bool:
        """Wait until an attempt of this many tokens may begin; False once the pool is closing."""
        with self._lock:
            now = time.monotonic()
            turn = max(self._requests.reserve(1.0, now), self._tokens.reserve(cost, now))
        while not self.closing.is_set():
            # A pause may be prolonged by others while this one waits.
            left = max(turn, self.paused_until) - time.monotonic()
            if left <= 0:
                return True
            self.closing.wait(left)
        return False

    def pause(self, seconds: float) -> None:
        """Let no attempt begin for this long."""
        with self._lock:
            self.paused_until = max(self.paused_until, time.monotonic() + seconds)

    def end(self) -> None:
        """Let no attempt begin, and wake those that wait."""
        self.closing.set()
        self.stop.set()
