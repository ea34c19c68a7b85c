"""A run folder: everything a finished or interrupted run left, self-contained and movable.

```
.tunegate/runs/<id>/
    manifest.json   suites, identities, plan: written before the first completion
    cases.jsonl     the cases as the models saw them
    cells.jsonl     every completion, or why there is none
    scores.jsonl    every metric's value on every case and arm
    verdict.json    the decision
```
Reports, CI files and history are made from these files alone, without a model.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from harness.errors import UsageError
from harness.manifest import Manifest
from harness.records import Case, Record, ScoreRow, StoredCell
from harness.verdict.record import VerdictRecord


R = TypeVar("R", bound=BaseModel)


class RunCase(Record):
    """A case of a run with the prompt as it was rendered; one line of `cases.jsonl`."""

    suite: str
    case: Case
    where: str
    """File and line the case came from."""
    rendered: str | None = None
    """The prompt after the chat template, as both arms saw it."""
    prompt_sha256: str | None = None
    """Hash of the prompt's token ids, equal in all arms."""


@dataclass(frozen=True)
class Run:
    """The records of one run folder."""

    folder: Path
    manifest: Manifest
    cases: Mapping[tuple[str, str], RunCase] = field(repr=False)
    """(suite, case id) → case, in plan order."""
    cells: tuple[StoredCell, ...] = field(repr=False)
    scores: tuple[ScoreRow, ...] = field(repr=False)
    verdict: VerdictRecord

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Read a finished run.

        Raises:
            UsageError: the folder holds no finished run, or one of another version.
        """
        for name in ("manifest.json", "verdict.json"):
            if not (folder / name).is_file():
                raise UsageError(
                    f"{folder}: no {name}: not a finished run; `tunegate resume {folder}` "
                    "finishes an interrupted one"
                )
        cases = [RunCase.model_validate(row) for row in read_jsonl(folder / "cases.jsonl")]
        return cls(
            folder=folder,
            manifest=read_record(folder / "manifest.json", Manifest),
            cases={(row.suite, row.case.id): row for row in cases},
            cells=tuple(StoredCell.model_validate(r) for r in read_jsonl(folder / "cells.jsonl")),
            scores=tuple(ScoreRow.model_validate(r) for r in read_jsonl(folder / "scores.jsonl")),
            verdict=read_record(folder / "verdict.json", VerdictRecord),
        )

    @cached_property
    def completions(self) -> Mapping[tuple[str, str, str], StoredCell]:
        """(suite, case, arm) → the first sample's generated cell."""
        return {
            (c.cell.suite, c.cell.case, c.cell.arm): c
            for c in self.cells
            if c.cell.kind == "generate" and c.cell.sample == 0
        }

    @cached_property
    def score_table(self) -> Mapping[tuple[str, str, str, str], ScoreRow]:
        """(suite, metric, case, arm) → score."""
        return {(s.suite, s.metric, s.case, s.arm): s for s in self.scores}


def read_record(path: Path, kind: type[R]) -> R:
    """Read one record from a JSON file, or say in one line why it cannot be read."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(f"{path}: cannot be read as {kind.__name__}: {first}") from error


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file of ours; nothing if it does not exist."""
    if path.is_file():
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)


def write_atomic(path: Path, text: str) -> None:
    """Write a file so that readers see the old content or the new, never a part.

    Raises:
        OSError: as the file system says; the old file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def record_json(record: BaseModel) -> str:
    """Return the one text of a record for a file of its own: sorted keys, two-space indent."""
    value = record.model_dump(mode="json", by_alias=True)
    return json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def record_lines(records: Iterable[BaseModel]) -> str:
    """Return JSON lines of records, fields that are None left out."""
    return "".join(
        json.dumps(
            r.model_dump(mode="json", by_alias=True, exclude_none=True), ensure_ascii=True
        )
        + "\n"
        for r in records
    )
