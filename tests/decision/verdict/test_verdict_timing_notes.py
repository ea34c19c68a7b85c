"""What is said of times, and how a tolerance in percent judges them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import mstats

from tunegate.harness.comparison.delta import is_proven
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.decision.verdict.timing_notes import timing_notes
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.gate_results import GateStatus
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.stats.latency import geometric_mean_ratio

TIMED = {"needs": CellKind.LATENCY, "higher_is_better": False, "range": None, "binary": False}


def times(n: int, *, slower: float, seed: int = 1) -> tuple[list[float], list[float]]:
    """Return lognormal times of base, and tuned's around `slower` times as long."""
    rng = np.random.default_rng(seed)
    base = rng.lognormal(-1, 0.8, n)
    return base.tolist(), (base * slower * rng.lognormal(0, 0.1, n)).tolist()


@pytest.fixture(name="table")
def _table(columns: Any, record_factory: Any) -> Any:
    """Return a function that makes a table of two columns of times, with the given parts."""

    def make(
        base: list[float], tuned: list[float], clusters: Any = None, **parts: float
    ) -> ScoreTable:
        suite = columns(
            gates=(),
            columns={"latency": (base, tuned)},
            metrics=(record_factory.metric("latency", **TIMED),),
            clusters=clusters,
        )
        rows = (replace(row, parts=parts or None) for row in suite.rows())
        return ScoreTable(
            suite=suite.record(),
            cases={case.id: case for case in suite.cases()},
            values={(row.metric, row.case, row.arm): row for row in rows},
        )

    return make


def test_the_note_gives_ratio_and_quantiles(table: Any) -> None:
    base, tuned = times(120, slower=1.2)
    blocks = [str(i // 6) for i in range(120)]  # 2 * round(sqrt(120) / 4) neighbours
    ratio = geometric_mean_ratio(base, tuned, clusters=blocks)
    p50, p95 = (
        [mstats.hdquantiles(arm, prob=[share])[0] for arm in (base, tuned)] for share in (0.5, 0.95)
    )

    (note,) = timing_notes(table(base, tuned, batch_size=1.0))

    assert note.startswith(
        f"latency: a case takes tuned {ratio.estimate:.3g} times as long as base "
        f"[{ratio.low:.3g}, {ratio.high:.3g}] at 90 % (geometric mean of "
        "120 cases in 20 blocks of time); "
    )
    assert f"p50 {p50[0]:.3g} s → {p50[1]:.3g} s, {p50[1] / p50[0]:.3g} times [" in note
    assert f"p95 {p95[0]:.3g} s → {p95[1]:.3g} s, {p95[1] / p95[0]:.3g} times [" in note
    assert note.endswith("; each completion timed alone")


def test_few_cases_compare_no_quantile(table: Any) -> None:
    """p50 is compared from 20 cases and p95 from 100; below, the levels stand alone."""
    (of_30,) = timing_notes(table(*times(30, slower=1.1)))
    (of_19,) = timing_notes(table(*times(19, slower=1.1)))

    assert of_30.count("not compared") == 1
    assert "not compared: that takes 100 cases" in of_30
    assert of_19.count("not compared") == 2


def test_quantiles_of_clusters_are_not_compared(table: Any) -> None:
    clusters = [f"k{i // 5}" for i in range(120)]

    (note,) = timing_notes(table(*times(120, slower=1.1), clusters=clusters))

    assert note.count("not compared: the cases come in clusters") == 2


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({}, "timed elsewhere: whether alone or in batches is not recorded"),
        ({"batch_size": 1.0}, "each completion timed alone"),
        ({"batch_size": 8.0}, "timed in batches of up to 8"),
    ],
)
def test_the_note_says_what_was_timed(table: Any, parts: dict[str, float], said: str) -> None:
    (note,) = timing_notes(table(*times(20, slower=1.0), **parts))

    assert note.endswith(said)


def test_the_note_gives_tokens_a_second(table: Any) -> None:
    """20 cases of 12 tokens: 240 tokens in 20 · 0.5 = 10 s and in 20 · 0.6 = 12 s."""
    (note,) = timing_notes(table([0.5] * 20, [0.6] * 20, output_tokens=12.0))

    assert "; 24 → 20 tokens a second; " in note


@pytest.mark.parametrize("base", [[0.5], [0.0, 0.5, 0.5]])
def test_nothing_is_said_where_there_is_no_ratio(table: Any, base: list[float]) -> None:
    """One case is too few, and nothing is a multiple of a time of 0."""
    assert list(timing_notes(table(base, [0.6] * len(base)))) == []


def test_other_metrics_are_not_timed(columns: Any) -> None:
    suite = columns(gates=(), columns={"m": ([1.0] * 30, [0.0] * 30)})
    rows = {(row.metric, row.case, row.arm): row for row in suite.rows()}

    table = ScoreTable(suite.record(), {case.id: case for case in suite.cases()}, rows)

    assert list(timing_notes(table)) == []


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("slower", [1.0, 1.05, 1.08, 1.1])
def test_a_tolerance_in_percent_bounds_the_ratio(
    record_factory: Any, seed: int, slower: float
) -> None:
    """It holds exactly where the upper limit of the geometric mean ratio is below 1.10."""
    base, tuned = times(40, slower=slower, seed=seed)
    pairs = Pairs("s", record_factory.metric("latency", **TIMED), tuple(base), tuple(tuned))

    assert is_proven(pairs.relative(0.10), 0.0, 0.90) == (
        geometric_mean_ratio(base, tuned, clusters=[str(i // 4) for i in range(40)]).high < 1.1
    )


def test_differences_of_times_keep_base_s_unit(record_factory: Any) -> None:
    """Mean 2 s, allowed 50 %, tuned twice as long: 2 · (ln 1.5 - ln 2) s on every case."""
    pairs = Pairs("s", record_factory.metric("latency", **TIMED), (1.0, 3.0), (2.0, 6.0))

    assert pairs.relative(0.5).differences == pytest.approx([2 * math.log(0.75)] * 2)


def test_a_time_of_zero_falls_back_on_the_means(record_factory: Any) -> None:
    """A ratio to 0 is undefined: the distance from 1.5 times base's mean decides."""
    pairs = Pairs("s", record_factory.metric("latency", **TIMED), (0.0, 2.0), (1.0, 1.0))

    assert pairs.relative(0.5).differences == pytest.approx([-1.0, 2.0])  # 1.5 · b - t


def test_a_verdict_carries_ratio_and_gate(columns: Any, record_factory: Any, judge: Any) -> None:
    base, tuned = [0.1] * 39 + [10.0], [0.1 + 0.0001 * i for i in range(39)] + [12.0]
    gate = Gate(metric="latency", kind="tolerance", margin="10%", where="suite.toml:9")
    suite = columns(
        gates=(gate,),
        columns={"latency": (base, tuned)},
        metrics=(record_factory.metric("latency", **TIMED),),
    )

    (result,) = judge(suite).suites

    assert result.gates[0].status is GateStatus.PASS
    assert any("times as long as base" in note for note in result.remarks)


@pytest.mark.parametrize(
    ("arm", "backend", "verdict"),
    [
        ("base", "replay", Verdict.UNDECIDED),
        ("tuned", "replay", Verdict.UNDECIDED),
        ("tuned", "hf", Verdict.SHIP),
    ],
)
def test_recorded_times_decide_nothing(
    judge: Any, columns: Any, record_factory: Any, arm: str, backend: str, verdict: Verdict
) -> None:
    base, tuned = times(120, slower=1.02)
    suite = columns(
        [Gate(metric="latency", kind="tolerance", margin="20%")],
        {"latency": (base, tuned)},
        (record_factory.metric("latency", **TIMED),),
    )
    arms = {"base": {"backend": "hf"}, "tuned": {"backend": "hf"}, arm: {"backend": backend}}

    found = judge(suite, arms=arms)

    assert found.verdict is verdict
    assert found.suites[0].gates[0].advisory is (backend == "replay")
    assert ("recorded elsewhere" in found.sentence) is (backend == "replay")


def test_a_ceiling_on_recorded_times_counts(judge: Any, columns: Any, record_factory: Any) -> None:
    base, tuned = times(120, slower=1.02)
    suite = columns(
        [Gate(metric="latency", kind="ceiling", margin=10.0)],
        {"latency": (base, tuned)},
        (record_factory.metric("latency", **TIMED),),
    )
    arms = {"base": {"backend": "replay"}, "tuned": {"backend": "replay"}}

    assert judge(suite, arms=arms).verdict is Verdict.SHIP
