"""Free memory of this machine."""

from __future__ import annotations

import os
from pathlib import Path

CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Folder of this process's control group, in a container."""


def available_memory() -> int:
    """Return the available memory in bytes, within the limit of the control group (cgroup v2).

    Systems without /proc/meminfo are assumed to have a quarter of their memory free; 0 if unknown.
    """
    available_kib = _numbers(Path("/proc/meminfo")).get("MemAvailable:")
    if available_kib is not None:
        free = available_kib * 1024
    elif hasattr(os, "sysconf"):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    else:
        return 0
    try:
        limit = int((CONTROL_GROUP / "memory.max").read_text(encoding="utf-8"))
        used = int((CONTROL_GROUP / "memory.current").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # no such group, or `max`: no limit
        return free
    cached = _numbers(CONTROL_GROUP / "memory.stat").get("inactive_file", 0)
    return max(0, min(free, limit - used + cached))


def return_freed_memory() -> None:
    """Give freed memory back to the system, if the C library (glibc) keeps it.

    Source: https://man7.org/linux/man-pages/man3/malloc_trim.3.html
    """
    import ctypes

    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return
    trim(ctypes.c_size_t(0))


def _numbers(file: Path) -> dict[str, int]:
    """Return name → number, from a system file with one of each per line."""
    try:
        lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) > 1 and line[1].isdigit()}
