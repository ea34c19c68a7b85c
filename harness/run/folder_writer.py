"""Run folder writer: each file of a run, written whole as soon as its content is known."""

from __future__ import annotations

import datetime
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from tunegate.harness.contracts.model import Arm, RecordedArm
from tunegate.harness.contracts.result_reader import content_id
from tunegate.harness.contracts.result_set import results_of
from tunegate.harness.engine.plan import Plan
from tunegate.harness.records.cases import Case
from tunegate.harness.records.defaults import RUNS
from tunegate.harness.records.errors import (
    BackendError,
    TunegateError,
    UsageError,
    refuse_unwritable,
)
from tunegate.harness.records.files import (
    read_record,
    record_pieces,
    write_atomic,
    write_bytes_atomic,
)
from tunegate.harness.records.hashing import canonical_json
from tunegate.harness.records.images import FOLDER as IMAGES
from tunegate.harness.records.jsonl import read_jsonl, record_lines
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.recorded_answer import UNKNOWN_REQUEST, RecordedRequest
from tunegate.harness.records.run_folder import RunCase
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.suite import Suite
from tunegate.harness.telemetry import export as otel_export
from tunegate.harness.telemetry.export import FILE_NAMES, PACKED_NAMES
from tunegate.harness.telemetry.export.collector import UNSENT

if TYPE_CHECKING:
    from tunegate.harness.telemetry.export.content import ContentCapture
    from tunegate.harness.telemetry.export.run_records import RunRecords

EMPTY: Mapping[str, Any] = MappingProxyType({})
_OUTCOME = (
    "verdict.json",
    "cases.jsonl",
    "cells.jsonl",
    "judgements.jsonl",
    "scores.jsonl",
    *FILE_NAMES,
    *PACKED_NAMES,
    UNSENT,
    "report.html",
    "summary.md",
    "comment.md",
    "junit.xml",
    "metrics.txt",
    "codequality.json",
)
"""Files of a run folder with the result of the run."""


def run_folder(options: Mapping[str, Any]) -> Path:
    """Return the folder that the options name, or a new one named after the time."""
    if options["run-dir"]:
        return Path(options["run-dir"])
    return Path(options["store"]).parent / "runs" / f"{_now()}-{os.getpid() % 10_000:04}"


def new_run_folder(name: str) -> Path:
    """Return a run folder that no other run has, named after the time and a name."""
    first = Path(RUNS) / f"{_now()}-{name}"
    folders = (first, *(first.with_name(f"{first.name}-{n}") for n in range(2, 1000)))
    return next(folder for folder in folders if not folder.exists())


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")


@dataclass(frozen=True, slots=True)
class RunFolderWriter:
    """A folder that a run is being written to."""

    path: Path

    def refuse_unwritable(self) -> None:
        """Check that the folder can be written, before anything is spent."""
        with refuse_unwritable(self.path, "choose another place with --gate-run-dir DIR"):
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path / ".writable", "")
            (self.path / ".writable").unlink()

    def created(self) -> str:
        """Return when the run was first started (ISO 8601, UTC): a resumed run keeps its date."""
        try:
            return read_record(self.path / "manifest.json", Manifest).created
        except TunegateError:
            return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

    def set_aside(self, manifest: Manifest) -> list[str]:
        """Move a finished run about something else to a folder beside this one; return a note."""
        try:
            held = read_record(self.path / "manifest.json", Manifest)
            ended = read_record(self.path / "verdict.json", VerdictRecord)
        except TunegateError:
            return []
        if not ended.suites or _subject(held) == _subject(manifest):
            return []
        beside = (self.path.with_name(f"{self.path.name}.{n}") for n in itertools.count(1))
        new = next(folder for folder in beside if not folder.exists())
        with _writing(new / "manifest.json"):
            new.mkdir()
            for file in [*self.path.iterdir()]:
                # The lock is this run's, and so are the logs of the servers that it started.
                if file.name not in ("lock", "holder.json") and file.suffix != ".log":
                    file.rename(new / file.name)
        return [
            f"{os.path.relpath(self.path)} held another finished run "
            f"({ended.verdict.value.replace('_', ' ')}), which is now {os.path.relpath(new)}"
        ]

    def begin(self, manifest: Manifest) -> Manifest:
        """Write the manifest, and remove the outcome of an earlier run; return the manifest."""
        for path in (self.path / name for name in _OUTCOME):
            with _writing(path):
                path.unlink(missing_ok=True)
        self.write("manifest.json", manifest)
        return manifest

    def write(self, name: str, record: BaseModel) -> None:
        """Write a record to a file of its own."""
        self._write(name, record_pieces(record))

    def write_lines(self, name: str, records: Iterable[object], *, packed: bool = False) -> None:
        """Write records to a JSON-lines file, each as it comes; `packed` without spaces."""
        self._write(name, record_lines(records, packed=packed))

    def write_images(self, cases: Iterable[Case]) -> None:
        """Copy the images of cases into the folder, each once, named after its hash."""
        images = {image.file_name: image for case in cases for image in case.images}
        for name, image in images.items():
            try:
                content = image.read()
            except ValueError as error:
                raise UsageError(f"{error}; start again") from error
            with _writing(self.path / IMAGES / name):
                write_bytes_atomic(self.path / IMAGES / name, content)

    def write_traces(self, run: RunRecords, content: ContentCapture | None) -> None:
        """Write spans, logs and metrics, with prompts and answers as `content` allows."""
        with _writing(self.path / otel_export.TRACES):
            otel_export.write_traces(self.path, run, content)

    def _write(self, name: str, pieces: Iterable[str]) -> None:
        with _writing(self.path / name):
            write_atomic(self.path / name, pieces)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """End the run with one line if a file of its folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise BackendError(
            f"{path}: cannot be written ({error.strerror}); finished answers are stored: make "
            "room, then resume"
        ) from error


def _subject(manifest: Manifest) -> str:
    """Return what a run is about: a run about the same things may replace it."""
    facts = manifest.model_dump(mode="json", include={"arms", "seed", "filtered", "draft"})
    return canonical_json([facts, [suite.hash for suite in manifest.suites]])


def run_cases(
    suites: Iterable[Suite], plan: Plan, arms: Mapping[str, Arm] = EMPTY
) -> Iterator[RunCase]:
    """Yield the cases of suites as the models see them."""
    rendered = not isinstance(arms.get("base"), RecordedArm)
    records = {name: arm for name, arm in arms.items() if isinstance(arm, RecordedArm)}
    for suite in suites:
        for case in suite.cases:
            prompt = plan.prompts.get((suite.name, case.id, "base"))
            yield RunCase(
                suite=suite.name,
                case=case,
                where=case.where,
                rendered=prompt.text if prompt and rendered else None,
                prompt_sha256=prompt.sha256 if prompt else None,
                asked={
                    name: record
                    for name, arm in records.items()
                    if (record := _recorded_request(arm, suite, case)) != UNKNOWN_REQUEST
                },
            )


def _recorded_request(arm: RecordedArm, suite: Suite, case: Case) -> RecordedRequest:
    """Return what a recorded arm knows of its request for a case, besides the case."""
    results = results_of(arm)
    if results is not None:  # without reading all its prompts
        request = results.request(case.id)
    else:
        request = arm.recorded_request(suite.name, case.id)
    if request is None:
        return UNKNOWN_REQUEST
    as_case = request.messages is not None and request.messages == request.case_messages
    as_case |= request.content_sha256 == content_id(case.prompt or case.messages, length=64)
    known = {"as_case": as_case, "settings": None, "case": None, "case_messages": None}
    texts = {"prompt": None, "messages": None} if as_case else {}
    return request.model_copy(update={**known, **texts})


def refuse_gaps(folder: Path) -> None:
    """Check that every planned answer is stored."""
    planned = len(read_record(folder / "manifest.json", Manifest).plan)
    n_stored = sum(row["status"] != "missing" for row in read_jsonl(folder / "cells.jsonl"))
    if n_stored != planned:
        raise BackendError(f"{planned} answers were planned, but {n_stored} are stored")
