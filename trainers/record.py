"""What a training was: `tunegate_training.json`, written beside the weights when they are saved.

The gate reads it to know that an adapter belongs to a base by content, wherever the base lies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from harness.records import Record
from harness.run import record_json, write_atomic
from harness.versions import installed

FILE = "tunegate_training.json"
"""Name of the record in the output folder."""
_PACKAGES = ("accelerate", "datasets", "peft", "tokenizers", "torch", "transformers", "trl")


class BaseIdentity(Record):
    """The model that was trained on."""

    path: str
    """Folder or hub id, as it was at the time of training."""
    weights_sha256: str
    """`harness.checks.weights.fingerprint` of the base: what decides whether it is the same."""
    chat_template_sha256: str | None
    """Of the tokenizer's chat template; None if it has none."""


class DataFile(Record):
    """One file of training rows."""

    path: str
    sha256: str
    rows: int


class TrainingRecord(Record):
    """One finished training."""

    schema_version: int = 1
    method: str
    """Name of the trainer, such as `sft`."""
    base: BaseIdentity
    files: tuple[DataFile, ...]
    rows: int
    """Rows that were trained on, after rows that do not fit were dropped."""
    hyperparameters: dict[str, Any]
    """Effective values under TRL's names."""
    seed: int
    versions: dict[str, str] = Field(default_factory=dict)
    steps: int
    """Optimizer steps that the weights have seen, those before a resume included."""
    final_loss: float | None
    """Last loss that was logged: the mean over the last `logging_steps` steps."""
    seconds: float
    """Wall time of the training proper, without loading; of the last part after a resume."""
    weights_sha256: str
    """Fingerprint of the weights that were saved."""


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide what a training does."""
    return installed(_PACKAGES)


def write(record: TrainingRecord, folder: Path) -> Path:
    """Write the record into `folder` and return its path."""
    path = folder / FILE
    write_atomic(path, record_json(record))
    return path
