"""Processes that a test started: do they still run?"""

from __future__ import annotations

import time
from pathlib import Path


def running(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int], limit_s: float = 15.0) -> bool:
    """Return whether all processes end in time."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if not any(map(running, pids)):
            return True
        time.sleep(0.05)
    return False
