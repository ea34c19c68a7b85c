"""The run folder while its run is made: each file is written whole, as soon as it is known.

What an earlier run left in the folder is no outcome of this one, and goes when this one begins. A
disk that cannot be written ends the run in ERROR; what was answered is in the store.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from harness.engine.plan import Plan
from harness.errors import BackendError, TunegateError, UsageError
from harness.manifest import Manifest
from harness.run import RunCase, read_record, record_lines, record_pieces, write_atomic
from harness.suite import Suite
from harness.tracing import export
from harness.tracing.content import Content
from harness.tracing.export import FILE_NAMES
from harness.tracing.recorded import Recorded

_OUTCOME = (
    "verdict.json",
    "cases.jsonl",
    "cells.jsonl",
    "judgements.jsonl",
    "scores.jsonl",
    *FILE_NAMES,
    "report.html",
    "summary.md",
    "comment.md",
    "junit.xml",
    "metrics.txt",
    "codequality.json",
)
"""Files of a run folder that say how the run ended."""


def folder_of(options: Mapping[str, Any]) -> Path:
    """Return the folder that a run's options name, or one named after the time."""
    if options["run-dir"]:
        return Path(options["run-dir"])
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d-%H%M%S")
    return Path(options["store"]).parent / "runs" / f"{now}-{os.getpid() % 10_000:04}"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A folder that a run is being written to."""

    path: Path

    def refuse_unwritable(self) -> None:
        """Find out before anything is spent whether the folder can be written.

        Raises:
            UsageError: it cannot, and why.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path / ".writable", "")
            (self.path / ".writable").unlink()
        except OSError as error:
            raise UsageError(
                f"{self.path}: cannot be written ({error.strerror}); "
                "choose another place with --gate-run-dir DIR"
            ) from error

    def created(self) -> str:
        """Return when the run was first started (ISO 8601, UTC): a resumed run keeps its date."""
        path = self.path / "manifest.json"
        if path.is_file():
            try:
                return read_record(path, Manifest).created
            except TunegateError:
                pass
        return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")

    def begin(self, manifest: Manifest) -> Manifest:
        """Write the manifest, without the outcome of an earlier run beside it; return it.

        Raises:
            BackendError: the disk cannot be written.
        """
        for path in (self.path / name for name in _OUTCOME):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise self.failure(path.name, error) from error
        self.write("manifest.json", manifest)
        return manifest

    def write(self, name: str, record: BaseModel) -> None:
        """Write a record to a file of its own.

        Raises:
            BackendError: the disk cannot be written.
        """
        self._write(name, record_pieces(record))

    def write_lines(self, name: str, records: Iterable[object]) -> None:
        """Write records to a JSON-lines file, each as it comes.

        Raises:
            BackendError: the disk cannot be written.
        """
        self._write(name, record_lines(records))

    def write_traces(self, run: Recorded, content: Content | None) -> None:
        """Write spans, logs and metrics, with prompts and answers as `content` says.

        Raises:
            BackendError: the disk cannot be written.
        """
        try:
            export.write_traces(self.path, run, content)
        except OSError as error:
            raise self.failure(export.TRACES, error) from error

    def failure(self, name: str, error: OSError) -> BackendError:
        """Return the error that ends a run whose file `name` cannot be written."""
        return BackendError(
            f"{self.path / name}: cannot be written ({error.strerror}); finished answers are "
            "stored: make room, then resume"
        )

    def _write(self, name: str, pieces: Iterable[str]) -> None:
        try:
            write_atomic(self.path / name, pieces)
        except OSError as error:
            raise self.failure(name, error) from error


def run_cases(suites: Iterable[Suite], plan: Plan) -> Iterator[RunCase]:
    """Yield the cases of suites as the models see them."""
    for suite in suites:
        for sourced in suite.cases:
            prompt = plan.prompts.get((suite.name, sourced.case.id, "base"))
            yield RunCase(
                suite=suite.name,
                case=sourced.case,
                where=sourced.where,
                rendered=prompt.text if prompt else None,
                prompt_sha256=prompt.sha256 if prompt else None,
            )
