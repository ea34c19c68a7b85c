"""Deployment artifacts of an adapter: one per file, found by its name.

An artifact is one file `trainers/artifacts/<x>.py` with

    NAME = "four_bit"                      # what `tunegate ship-check --artifacts` calls it
    STEP = "weights rounded to 4 bits"     # what making it does to the numbers, in words
    def make(base: Path, adapter: Path, out: Path) -> str

`base` and `adapter` are folders on this machine, `out` is an empty folder for the files. `make`
returns the model spec of what it made. A library that is not there is `MissingExtra`, an adapter
that cannot be made into this is `ModelError`; both are one line, and the other artifacts go on.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from tunegate.harness import lookup
from tunegate.harness.checks.weight_files import weights_fingerprint
from tunegate.harness.errors import UnknownName, UsageError
from tunegate.harness.records.cases import sha256
from tunegate.harness.records.files import write_atomic
from tunegate.harness.records.manifest import package_versions

ROOM = "tunegate.trainers.artifacts"
MARK = "tunegate_artifact.json"
"""File next to an artifact that says what it was made of."""


class DeploymentArtifact(Protocol):
    """Interface of a module of `tunegate.trainers.artifacts`."""

    NAME: str
    STEP: str

    def make(self, base: Path, adapter: Path, out: Path) -> str:
        """Make the artifact in the empty folder `out` and return its model spec."""
        ...


@dataclass(frozen=True, slots=True)
class BuiltArtifact:
    """An artifact on the disk."""

    spec: str
    size: int
    """Bytes of all its files."""
    again: bool
    """Whether it had been made before, of the same base and adapter."""


def available_artifacts() -> dict[str, DeploymentArtifact]:
    """Return name → artifact, sorted by name."""
    modules = (import_module(f"{ROOM}.{name}") for name in lookup.module_names(ROOM))
    found = (cast("DeploymentArtifact", module) for module in modules)
    return {artifact.NAME: artifact for artifact in sorted(found, key=lambda a: a.NAME)}


def find_artifact(name: str) -> DeploymentArtifact:
    """Return the artifact called `name`.

    Raises:
        UnknownName: there is none; the message offers the nearest.
    """
    known = available_artifacts()
    if name not in known:
        raise UnknownName(lookup.unknown_name_message(name, tuple(known), what="artifact"))
    return known[name]


def build_artifact(
    artifact: DeploymentArtifact, base: Path, adapter: Path, out: Path
) -> BuiltArtifact:
    """Make an artifact in `out`, or find it there as it was made before.

    Raises:
        UsageError: `out` holds files that are no artifact of ours; or as `DeploymentArtifact.make`
            says.
    """
    mark = out / MARK
    wanted = sha256(
        [artifact.NAME, weights_fingerprint(base), weights_fingerprint(adapter), package_versions()]
    )
    known = _read(mark)
    if known.get("made_of") == wanted:
        return BuiltArtifact(known["spec"], _size(out), again=True)
    if out.is_dir() and any(out.iterdir()) and not mark.is_file():
        raise UsageError(f"{out}: holds other files; name another folder, or move them away")
    shutil.rmtree(out, ignore_errors=True)
    # An interrupted making leaves the mark of nothing, so that the next one may clear the folder.
    write_atomic(mark, "{}\n")
    spec = artifact.make(base, adapter, out)
    write_atomic(mark, json.dumps({"made_of": wanted, "spec": spec}, indent=2) + "\n")
    return BuiltArtifact(spec, _size(out), again=False)


def _read(mark: Path) -> dict[str, str]:
    try:
        value = json.loads(mark.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _size(out: Path) -> int:
    return sum(p.stat().st_size for p in out.rglob("*") if p.is_file() and p.name != MARK)
