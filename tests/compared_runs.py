"""Finished runs of one suite and one base, a fine-tune each, made of columns of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tunegate.harness.decision.candidates.rank import compare_runs
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.candidates import CandidateComparison
from tunegate.harness.records.cases import Case
from tunegate.harness.records.manifest import Gate, Manifest, MetricRecord, SuiteRecord
from tunegate.harness.records.run_folder import Run, RunCase
from tunegate.harness.records.scores import ScoreRow

GAIN, TOLERANCE = "gain", "tolerance"
GOAL = Gate(metric="solved", kind=GAIN, margin=0.1)
GUARD = Gate(metric="kept", kind=TOLERANCE, margin=0.1)


def column(right: int, n: int = 100, *, skip: int = 0) -> list[float]:
    """Return n scores of 0 or 1, those of `right` cases after the first `skip` being 1."""
    return [float(skip <= i < skip + right) for i in range(n)]


def metric(name: str, **changes: Any) -> MetricRecord:
    """Return the record of a 0/1 metric, or one with the given changes."""
    given: dict[str, Any] = {
        "use": name,
        "needs": CellKind.GENERATE,
        "higher_is_better": True,
        "range": (0.0, 1.0),
        "binary": True,
    }
    return MetricRecord(name=name, **(given | changes))


def run_of(
    name: str,
    columns: Mapping[str, tuple[Sequence[float | None], Sequence[float | None]]],
    *,
    gates: Sequence[Gate] = (GOAL, GUARD),
    suite: Mapping[str, Any] | None = None,
    base: Mapping[str, Any] | None = None,
    prompt: str = "p",
    tags: Sequence[str] = (),
    **changes: Any,
) -> Run:
    """Return a finished run.

    Args:
        name: Its id, the name of its folder, and that of its fine-tune.
        columns: Metric → scores of base and of tuned.
        gates: The suite's gates.
        suite: Fields of the suite's record that differ.
        base: Facts of base that differ.
        prompt: Hash of every prompt.
        tags: Tag of each case; none where empty.
        changes: Fields of the manifest that differ.
    """
    n = len(next(iter(columns.values()))[0])
    record = SuiteRecord(
        **{
            "name": "s",
            "path": "suites/s/suite.toml",
            "hash": "hash of s",
            "n_cases": n,
            "goal_rule": "primary",
            "max_unscored": 0.05,
            "metrics": tuple(metric(m) for m in columns),
            "gates": tuple(gates),
            "generation": {"max_new_tokens": 96},
        }
        | dict(suite or {})
    )
    arms = {
        "base": {"spec": "org/base", "weights_sha256": "b" * 64, "dtype": "float32"}
        | dict(base or {}),
        "tuned": {"spec": f"out/{name}", "adapter_sha256": name},
    }
    given: dict[str, Any] = {
        "run_id": name,
        "created": "2026-01-01T00:00:00+00:00",
        "command": (),
        "arms": arms,
        "suites": (record,),
        "plan": (),
        "seed": 0,
        "versions": {},
        "comparability": {},
        "liveness": {},
        "attempts": {record.hash: 1},
    }
    manifest = Manifest(**(given | changes))
    cases = [Case(id=f"c{i:03}", prompt=f"q{i}", tags=(tags[i],) if tags else ()) for i in range(n)]
    rows = list(_rows(record.name, columns))
    return Run(
        folder=Path("runs") / name,
        manifest=manifest,
        cases={
            (record.name, c.id): RunCase(suite=record.name, case=c, where="x", prompt_sha256=prompt)
            for c in cases
        },
        cells=(),
        scores=tuple(rows),
        verdict=decide_run(manifest, {record.name: cases}, rows),
    )


def _rows(suite: str, columns: Mapping[str, Any]) -> Any:
    for metric_name, pair in columns.items():
        for arm, values in zip(("base", "tuned"), pair, strict=True):
            for i, value in enumerate(values):
                yield ScoreRow(
                    suite=suite,
                    metric=metric_name,
                    case=f"c{i:03}",
                    arm=arm,
                    value=value,
                    reason=None if value is not None else "the judge timed out",
                )


def candidate(name: str, solved: int, kept: int = 90, **changes: Any) -> Run:
    """Return a run whose base solves 30 of 100 cases and keeps 90; tuned as asked."""
    return run_of(
        name,
        {"solved": (column(30), column(solved)), "kept": (column(90), column(kept))},
        **changes,
    )


@cache
def _plain() -> CandidateComparison:
    return compare_runs([candidate("a", 60), candidate("b", 70)])


def poisoned(text: str) -> CandidateComparison:
    """Return a comparison with a text in the place of every name and sentence."""
    found = _plain()
    name = text[:60]
    effect = {"suite": name, "metric": name}
    candidates = tuple(
        one.model_copy(
            update={
                "spec": text,
                "folder": text,
                "run_id": text,
                "sentence": text,
                "notes": (text,),
                "gain": one.gain and one.gain.model_copy(update=effect),
                "forgetting": one.forgetting and one.forgetting.model_copy(update=effect),
                "suites": tuple(
                    suite.model_copy(
                        update={
                            "name": name,
                            "gates": tuple(
                                g.model_copy(update={"metric": name, "sentence": text})
                                for g in suite.gates
                            ),
                        }
                    )
                    for suite in one.suites
                ),
            }
        )
        for one in found.candidates
    )
    changes: dict[str, Any] = {
        "candidates": candidates,
        "sentence": text,
        "notes": (text,),
        "base": {"spec": text},
        "duels": tuple(d.model_copy(update=effect) for d in found.duels),
        "suites": tuple(s.model_copy(update={"name": name}) for s in found.suites),
    }
    return found.model_copy(update=changes)
