"""Run history: past runs as a series for each suite.

It reads `manifest.json` and `verdict.json` of each folder, the promotions, and how many candidates
each suite has judged. A folder that is not a finished run is listed with the reason.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.decision.verdict.promotions import Promotion
from tunegate.harness.records.errors import UnknownName, UsageError, unknown_name_message
from tunegate.harness.records.files import read_record
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.record import SCHEMA_VERSION, Record, Text
from tunegate.harness.records.verdict import SuiteResult, Verdict, VerdictRecord


class PastRun(Record):
    """One finished run."""

    run_id: str
    """Its name."""
    folder: Text
    """Where it was read."""
    created: str
    """ISO 8601 time of its first start, UTC."""
    verdict: Verdict
    """How it ended, all suites together."""
    sentence: Text
    """The sentence that decided it."""
    spec: Text
    """Model spec of its fine-tune."""
    identity: dict[str, Any]
    """Its record of the fine-tune."""
    shipped: str | None
    """When its fine-tune was promoted (ISO 8601, UTC); None if it was not."""
    opened: tuple[str, ...]
    """Sealed suites that it opened."""
    attempts: dict[str, int]
    """Suite hash → number of the candidate that it judged on that suite."""
    suites: tuple[SuiteResult, ...]
    """Its suites' results; empty if it was refused or did not finish."""


class SuiteUsage(Record):
    """How often one version of a suite has been used."""

    name: str
    """Name of the suite."""
    hash: str
    """SHA-256 of its definition, cases and files."""
    candidates: int
    """Candidates judged on it, by the project's store or the runs themselves."""
    runs: int
    """Runs of it in this history."""
    opened: int
    """Runs that opened it, if it is sealed."""


class SkippedFolder(Record):
    """A folder that is not in the history."""

    folder: Text
    """The folder."""
    why: Text
    """Why, in one line."""


class RunHistory(Record):
    """Runs of a project, oldest first."""

    schema_version: int = SCHEMA_VERSION
    """Version of the format."""
    runs: tuple[PastRun, ...]
    """Oldest first."""
    wear: tuple[SuiteUsage, ...]
    """Each version of each suite, in the order in which it first appears."""
    skipped: tuple[SkippedFolder, ...]
    """Folders that could not be read as finished runs."""
    left_out: int = 0
    """Runs left out because of `--limit`, `--since` or the suite that was asked for."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all suites, in the order of appearance."""
        return tuple(dict.fromkeys(s.name for run in self.runs for s in run.suites))

    def of_suite(self, name: str) -> Iterator[tuple[PastRun, SuiteResult]]:
        """Yield the runs of a suite with its result."""
        for run in self.runs:
            yield from ((run, suite) for suite in run.suites if suite.name == name)


def read_history(
    folders: Iterable[Path],
    promotions: Sequence[Promotion] = (),
    counts: Mapping[str, int] | None = None,
    check: Callable[[Path], object] = lambda folder: None,
) -> RunHistory:
    """Read the runs of folders.

    Args:
        folders: Folders that may hold runs.
        promotions: What was shipped.
        counts: Suite hash → candidates judged on it, according to the store.
        check: Raises a UsageError for a run that cannot be trusted; it is skipped.
    """
    runs, skipped = [], []
    shipped = {p.run_id: p.promoted for p in promotions}
    for folder in folders:
        try:
            past = _past(folder, shipped)
            check(folder)
            runs.append(past)
        except UsageError as error:
            text = str(error).removeprefix(f"{folder}: ").removeprefix(f"{folder}/")
            skipped.append(SkippedFolder(folder=str(folder), why=text))
    runs.sort(key=lambda run: (run.created, run.run_id))
    return RunHistory(
        runs=tuple(runs), wear=tuple(_wear(runs, counts or {})), skipped=tuple(skipped)
    )


def narrow_history(
    history: RunHistory,
    *,
    suite: str | None = None,
    since: datetime.date | None = None,
    limit: int | None = None,
) -> RunHistory:
    """Return the newest runs of a suite since a day.

    Args:
        history: All runs.
        suite: Name of a suite; None keeps all runs.
        since: First day, UTC.
        limit: Runs at most, the newest.
    """
    if suite is not None and suite not in history.names:
        raise UnknownName(unknown_name_message(suite, history.names, what="suite in these runs"))
    kept = [
        run
        for run in history.runs
        if (suite is None or any(s.name == suite for s in run.suites))
        and (since is None or run.created[:10] >= since.isoformat())
    ]
    kept = kept[-limit:] if limit else kept
    only = tuple(
        run
        if suite is None
        else run.model_copy(update={"suites": tuple(s for s in run.suites if s.name == suite)})
        for run in kept
    )
    return history.model_copy(
        update={
            "runs": only,
            "wear": tuple(w for w in history.wear if suite in (None, w.name)),
            "left_out": len(history.runs) - len(kept),
        }
    )


def _past(folder: Path, shipped: Mapping[str, str]) -> PastRun:
    """Read one run."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: not a folder")
    there = [name for name in ("manifest.json", "verdict.json") if (folder / name).is_file()]
    if not there:
        raise UsageError(f"{folder}: not a run: neither manifest.json nor verdict.json")
    if len(there) == 1:
        raise UsageError(
            f"{folder}: an unfinished run, with {there[0]} alone; "
            f"`tunegate resume {folder}` finishes it"
        )
    manifest = read_record(folder / "manifest.json", Manifest)
    verdict = read_record(folder / "verdict.json", VerdictRecord)
    identity = verdict.arms.get("tuned", {})
    sealed = {suite.name for suite in manifest.suites if suite.sealed}
    return PastRun(
        run_id=verdict.run_id,
        folder=str(folder),
        created=manifest.created,
        verdict=verdict.verdict,
        sentence=verdict.sentence,
        spec=str(identity.get("spec", "unknown")),
        identity=identity,
        shipped=shipped.get(verdict.run_id),
        opened=tuple(s.name for s in verdict.suites if s.name in sealed),
        attempts=verdict.attempts,
        suites=verdict.suites,
    )


def _wear(runs: Sequence[PastRun], counts: Mapping[str, int]) -> Iterator[SuiteUsage]:
    seen: dict[tuple[str, str], list[PastRun]] = {}
    for run in runs:
        for suite in run.suites:
            seen.setdefault((suite.name, suite.hash), []).append(run)
    for (name, digest), past_runs in seen.items():
        recorded = max(run.attempts.get(digest, 0) for run in past_runs)
        yield SuiteUsage(
            name=name,
            hash=digest,
            candidates=max(recorded, counts.get(digest, 0)),
            runs=len(past_runs),
            opened=sum(name in run.opened for run in past_runs),
        )
