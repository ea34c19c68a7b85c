"""Deployment artifacts of an adapter: one file for each way of making them.

A file `trainers/artifacts/<x>.py` defines what it makes:

    ARTIFACTS = (
        DeploymentArtifact("four_bit", "merged into the weights, rounded to 4 bits (NF4)", make),
    )

Most begin with `save_merged`, the adapter merged into its base.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tunegate.harness.contracts import lookup
from tunegate.harness.models._image_prompt import has_processor
from tunegate.harness.models._model_folder import prefix_errors
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import (
    ModelError,
    UnknownName,
    UsageError,
    unknown_name_message,
)
from tunegate.harness.records.files import write_atomic
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.versions import package_versions
from tunegate.trainers.artifacts._base_parts import copy_base_parts

_PACKAGE = "tunegate.trainers.artifacts"
MARK = "tunegate_artifact.json"
"""File next to an artifact that records its sources."""

_PROCESSOR = ("*processor_config.json",)
_TOKENIZER = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "*.jinja",
    "vocab*",
    "merges.txt",
    "*.model",
)
"""Files that make up a tokenizer with its chat template."""


@dataclass(frozen=True, slots=True)
class DeploymentArtifact:
    """A form in which an adapter is shipped."""

    name: str
    """Its name for `tunegate ship-check --artifacts`."""
    step: str
    """A sentence on what making it does to the numbers."""
    make: Callable[[Path, Path, Path], str]
    """Takes the folders of the base and the adapter and an empty one; writes the files into the
    third and returns their model spec. Raises `MissingExtra` for a missing library and
    `ModelError` for an adapter without this form; the other artifacts are still made. What a model
    folder then lacks of base is copied into it (`copy_base_parts`)."""


@dataclass(frozen=True, slots=True)
class BuiltArtifact:
    """An artifact on the disk."""

    spec: str
    size: int
    """Bytes of all its files."""
    again: bool
    """Whether it was already there, made from the same base and adapter."""
    base_parts: tuple[str, ...] = ()
    """Sentences on what it has of base that Transformers does not save (`copy_base_parts`)."""


def available_artifacts() -> dict[str, DeploymentArtifact]:
    """Return name → artifact, sorted by name."""
    modules = (import_module(f"{_PACKAGE}.{name}") for name in lookup.module_names(_PACKAGE))
    found: list[DeploymentArtifact] = [one for module in modules for one in module.ARTIFACTS]
    return {artifact.name: artifact for artifact in sorted(found, key=lambda a: a.name)}


def find_artifact(name: str) -> DeploymentArtifact:
    """Return the artifact called `name`."""
    artifacts = available_artifacts()
    if name not in artifacts:
        raise UnknownName(unknown_name_message(name, tuple(artifacts), what="artifact"))
    return artifacts[name]


def build_artifact(
    artifact: DeploymentArtifact, base: Path, adapter: Path, out: Path
) -> BuiltArtifact:
    """Make an artifact in `out`, unless the same one is there."""
    mark = out / MARK
    wanted = sha256(
        [artifact.name, weights_fingerprint(base), weights_fingerprint(adapter), package_versions()]
    )
    record = _read(mark)
    if record.get("made_of") == wanted:
        parts = tuple(record.get("base_parts", ()))
        return BuiltArtifact(record["spec"], _size(out), again=True, base_parts=parts)
    if out.is_dir() and any(out.iterdir()) and not mark.is_file():
        raise UsageError(f"{out}: holds other files; name another folder, or move them away")
    shutil.rmtree(out, ignore_errors=True)
    # An interrupted run leaves an empty mark, so that the next one may clear the folder.
    write_atomic(mark, "{}\n")
    spec = artifact.make(base, adapter, out)
    parts = copy_base_parts(base, out)
    record = {"made_of": wanted, "spec": spec, "base_parts": parts}
    write_atomic(mark, json.dumps(record, indent=2) + "\n")
    return BuiltArtifact(spec, _size(out), again=False, base_parts=parts)


def _read(mark: Path) -> dict[str, Any]:
    try:
        value = json.loads(mark.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _size(out: Path) -> int:
    return sum(p.stat().st_size for p in out.rglob("*") if p.is_file() and p.name != MARK)


def save_merged(base: Path, adapter: Path, out: Path, *, dtype: str) -> None:
    """Merge in float32 and save a model folder with its tokenizer, byte for byte the adapter's."""
    import torch

    tuned = open_arms({"base": str(base), "tuned": str(adapter)}, dtype="float32")["tuned"]
    loaded, virtual = tuned.loaded, tuned.virtual_tokens  # type: ignore[attr-defined]  # HfArm's
    if virtual:
        raise ModelError(
            f"{adapter}: virtual tokens cannot be merged into weights; serve the adapter as it is"
        )
    if loaded.dtype != "float32":
        raise ModelError(
            f"{base}: stored as {loaded.dtype}, into which nothing can be merged exactly; give "
            "the base in 16 or 32 bits"
        )
    with prefix_errors(f"{adapter}: the adapter cannot be merged"):
        model = loaded.torch_model.merge_and_unload(safe_merge=True)
        model.to(getattr(torch, dtype)).save_pretrained(out)
    copy_tokenizer(base, adapter, out)


def copy_tokenizer(base: Path, adapter: Path, out: Path) -> None:
    """Copy tokenizer and processor that the tuned arm uses: the adapter's own, else base's."""
    has_tokenizer = any(
        (adapter / f).is_file() for f in ("tokenizer.json", "tokenizer_config.json")
    )
    prepares = adapter if has_processor(adapter) else base
    for source, patterns in (
        (adapter if has_tokenizer else base, _TOKENIZER),
        (prepares, _PROCESSOR),
    ):
        for path in (path for pattern in patterns for path in source.glob(pattern)):
            if path.is_file():
                shutil.copyfile(path, out / path.name)
