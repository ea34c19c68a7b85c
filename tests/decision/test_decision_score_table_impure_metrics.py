"""Metrics of the user's own: state, chance and attempts to end the process are found."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.decision.scoring import score_suite
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import BackendError
from tunegate.harness.suite import Suite, load_suite

SUITE = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n'


@pytest.fixture(name="scored")
def _scored(suite_folder: Callable[..., Path]) -> Callable[[Any], list[float | None]]:
    """Return a function that scores 60 cases of both arms by a function."""
    lines = [{"id": f"c{i}", "prompt": f"q{i}", "expected": "x"} for i in range(60)]
    suite = load_suite(suite_folder(SUITE, lines))
    cells = [
        StoredAnswer(
            cell=Cell(
                suite="s",
                case=case.id,
                arm=arm,
                kind=CellKind.GENERATE,
                sample=0,
                key=case.id + arm,
            ),
            status="ok",
            completion=Completion(text=f"{case.id} {arm}"),
        )
        for case in suite.cases
        for arm in ("base", "tuned")
    ]

    def scored(function: Any) -> list[float | None]:
        changed: Suite = suite.__class__(
            **{**vars(suite), "metrics": (Metric(name="own", score=function),)}
        )
        return [row.value for row in score_suite(changed, cells, ("base", "tuned"))]

    return scored


def pure(case: Case, completion: Completion) -> float:
    """Return what depends on the answer alone."""
    return float(len(completion.text or ""))


def seeded(case: Case, completion: Completion) -> float:
    """Draw by a seed that is made of the answer."""
    return random.Random(completion.text).random()


def failing(case: Case, completion: Completion) -> float:
    """Raise on every answer of tuned."""
    if "tuned" in (completion.text or ""):
        raise ValueError("no")
    return 1.0


@pytest.mark.parametrize("function", [pure, seeded, failing])
def test_functions_of_the_answer_are_taken(scored: Any, function: Any) -> None:
    assert len(scored(function)) == 120


def _alternates() -> Any:
    calls = count()
    return lambda case, completion: float(next(calls) % 2)


def _improves() -> Any:
    calls = count()
    return lambda case, completion: float(next(calls) > 60)


def _remembers() -> Any:
    known: set[str] = set()

    def score(case: Case, completion: Completion) -> float:
        new = case.id not in known
        known.add(case.id)
        return 0.0 if new else 1.0

    return score


def _draws() -> Any:
    chance = random.Random(1)
    return lambda case, completion: chance.random()


def _gives_up() -> Any:
    calls = count()

    def score(case: Case, completion: Completion) -> float:
        if next(calls) % 3:
            raise ValueError("later")
        return 1.0

    return score


@pytest.mark.parametrize("make", [_alternates, _improves, _remembers, _draws, _gives_up])
def test_state_and_chance_are_found(scored: Any, make: Callable[[], Any]) -> None:
    with pytest.raises(BackendError, match="a metric must depend only on the case and the answer"):
        scored(make())


def _ends(how: Callable[[], Any]) -> Any:
    return lambda case, completion: how()


@pytest.mark.parametrize(
    "how",
    [
        lambda: exec("raise SystemExit(0)"),
        lambda: pytest.skip("later"),
    ],
    ids=["sys.exit", "pytest.skip"],
)
def test_a_metric_cannot_end_the_run(scored: Any, how: Any) -> None:
    with pytest.raises(BackendError, match="metric 'own' tried to end the run on case 'c0'"):
        scored(_ends(how))
