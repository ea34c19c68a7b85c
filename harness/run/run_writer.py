"""Run writer: the files of a run folder, each written whole as soon as its content is known.

What an earlier run left in the folder is removed when this one begins;
a finished run about something else is moved to a folder beside. A disk that cannot be written ends
the run in ERROR; what was answered is in the store. OpenTelemetry files are also sent to a
collector.
"""

from __future__ import annotations

import datetime
import itertools
import os
import platform
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from tunegate.harness.engine.plan import Plan
from tunegate.harness.records import judgements
from tunegate.harness.records.errors import BackendError, TunegateError, UsageError
from tunegate.harness.records.files import read_record, record_pieces, write_atomic
from tunegate.harness.records.hashing import canonical_json
from tunegate.harness.records.jsonl import JsonlRecords, read_jsonl, record_lines
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.run_folder import RunCase
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.suite import Suite
from tunegate.harness.telemetry import export as otel_export
from tunegate.harness.telemetry.export import (
    FILE_NAMES,
    PACKED_NAMES,
    collector,
    redaction,
    resources,
)
from tunegate.harness.telemetry.export.attribute_names import PIPELINE_RUN_URL
from tunegate.harness.telemetry.export.collector import UNSENT, send_files

if TYPE_CHECKING:
    from tunegate.harness.telemetry.export.completion_spans import ContentCapture
    from tunegate.harness.telemetry.export.run_records import RunRecords


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

    def set_aside(self, manifest: Manifest) -> Iterator[str]:
        """Move a finished run that is not the one of `manifest` to a folder beside; yield a note.

        Raises:
            BackendError: the disk cannot be written.
        """
        try:
            held = read_record(self.path / "manifest.json", Manifest)
            ended = read_record(self.path / "verdict.json", VerdictRecord)
        except TunegateError:
            return
        if not ended.suites or _subject(held) == _subject(manifest):
            return
        places = (self.path.with_name(f"{self.path.name}.{n}") for n in itertools.count(1))
        place = next(one for one in places if not one.exists())
        try:
            place.mkdir()
            for one in [*self.path.iterdir()]:
                # The lock is this run's, and so are the logs of the servers that it has started.
                if one.name not in ("lock", "holder.json") and one.suffix != ".log":
                    one.rename(place / one.name)
        except OSError as error:
            raise RunFolder(place).failure("manifest.json", error) from error
        yield (
            f"{os.path.relpath(self.path)} held another finished run "
            f"({ended.verdict.value.replace('_', ' ')}), which is now {os.path.relpath(place)}"
        )

    def begin(self, manifest: Manifest) -> Manifest:
        """Write the manifest, without the outcome of an earlier run next to it; return it.

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

    def write_lines(self, name: str, records: Iterable[object], *, packed: bool = False) -> None:
        """Write records to a JSON-lines file, each as it comes; `packed` without spaces.

        Raises:
            BackendError: the disk cannot be written.
        """
        self._write(name, record_lines(records, packed=packed))

    def write_traces(self, run: RunRecords, content: ContentCapture | None) -> None:
        """Write spans, logs and metrics, with prompts and answers as `content` allows.

        Raises:
            BackendError: the disk cannot be written.
        """
        try:
            otel_export.write_traces(self.path, run, content)
        except OSError as error:
            raise self.failure(otel_export.TRACES, error) from error

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


def _subject(manifest: Manifest) -> str:
    """Return what a run is about: a run about the same may take its place."""
    told = manifest.model_dump(mode="json", include={"arms", "seed", "filtered", "draft"})
    return canonical_json([told, [suite.hash for suite in manifest.suites]])


def run_cases(suites: Iterable[Suite], plan: Plan, *, rendered: bool = True) -> Iterator[RunCase]:
    """Yield the cases of suites as the models see them.

    Args:
        suites: The suites.
        plan: What is asked.
        rendered: Whether the prompts were rendered; those of a recorded base were not seen.
    """
    for suite in suites:
        for case in suite.cases:
            prompt = plan.prompts.get((suite.name, case.id, "base"))
            yield RunCase(
                suite=suite.name,
                case=case,
                where=case.where,
                rendered=prompt.text if prompt and rendered else None,
                prompt_sha256=prompt.sha256 if prompt else None,
            )


EXPORTS = {"report": "report.html", "junit": "junit.xml", "summary": "summary.md"}
"""Option → the file of the run folder that it copies."""


def refuse_unwritable(options: Mapping[str, Any]) -> None:
    """Find out before the run whether the files asked for can be written.

    Raises:
        UsageError: one of them cannot.
    """
    for option in EXPORTS:
        if not options[option]:
            continue
        target = Path(options[option])
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            if os.path.lexists(target) and not stat.S_ISREG(target.lstat().st_mode):
                raise OSError(0, "it is a link or a device, which a report never replaces")
        except OSError as error:
            raise UsageError(
                f"--gate-{option}={target}: cannot be written ({error.strerror}); "
                "choose another file"
            ) from error


def copy_outputs(options: Mapping[str, Any], written: Mapping[str, Path]) -> None:
    """Copy the files of a run folder to where the options want them.

    Raises:
        UsageError: a file has become something else since the run began.
        OSError: writing failed.
    """
    refuse_unwritable(options)
    for option, name in EXPORTS.items():
        if options[option]:
            target = Path(options[option]).absolute()
            write_atomic(target, written[name].read_text(encoding="utf-8"))


def refuse_gaps(folder: Path) -> None:
    """Count what is stored against what was planned.

    Raises:
        BackendError: an answer is missing: whatever the verdict is, it is not shipped.
    """
    planned = len(read_record(folder / "manifest.json", Manifest).plan)
    known = sum(row["status"] != "missing" for row in read_jsonl(folder / "cells.jsonl"))
    if known != planned:
        raise BackendError(f"{planned} answers were planned and {known} are there")


_PATIENCE_S = 5.0
"""Seconds that git may take; a run does not wait longer for a fact about itself."""


def origin_facts(traces: str | None = None) -> dict[str, str]:
    """Return what is known, name → value; a fact that is not known is left out.

    Args:
        traces: Where a viewer shows the run's traces, with places for the ids.
    """
    facts = {
        "commit": _commit(),
        "CI job": resources.pipeline_attributes().get(PIPELINE_RUN_URL),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        collector.ORIGIN: traces,
    }
    return {name: value for name, value in facts.items() if value}


def _commit() -> str | None:
    """Return the commit that is checked out here, with `-dirty` where files differ from it."""
    words = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        told = subprocess.run(
            words, capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip()


def repository_root() -> Path:
    """Return the folder from which CI names files."""
    return Path(os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR") or ".")


@dataclass(frozen=True, slots=True)
class TelemetryOptions:
    """A run's options of telemetry."""

    content: ContentCapture | None = None
    """Parts of prompts and answers that are written; None is nothing."""
    link: str | None = None
    """Where a viewer shows it, with places for the ids."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> TelemetryOptions:
        """Return what the options ask for.

        Raises:
            UsageError: there is no redaction of that name.
        """
        shown = bool(options["trace-content"])
        return cls(redaction.content_of(shown, options["trace-redact"]), options["trace-link"])


def write_telemetry(
    folder: RunFolder, run: RunRecords, suites: Sequence[Suite], content: ContentCapture | None
) -> Iterator[str]:
    """Write spans, log records and metrics; yield the lines about them.

    Args:
        folder: The run's.
        run: What was recorded, but for cases and judgements.
        suites: Where the cases are from.
        content: What is written of prompts and answers; None writes nothing.

    Raises:
        BackendError: the disk cannot be written.
    """
    whole = replace(
        run,
        cases={(suite.name, case.id): case for suite in suites for case in suite.cases},
        judgements=JsonlRecords(folder.path / judgements.JUDGEMENTS_FILE, judgements.Judgement),
    )
    folder.write_traces(whole, content)
    if content is not None and content.failed:
        from tunegate.harness.telemetry.export.completion_spans import REDACTED

        yield f"{content.failed} texts are {REDACTED} in the traces: the redaction failed"


def send_telemetry(folder: RunFolder) -> Iterator[str]:
    """Send the files to the address in the OTEL_ variables; yield the lines about it."""
    yield from send_files(folder.path)
