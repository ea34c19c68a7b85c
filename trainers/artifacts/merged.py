"""The adapter merged into the weights, saved in float32: nothing is rounded but the sum itself."""

from __future__ import annotations

from pathlib import Path

from tunegate.trainers.artifacts._merge import save_merged

NAME = "merged"
STEP = "merged into the weights, saved in float32"


def make(base: Path, adapter: Path, out: Path) -> str:
    """Make the artifact and return its model spec."""
    save_merged(base, adapter, out, dtype="float32")
    return str(out)
