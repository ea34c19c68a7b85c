"""The A/A check: noise floors by hand, and what counts as a false claim."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tunegate.harness.comparison.noise_floor import NoiseFloor
from tunegate.harness.decision.score_table import tables_of
from tunegate.harness.decision.verdict.false_claims import (
    broken_levels,
    claims_at_looks,
    false_claims,
    noise_floors,
)
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.manifest import Gate, LookSchedule
from tunegate.harness.records.verdict import Verdict

FLOOR, CEILING, GAIN = "floor", "ceiling", "gain"
TOLERANCE, SEVERE_DROP = "tolerance", "severe_drop"
BETTER, WORSE, SAME = (30, 0, 50, 20), (0, 30, 50, 20), (2, 2, 46, 50)
"""(wins, losses, both right, neither)."""


def gate(kind: str, margin: float, metric: str = "m") -> Gate:
    """Return a gate."""
    return Gate(metric=metric, kind=kind, margin=margin)


@pytest.mark.parametrize(
    ("gates", "scores", "claimed"),
    [
        ([gate(GAIN, 0.02)], SAME, []),
        ([gate(GAIN, 0.02)], BETTER, [GAIN]),
        ([gate(GAIN, 0.02)], WORSE, [GAIN]),
        ([gate(TOLERANCE, 0.1)], SAME, []),
        ([gate(TOLERANCE, 0.1)], BETTER, []),
        ([gate(TOLERANCE, 0.1)], WORSE, [TOLERANCE]),
        ([gate(FLOOR, 0.99)], SAME, []),
        ([gate(FLOOR, 0.99), gate(GAIN, 0.02)], SAME, []),
        ([gate(FLOOR, 0.99), gate(GAIN, 0.02)], BETTER, [GAIN]),
    ],
)
def test_what_is_a_false_claim(
    judge: Any,
    columns: Any,
    record_factory: Any,
    gates: list[Gate],
    scores: Any,
    claimed: list[str],
) -> None:
    """A goal reached, a regression proven; neither "no worse" nor a floor, which hides nothing."""
    suite = columns(gates, {"m": record_factory.pairs(*scores)})
    [result] = judge(suite).suites

    assert [g.kind for g in false_claims(suite.record(), result)] == claimed


def test_a_goal_that_the_rule_still_lacks_is_no_claim(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    gates = [gate(GAIN, 0.02), gate(GAIN, 0.02, "k")]
    given = {"m": record_factory.pairs(*BETTER), "k": record_factory.pairs(*SAME)}
    suite = columns(gates, given, goal_rule="all")
    [result] = judge(suite).suites

    assert false_claims(suite.record(), result) == ()


@pytest.mark.parametrize(("adapter", "claimed"), [(False, ["m"]), (True, [])])
def test_an_adapter_may_take_its_time(
    judge: Any, columns: Any, record_factory: Any, adapter: bool, claimed: list[str]
) -> None:
    """Base that is slower than itself is a false claim; with an adapter it is the truth."""
    timed = {"binary": False, "range": None, "higher_is_better": False}
    metric = record_factory.metric("m", needs=CellKind.LATENCY, **timed)
    seconds = [0.1 + 0.001 * (i % 5) for i in range(200)]
    slower = [s + 0.05 + 0.001 * (i % 3) for i, s in enumerate(seconds)]
    suite = columns([gate(TOLERANCE, 0.01)], {"m": (seconds, slower)}, [metric])
    [result] = judge(suite).suites

    found = false_claims(suite.record(), result, adapter=adapter)

    assert result.verdict is Verdict.BLOCK
    assert [g.metric for g in found] == claimed


def test_severe_drops_are_a_false_claim(judge: Any, columns: Any, record_factory: Any) -> None:
    metric = record_factory.metric("m", binary=False)
    base = [0.9] * 60
    tuned = [0.1 if i % 3 == 0 else 1.0 for i in range(60)]
    suite = columns([gate(SEVERE_DROP, 0.1)], {"m": (base, tuned)}, [metric])
    [result] = judge(suite).suites

    assert [g.kind for g in false_claims(suite.record(), result)] == [SEVERE_DROP]


def test_broken_levels_are_told_apart(judge: Any, columns: Any, record_factory: Any) -> None:
    gates = [gate(FLOOR, 0.99), gate(CEILING, 0.1), gate(FLOOR, 0.1)]
    verdict = judge(columns(gates, {"m": record_factory.pairs(*SAME)}))

    assert verdict.verdict is Verdict.BLOCK
    assert [g.kind for g in broken_levels(verdict.suites[0])] == [FLOOR, CEILING]


@pytest.mark.parametrize(
    ("early", "late", "ended", "claimed"),
    [
        (30, 0, 0, [GAIN]),  # 30 of the first 32 flip upwards, none of the others
        (0, 30, 2, [GAIN]),  # the first 64 are alike, 30 of the last 36 flip upwards
        (0, 0, 2, []),
    ],
)
def test_a_claim_at_any_look_is_found(
    record_factory: Any, columns: Any, early: int, late: int, ended: int, claimed: list[str]
) -> None:
    """An A/A run asks all cases; what a look of a gate run would claim on the way counts too."""
    base = [0.0] * 100
    tuned = [1.0] * early + [0.0] * (64 - early) + [1.0] * late + [0.0] * (36 - late)
    suite = columns([gate(GAIN, 0.0)], {"m": (base, tuned)})
    looks = LookSchedule(
        order=tuple(case.id for case in suite.cases()),
        sizes=(32, 64, 100),
        shares=(0.32, 0.64, 1.0),
    )
    run = SimpleNamespace(
        manifest=record_factory.manifest([suite]),
        cases_of={"s": suite.cases()},
        scores=suite.rows(),
    )

    look, claims = claims_at_looks(run, looks)  # type: ignore[arg-type]

    assert look.index == ended
    assert [g.kind for g in claims] == claimed


def _noise(record_factory: Any, suite: Any) -> NoiseFloor:
    cases, rows = {suite.name: suite.cases()}, suite.rows()
    [table] = tables_of(record_factory.manifest([suite]), cases, rows, {})
    [found] = noise_floors(table)
    return found


def test_the_noise_floor_of_pass_and_fail(record_factory: Any, columns: Any) -> None:
    """Two cases of 100 newly right and three newly wrong: five flips, 5 %, difference -1 %."""
    floor = _noise(record_factory, columns([], {"m": record_factory.pairs(2, 3, 45, 50)}))

    assert floor.flips == 5
    assert floor.size == pytest.approx(0.05)
    assert floor.pairs.estimate == pytest.approx(-0.01)


def test_the_noise_floor_of_a_number(record_factory: Any, columns: Any) -> None:
    """Mean of |0.1|, |-0.3|, |0| and |0| is 0.1; their mean is -0.05. A case half scored is out."""
    pair = ([0.2, 0.5, 0.5, 0.5, None], [0.3, 0.2, 0.5, 0.5, 1.0])
    floor = _noise(
        record_factory, columns([], {"m": pair}, [record_factory.metric("m", binary=False)])
    )

    assert floor.flips is None
    assert floor.size == pytest.approx(0.1)
    assert floor.pairs.estimate == pytest.approx(-0.05)
    assert floor.pairs.n == 4


def test_a_number_that_happens_to_be_0_or_1_is_no_flip(record_factory: Any, columns: Any) -> None:
    record = record_factory.metric("m", binary=False, range=None)

    assert (
        _noise(record_factory, columns([], {"m": ([1.0, 1.0], [1.0, 0.0])}, [record])).flips is None
    )


def test_without_scores_there_is_no_noise_floor(record_factory: Any, columns: Any) -> None:
    """Nothing scored is not a noise floor of 0."""
    floor = _noise(record_factory, columns([], {"m": ([None, 1.0], [1.0, None])}))

    assert floor.size is None
