"""The adapter merged into the weights, saved in float32 or rounded to bfloat16."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tunegate.trainers.artifacts import DeploymentArtifact, save_merged


def make(base: Path, adapter: Path, out: Path, *, dtype: str) -> str:
    """Make the artifact and return its model spec."""
    save_merged(base, adapter, out, dtype=dtype)
    return str(out)


ARTIFACTS = (
    DeploymentArtifact(
        "merged", "merged into the weights, saved in float32", partial(make, dtype="float32")
    ),
    DeploymentArtifact(
        "merged_16bit",
        "merged into the weights, rounded to bfloat16",
        partial(make, dtype="bfloat16"),
    ),
)
