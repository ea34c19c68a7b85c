"""Training card: `tunegate_training.json`, written when weights are saved.

The gate reads it to match an adapter with its base by content, to compare training rows with its
suites' cases, and to report where its prompts are built differently from those of the training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.records.files import read_file, record_json, write_atomic
from tunegate.harness.records.record import Json, Record
from tunegate.harness.records.training_card import FILE
from tunegate.harness.records.versions import installed_versions
from tunegate.trainers.hardware import HardwareInfo

_PACKAGES = ("accelerate", "datasets", "peft", "tokenizers", "torch", "transformers", "trl")


class BaseIdentity(Record):
    """The model that was trained on."""

    path: str
    """Folder or hub id, as it was at the time of training."""
    revision: str | None = None
    """Revision that was asked for, of a hub id."""
    commit: str | None = None
    """Commit of the hub that it was."""
    weights_sha256: str
    """`tunegate.harness.models.adapters.weight_files.weights_fingerprint` of the base: what decides
    whether it is the same."""
    chat_template_sha256: str | None
    """Of the tokenizer's chat template; None if it has none."""
    trained_as: str | None = None
    """In what its weights were held while the adapter was trained, where they were rounded for it,
    as in QLoRA: `nf4 (bitsandbytes)`; None if they were not, or unknown."""


class DatasetFile(Record):
    """One file of rows, or a folder of them."""

    path: str
    sha256: str
    """`tunegate.harness.records.hashing.content_sha256` at the time of training."""
    rows: int


class ParentAdapter(Record):
    """The adapter that a training continued."""

    path: str
    weights_sha256: str
    files: tuple[DatasetFile, ...] | None
    """Its training data, earlier trainings included; None where no card names it."""


def describe_parent_adapter(folder: Path) -> ParentAdapter:
    """Return the identity of the adapter in `folder`, and everything that it was trained on."""
    fingerprint = weights_fingerprint(folder)
    files: tuple[DatasetFile, ...] | None = None
    try:
        card = TrainingRecord.model_validate_json(read_file(folder / FILE))
    except (OSError, ValueError):
        card = None
    if card is not None and card.weights_sha256 == fingerprint:
        before = () if card.went_on_from is None else card.went_on_from.files
        files = None if before is None else (*card.files, *before)
    return ParentAdapter(path=str(folder.resolve()), weights_sha256=fingerprint, files=files)


class TrainingRecord(Record):
    """One finished training."""

    schema_version: int = 1
    method: str
    """Name of the trainer, such as `sft`."""
    base: BaseIdentity
    files: tuple[DatasetFile, ...]
    """Training data."""
    went_on_from: ParentAdapter | None = None
    """The adapter that the training continued; None if it started from the base."""
    eval_files: tuple[DatasetFile, ...] = ()
    """Data of TRL's evaluation loss."""
    rows: int
    """Rows that were trained on, after rows that do not fit were dropped."""
    thinking_rows: int | None = Field(default=None, exclude_if=lambda value: value is None)
    """Rows of the files with thoughts before the answer; None where rows hold no answers."""
    hyperparameters: dict[str, Any]
    """Effective values that decide the weights, under TRL's names."""
    settings: Json = Field(default_factory=dict)
    """Every option of the training, of the model and of the data."""
    seed: int
    """Of everything drawn at random; `data_seed`, where it is another, is among the settings."""
    versions: dict[str, str] = Field(default_factory=dict)
    steps: int
    """Optimizer steps that the weights have seen, those before a resume included."""
    final_loss: float | None
    """Last loss that was logged: the mean over the last `logging_steps` steps."""
    seconds: float
    """Wall time of the training proper, without loading; of the last part after a resume."""
    peak_memory_bytes: int | None = None
    """Most main memory that the process ever held."""
    peak_cuda_memory_bytes: int | None = None
    """Most memory that was allocated on one GPU; None without one."""
    cost_usd: float | None = None
    """Price of the training; None where nobody named one."""
    hardware: HardwareInfo | None = None
    """The machine."""
    chat_template_sha256: str | None = None
    """Of the template that made the training's prompts; None where the tokenizer has none."""
    tokenizer_sha256: str | None = None
    """`tunegate.harness.models._chat_template.fingerprint_of`: how the tokenizer splits texts."""
    weights_sha256: str
    """Fingerprint of the weights that were saved."""
    base_parts: tuple[str, ...] = Field(default=(), exclude_if=lambda value: not value)
    """Sentences on what the folder has of base that Transformers does not save."""


def training_versions() -> dict[str, str]:
    """Return the versions of the packages that decide what a training does."""
    return installed_versions(_PACKAGES)


def write_card(record: TrainingRecord, folder: Path) -> Path:
    """Write the record into `folder` and return its path."""
    path = folder / FILE
    write_atomic(path, record_json(record))
    return path


def read_card(folder: Path) -> TrainingRecord:
    """Return the record in a folder that `write_card` wrote."""
    return TrainingRecord.model_validate_json((folder / FILE).read_bytes())
