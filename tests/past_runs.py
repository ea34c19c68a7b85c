"""A project's history, made of the runs of `tests.compared_runs`."""

from __future__ import annotations

from typing import Any

from tests.compared_runs import candidate
from tunegate.harness.decision.verdict.run_history import (
    PastRun,
    RunHistory,
    SkippedFolder,
    SuiteUsage,
)


def past(name: str, day: int, solved: int, *, shipped: bool = False, **changes: Any) -> PastRun:
    """Return a run of a day of January."""
    run = candidate(name, solved, **changes)
    return PastRun(
        run_id=name,
        folder=f"runs/{name}",
        created=f"2026-01-{day:02}T10:00:00+00:00",
        verdict=run.verdict.verdict,
        sentence=run.verdict.sentence,
        spec=f"out/{name}",
        identity={"adapter_sha256": name},
        shipped="2026-02-01T00:00:00+00:00" if shipped else None,
        opened=(),
        attempts={s.hash: day for s in run.manifest.suites},
        suites=run.verdict.suites,
    )


def history_of(*runs: PastRun, **changes: Any) -> RunHistory:
    """Return a history of runs, oldest first."""
    wear = SuiteUsage(name="s", hash="hash of s", candidates=len(runs), runs=len(runs), opened=0)
    return RunHistory(**({"runs": runs, "wear": (wear,), "skipped": ()} | changes))


FOUR = (
    past("first", 1, 36),
    past("second", 2, 60, shipped=True),
    past("third", 3, 70, suite={"hash": "another"}),
    past("fourth", 4, 75, kept=60, suite={"hash": "another"}),
)


def poisoned(text: str) -> RunHistory:
    """Return a history with a text in the place of every name and sentence."""
    run = FOUR[0]
    suite = run.suites[0]
    gates = tuple(g.model_copy(update={"metric": text[:60]}) for g in suite.gates)
    changes: dict[str, Any] = {
        "run_id": text,
        "spec": text,
        "sentence": text,
        "created": text,
        "shipped": text,
        "identity": {text: text},
        "suites": (suite.model_copy(update={"name": text[:60], "gates": gates}),),
    }
    wear = SuiteUsage(name=text[:60], hash=text, candidates=1, runs=1, opened=1)
    skipped = SkippedFolder(folder=text, why=text)
    return RunHistory(runs=(run.model_copy(update=changes),), wear=(wear,), skipped=(skipped,))
