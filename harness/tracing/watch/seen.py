"""Which calls were counted already: a watermark, and hashes of the calls after it.

Exporters deliver late and files are read again, so the last day's calls are known by name. What
began before that is not counted any more, whether it was or not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from harness.tracing.call import Call

LATE_S = 86_400.0
"""Seconds that a call may arrive after later ones."""
MOST = 50_000
"""Names kept; if more calls begin in a day, the watermark follows closer."""


@dataclass
class Seen:
    """The calls that were counted."""

    watermark_s: float | None = None
    names: dict[str, float] = field(default_factory=dict)
    """Hash → start, Unix time."""
    twice: int = 0
    late: int = 0

    def is_new(self, call: Call) -> bool:
        """Return whether a call is to be counted, and remember it."""
        start = call.span.start_s
        name = _name(call)
        if name in self.names:
            self.twice += 1
            return False
        if self.watermark_s is not None and start < self.watermark_s:
            self.late += 1
            return False
        self.names[name] = round(start, 3)
        return True

    def settle(self) -> None:
        """Forget what lies more than a day before the last call, and move the watermark there."""
        if not self.names:
            return
        starts = sorted(self.names.values())
        mark = starts[-1] - LATE_S
        if len(starts) > MOST:
            mark = max(mark, starts[-MOST])
        if self.watermark_s is None or mark > self.watermark_s:
            self.watermark_s = mark
        mark = self.watermark_s
        self.names = {name: start for name, start in self.names.items() if start >= mark}


def _name(call: Call) -> str:
    place = f"{call.span.trace_id}:{call.span.span_id}"
    return hashlib.sha256(place.encode("utf-8", "surrogatepass")).hexdigest()[:16]
