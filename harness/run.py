"""A run folder: everything a finished or interrupted run left, self-contained and movable.

```
.tunegate/runs/<id>/
    manifest.json   suites, identities, plan: written before the first completion
    cases.jsonl     the cases as the models saw them
    cells.jsonl     every completion, or why there is none
    judgements.jsonl  what the judges said, where a metric asks one
    labels.jsonl    what people said about answers, where somebody was asked
    scores.jsonl    every metric's value on every case and arm
    verdict.json    the decision
    traces.jsonl, logs.jsonl, metrics.jsonl   all of it for OpenTelemetry
```
Reports, CI files and history are made from these files alone, without a model.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, TextIO, TypeVar

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from harness import judgement, labels
from harness.errors import UsageError
from harness.judgement import Judgement
from harness.labels import Label
from harness.lines import Indexed, Lines, not_a, parse
from harness.manifest import Manifest
from harness.records import SCHEMA_VERSION, Case, CellKind, Record, ScoreRow, StoredCell, Text
from harness.verdict.record import VerdictRecord

R = TypeVar("R")
_NUMBERS = count()
"""Of the files that this process has written."""


class RunCase(Record):
    """A case of a run with the prompt as it was rendered; one line of `cases.jsonl`."""

    suite: str
    case: Case
    where: Text
    """File and line the case came from."""
    rendered: Text | None = None
    """The prompt after the chat template, as both arms saw it."""
    prompt_sha256: str | None = None
    """Hash of the prompt's token ids, equal in all arms."""


@dataclass(frozen=True)
class Run:
    """The records of one run folder; cases and cells are read from their files when asked for."""

    folder: Path
    manifest: Manifest
    cases: Mapping[tuple[str, str], RunCase] = field(repr=False)
    """(suite, case id) → case, in plan order."""
    cells: Sequence[StoredCell] = field(repr=False)
    scores: tuple[ScoreRow, ...] = field(repr=False)
    verdict: VerdictRecord
    judgements: tuple[Judgement, ...] = field(default=(), repr=False)
    labels: tuple[Label, ...] = field(default=(), repr=False)

    @classmethod
    def load(cls, folder: Path) -> Run:
        """Read a finished run.

        Raises:
            UsageError: the folder holds no finished run, a damaged one or one of another version.
        """
        for name in ("manifest.json", "verdict.json"):
            if not (folder / name).is_file():
                raise UsageError(
                    f"{folder}: no {name}: not a finished run; `tunegate resume {folder}` "
                    "finishes an interrupted one"
                )
        cases = Lines(folder / "cases.jsonl", RunCase)
        return cls(
            folder=folder,
            manifest=read_record(folder / "manifest.json", Manifest),
            cases=Indexed.of(cases, lambda row: (row.suite, row.case.id)),
            cells=Lines(folder / "cells.jsonl", StoredCell),
            scores=read_records(folder / "scores.jsonl", ScoreRow),
            verdict=read_record(folder / "verdict.json", VerdictRecord),
            judgements=read_records(folder / judgement.FILE_NAME, Judgement),
            labels=read_records(folder / labels.FILE_NAME, Label),
        )

    @cached_property
    def cases_of(self) -> Mapping[str, tuple[Case, ...]]:
        """Suite → its cases, in plan order."""
        found: dict[str, list[Case]] = {suite.name: [] for suite in self.manifest.suites}
        for (suite, _), row in self.cases.items():
            found.setdefault(suite, []).append(row.case)
        return {suite: tuple(cases) for suite, cases in found.items()}

    @cached_property
    def completions(self) -> Mapping[tuple[str, str, str], StoredCell]:
        """(suite, case, arm) → the first sample's generated cell."""
        return Indexed.of(self.cells, _written)

    @cached_property
    def score_table(self) -> Mapping[tuple[str, str, str, str], ScoreRow]:
        """(suite, metric, case, arm) → score."""
        return {(s.suite, s.metric, s.case, s.arm): s for s in self.scores}


def _written(stored: StoredCell) -> tuple[str, str, str] | None:
    """Return the place of a first sample's generated cell; None for other cells."""
    cell = stored.cell
    first = cell.kind is CellKind.GENERATE and cell.sample == 0
    return (cell.suite, cell.case, cell.arm) if first else None


def read_record(path: Path, kind: type[R]) -> R:
    """Read one record from a JSON file.

    Raises:
        UsageError: in one line, why it cannot be read.
    """
    try:
        return _current(kind, path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {not_a(kind, error)}") from error


def read_records(path: Path, kind: type[R]) -> tuple[R, ...]:
    """Read the records of a JSON-lines file of ours; none if it does not exist.

    Raises:
        UsageError: in one line, which line cannot be read and why.
    """
    return tuple(Lines(path, kind))


def _current(kind: type[R], text: bytes) -> R:
    """Return the record of a text; that it is of another version comes before other complaints."""
    try:
        record = parse(kind, text)
    except ValueError:
        content = json.loads(text)
        _refuse_other_version(content.get("schema_version") if isinstance(content, dict) else None)
        raise
    _refuse_other_version(getattr(record, "schema_version", None))
    return record


def _refuse_other_version(version: object) -> None:
    if version not in (None, SCHEMA_VERSION):
        raise ValueError(
            f"written in version {version} of the format, and this tunegate reads version "
            f"{SCHEMA_VERSION}: install the tunegate that wrote it"
        )


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file of ours; nothing if it does not exist."""
    if path.is_file():
        with path.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                yield json.loads(line)


@contextmanager
def atomic(path: Path) -> Iterator[TextIO]:
    """Return a file to write: readers see the old content, or all of the new once it is closed.

    Raises:
        OSError: as the file system says; the old file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of our own naming: tempfile's files are readable by their owner alone, and stay so.
    temporary = path.parent / f".writing-{os.getpid()}-{threading.get_ident()}-{next(_NUMBERS)}"
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomic(path: Path, text: str | Iterable[str]) -> None:
    """Write a file so that readers see the old content or the new, never a part.

    Args:
        path: The file.
        text: Its content, or the pieces of it, which are never held together.

    Raises:
        OSError: as the file system says; the old file is untouched.
    """
    with atomic(path) as file:
        file.writelines((text,) if isinstance(text, str) else text)


def record_json(record: BaseModel) -> str:
    """Return the one text of a record for a file of its own: sorted keys, two-space indent."""
    return "".join(record_pieces(record))


def record_pieces(record: BaseModel) -> Iterator[str]:
    """Yield the pieces of `record_json`, which together take more memory than the record."""
    value = record.model_dump(mode="json", by_alias=True)
    # Half a surrogate pair in an identity, which is any JSON, leaves as the escape `\\ud800`.
    writer = json.JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    yield from writer.iterencode(value)
    yield "\n"


def record_lines(records: Iterable[object]) -> Iterator[str]:
    """Yield the JSON lines of records, fields that are None left out."""
    for record in records:
        row = to_jsonable_python(record, by_alias=True, exclude_none=True)
        yield json.dumps(row, ensure_ascii=True, allow_nan=False) + "\n"
