"""The adapter merged into the weights, which are then rounded to bfloat16."""

from __future__ import annotations

from pathlib import Path

from tunegate.trainers.artifacts._merge import save_merged

NAME = "merged_16bit"
STEP = "merged into the weights, rounded to bfloat16"


def make(base: Path, adapter: Path, out: Path) -> str:
    """Make the artifact and return its model spec."""
    save_merged(base, adapter, out, dtype="bfloat16")
    return str(out)
