"""The adapter merged into the weights, written as a GGUF file with four bits a number."""

from __future__ import annotations

from pathlib import Path

from tunegate.trainers.artifacts._gguf_writer import save_gguf

NAME = "gguf_q4_0"
STEP = "merged into the weights, rounded to GGUF's Q4_0"


def make(base: Path, adapter: Path, out: Path) -> str:
    """Make the artifact and return its model spec."""
    return save_gguf(base, adapter, out, "Q4_0")
