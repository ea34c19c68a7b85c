"""Judging a stored run again: its suites as they are now, and its updated manifest.

The judge metrics and their gates are taken from the suites as they are now, so that metrics added
since are judged too. Everything else of the run stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tunegate.harness import suite as suites
from tunegate.harness.judges.asking import stage
from tunegate.harness.judges.asking.instructions import instruction_findings
from tunegate.harness.judges.asking.judge_model import JudgeModel
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.manifest import Manifest, SuiteRecord
from tunegate.harness.records.run_folder import Run
from tunegate.harness.suite import Suite


def load_suites_of_run(run: Run, paths: Sequence[Path]) -> list[Suite]:
    """Load the suites of a run as they are now, with only the cases that the run has.

    Raises:
        UsageError: a suite is missing, its cases or prompts changed, or none asks a judge.
    """
    if not paths:
        raise UsageError(
            f"{run.folder}: name its suites with --suite DIR; a suite may hold code, which "
            "only runs if you name it"
        )
    named = {suite.name: suite for suite in map(suites.load_suite, paths)}
    names = {record.name for record in run.manifest.suites}
    stranger = next((name for name in named if name not in names), None)
    if stranger is not None:
        raise UsageError(f"{named[stranger].path}: {run.folder} has no suite {stranger!r}")
    if missing := sorted(names - named.keys()):
        raise UsageError(
            f"{run.folder}: was made with {missing[0]!r} too; name it with --suite DIR"
        )
    loaded = [_keep_cases(run, record, named[record.name]) for record in run.manifest.suites]
    if not stage.judge_metrics(loaded):
        raise UsageError(
            f"{run.folder}: no metric of its suites asks a judge; add one to suite.toml, such as "
            'use = "rubric" with criteria'
        )
    return loaded


def update_manifest(
    run: Run, suites_now: Sequence[Suite], judge_models: Sequence[JudgeModel]
) -> Manifest:
    """Return the run's manifest with the current judge models and judge metrics."""
    records = [
        _update_judges(record, suite)
        for record, suite in zip(run.manifest.suites, suites_now, strict=True)
    ]
    attempts = dict(run.manifest.attempts)
    for old, new in zip(run.manifest.suites, records, strict=True):
        if old.hash in attempts:
            attempts[new.hash] = attempts[old.hash]
    before = run.manifest.findings
    now = [
        finding for finding in instruction_findings(suites_now, run.cells) if finding not in before
    ]
    return run.manifest.model_copy(
        update={
            "suites": tuple(records),
            "attempts": attempts,
            "findings": (*before, *now),
            "judges": tuple(dict(judge_model.identity) for judge_model in judge_models),
        }
    )


def _keep_cases(run: Run, record: SuiteRecord, suite: Suite) -> Suite:
    now = {case.id: case for case in suite.cases}
    for case in run.cases_of[record.name]:
        if case.id not in now or now[case.id] != case:
            raise UsageError(
                f"{suite.path}: case {case.id!r} changed since {run.folder}; run the gate again"
            )
    if suite.generation.model_dump(mode="json") != record.generation:
        raise UsageError(
            f"{suite.path}: [generation] changed since {run.folder}; run the gate again"
        )
    kept = tuple(now[case.id] for case in run.cases_of[record.name])
    return replace(suite, cases=kept)


def _update_judges(record: SuiteRecord, suite: Suite) -> SuiteRecord:
    """Return a suite's record with its current judge metrics and their gates."""
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
