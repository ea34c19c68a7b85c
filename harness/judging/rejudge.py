"""Rejudging: a stored run is judged again, without running its models.

The judge metrics and their gates are taken from the suites as they stand now, so that one which was
added since is judged too; everything else of the run is what it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tunegate.harness import suite as suites
from tunegate.harness.errors import UsageError
from tunegate.harness.judging import stage
from tunegate.harness.judging.contract import Juror
from tunegate.harness.records.manifest import Manifest, SuiteRecord
from tunegate.harness.records.run_folder import Run
from tunegate.harness.suite import Suite


def suites_of(run: Run, given: Sequence[Path] = ()) -> list[Suite]:
    """Load the suites of a run as they stand now, with the cases that the run has.

    Args:
        run: The run.
        given: Suites that lie elsewhere than when the run was made.

    Raises:
        UsageError: a suite is gone, its cases or prompts are others, or none asks a judge.
    """
    moved = {suite.name: suite for suite in map(suites.load_suite, given)}
    names = {record.name for record in run.manifest.suites}
    stranger = next((name for name in moved if name not in names), None)
    if stranger is not None:
        raise UsageError(f"{moved[stranger].path}: {run.folder} has no suite {stranger!r}")
    found = [_load_suite(run, record, moved) for record in run.manifest.suites]
    if not stage.judge_metrics(found):
        raise UsageError(
            f"{run.folder}: no metric of its suites asks a judge; add one to suite.toml, such as "
            'use = "rubric" with criteria'
        )
    return found


def update_manifest(run: Run, found: Sequence[Suite], jurors: Sequence[Juror]) -> Manifest:
    """Return the run's manifest with the judges, and the judge metrics, of now."""
    records = [
        _update_judges(record, suite)
        for record, suite in zip(run.manifest.suites, found, strict=True)
    ]
    attempts = dict(run.manifest.attempts)
    for old, new in zip(run.manifest.suites, records, strict=True):
        if old.hash in attempts:
            attempts[new.hash] = attempts[old.hash]
    return run.manifest.model_copy(
        update={
            "suites": tuple(records),
            "attempts": attempts,
            "judges": tuple(dict(juror.identity) for juror in jurors),
        }
    )


def _load_suite(run: Run, record: SuiteRecord, moved: Mapping[str, Suite]) -> Suite:
    suite = moved.get(record.name) or _at_its_place(record)
    now = {case.id: case for case in suite.cases}
    for case in run.cases_of[record.name]:
        if case.id not in now or now[case.id] != case:
            raise UsageError(
                f"{suite.path}: case {case.id!r} is not the one that {run.folder} has completions "
                "of; run the gate again"
            )
    if suite.generation.model_dump(mode="json") != record.generation:
        raise UsageError(
            f"{suite.path}: [generation] is not what {run.folder} was made with; run the gate again"
        )
    kept = tuple(now[case.id] for case in run.cases_of[record.name])
    return replace(suite, cases=kept)


def _at_its_place(record: SuiteRecord) -> Suite:
    path = Path(record.path)
    if not path.is_file():
        raise UsageError(f"{path}: suite {record.name!r} is not there any more; say --suite DIR")
    return suites.load_suite(path)


def _update_judges(record: SuiteRecord, suite: Suite) -> SuiteRecord:
    """Return a suite's record with the judge metrics and gates of now, the others as they were."""
    fresh = suite.record()
    judged = {m.name: m for m in fresh.metrics if m.judge is not None}
    kept = {m.name: m for m in record.metrics if m.judge is None and m.name not in judged}
    gates = [g for g in record.gates if g.metric in kept]
    return record.model_copy(
        update={
            "hash": fresh.hash,
            "path": fresh.path,
            "metrics": (*kept.values(), *judged.values()),
            "gates": (*gates, *(g for g in fresh.gates if g.metric in judged)),
        }
    )
