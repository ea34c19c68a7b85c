"""Corpus metrics: gates rest on a function of summed counts, never on the mean of case scores."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tunegate.harness.comparison.corpus_level import PairedCounts
from tunegate.harness.comparison.delta import Delta, compare_scores, is_proven
from tunegate.harness.comparison.pairs import Pairs, estimator_of
from tunegate.harness.contracts.metric import metric
from tunegate.harness.contracts.metric_loading import load_metric
from tunegate.harness.decision.planning.pilot import pilot_spread
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UnknownName, UsageError
from tunegate.harness.records.gate_results import GateReason, GateStatus
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.scores import Score
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.stats.corpus_jackknife import jackknife_interval, jackknife_replicates


def share(sums: Sequence[float]) -> float:
    """Return what was found of what was there: 0 of nothing."""
    found, there = sums
    return found / there if there else 0.0


def scaled(sums: Sequence[float], *, unit: float) -> float:
    """Return the same in another unit."""
    return unit * share(sums)


@metric(range=(0.0, 1.0), corpus=share, heaviest=1.0)
def found(case: Case, completion: Completion) -> Score:
    """Never called: the tests bring counts."""
    raise NotImplementedError


@metric(range=(0.0, 1.0), corpus=share)
def endless(case: Case, completion: Completion) -> Score:
    """Never called either; its answers may be of any length."""
    raise NotImplementedError


@metric(corpus=scaled)
def in_units(case: Case, completion: Completion, *, unit: float = 10.0) -> Score:
    """Never called: the tests bring counts."""
    raise NotImplementedError


def _load(name: str) -> None:
    """Load an own metric as a suite does; a record alone loads none."""
    load_metric(f"own_corpus:{name}", {}, name="m", folder=Path(), where="suite.toml")


@pytest.fixture(name="own", autouse=True, scope="module")
def _own() -> Any:
    """Make the metrics above importable, as a user's own are."""
    module = ModuleType("own_corpus")
    vars(module).update(found=found, in_units=in_units, endless=endless)
    sys.modules["own_corpus"] = module
    for name in ("found", "in_units", "endless"):
        _load(name)
    yield module
    del sys.modules["own_corpus"]


def rows_of(seed: int, n: int, rate: float) -> list[tuple[float, float]]:
    """Return n cases of 1 to 9 things, each found at the given rate."""
    rng = np.random.default_rng(seed)
    there = np.random.default_rng(99).integers(1, 10, n)
    return [(float(rng.binomial(size, rate)), float(size)) for size in there]


@pytest.fixture(name="record")
def _record(record_factory: Any) -> Any:
    """Return a function that makes the record of a corpus metric."""

    def record(**changes: Any) -> Any:
        return record_factory.metric(
            **({"use": "own_corpus:found", "binary": False, "corpus": {}} | changes)
        )

    return record


@pytest.fixture(name="pairs")
def _pairs(record: Any) -> Any:
    """Return a function from both arms' counts to pairs; a case's own score is its share."""

    def pairs(base: Any, tuned: Any, clusters: Any = None, **changes: Any) -> Pairs:
        used = record(**changes)
        return Pairs(
            "s",
            used,
            tuple(share(row) for row in base),
            tuple(share(row) for row in tuned),
            clusters,
            corpus=PairedCounts.of(used, base, tuned, clusters),
        )

    return pairs


@pytest.fixture(name="suite")
def _suite(columns: Any, record: Any) -> Any:
    """Return a function from counts and gates to a suite; None for an unscored case."""

    def suite(base: Any, tuned: Any, *gates: Gate, **changes: Any) -> Any:
        values = [[None if row is None else share(row) for row in arm] for arm in (base, tuned)]
        return columns(
            gates,
            {"m": tuple(values)},
            (record(**changes.pop("metric", {})),),
            counts={"m": (base, tuned)},
            **changes,
        )

    return suite


GAIN = Gate(metric="m", kind="gain", margin=0.0)
TOLERANCE = Gate(metric="m", kind="tolerance", margin=0.05)


def test_levels_are_of_the_sums(pairs: Any) -> None:
    """1 of 1 and 0 of 9 are a tenth, where the mean of the scores is a half."""
    delta = Delta(pairs([(1, 1), (0, 9)], [(1, 1), (9, 9)]))

    assert (delta.base, delta.tuned) == (0.1, 1.0)
    assert delta.estimate == pytest.approx(0.9)
    assert delta.oriented.estimate == pytest.approx(0.9)


COUNTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(5, 9)), min_size=2, max_size=12
)


@given(COUNTS, st.booleans())
def test_the_estimate_is_the_difference_of_the_corpus_values(
    counts: list[tuple[int, int, int]], higher: bool
) -> None:
    from tunegate.harness.records.answers import CellKind
    from tunegate.harness.records.manifest import MetricRecord

    used = MetricRecord(
        name="m", use="own_corpus:found", needs=CellKind.GENERATE, higher_is_better=higher,
        range=(0.0, 1.0), binary=False, corpus={},
    )  # fmt: skip
    base, tuned = [(b, n) for b, _, n in counts], [(t, n) for _, t, n in counts]
    made = PairedCounts.of(used, base, tuned, None)
    sums = [sum(column) for column in zip(*counts, strict=True)]
    expected = (sums[1] - sums[0]) / sums[2] * (1 if higher else -1)

    assert made is not None
    assert made.difference.value == pytest.approx(expected)
    assert made.difference.pseudo_values.mean() == pytest.approx(expected)


def test_the_interval_is_the_jackknifes(pairs: Any) -> None:
    base, tuned = rows_of(1, 60, 0.5), rows_of(2, 60, 0.6)
    theirs = jackknife_interval(base, tuned, share, confidence=0.9, bound=1.0)
    delta = Delta(pairs(base, tuned))

    assert (delta.low, delta.high) == (theirs.low, theirs.high)
    assert delta.oriented.method == "jackknife t and Hall envelope"


def test_interval_and_test_are_one_statement(pairs: Any) -> None:
    """A margin just below the lower end is proven, one just above is not; with p at the level."""
    made = pairs(rows_of(1, 60, 0.5), rows_of(2, 60, 0.6))
    low = made.interval(0.9).low

    assert is_proven(made, low - 1e-9, 0.9)
    assert not is_proven(made, low + 1e-9, 0.9)
    assert made.test(low).p_value == pytest.approx(0.05)


def test_exchanged_arms_mirror_the_interval(pairs: Any) -> None:
    made = pairs(rows_of(1, 60, 0.5), rows_of(2, 60, 0.6))
    one, other = made.interval(0.9), made.exchanged().interval(0.9)

    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))


def test_where_lower_is_better_the_difference_turns(pairs: Any) -> None:
    """Fewer found is an improvement; base and tuned are shown as they are."""
    base, tuned = rows_of(1, 60, 0.6), rows_of(2, 60, 0.4)
    delta = Delta(pairs(base, tuned, higher_is_better=False))

    assert delta.oriented.low > 0
    assert delta.high < 0
    assert delta.estimate == delta.tuned - delta.base < 0


def test_clusters_are_left_out_whole(pairs: Any) -> None:
    base, tuned = rows_of(1, 60, 0.5), rows_of(2, 60, 0.6)
    clusters = tuple(f"g{i % 12}" for i in range(60))

    def sums(rows: Any) -> Any:
        return [np.sum(rows[i::12], axis=0) for i in range(12)]

    theirs = jackknife_interval(sums(base), sums(tuned), share, confidence=0.9, bound=1.0)
    found = pairs(base, tuned, clusters).interval(0.9)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_an_unseen_answer_may_weigh_as_much_as_six(pairs: Any) -> None:
    """Nothing changed in n cases of level 3/4: failures of six-fold weight are allowed for.

    None of n cases fails with probability (1 - q)^n, at least .05 for q = 1 - .05^(1/n). Such
    failures take q of six times the level from it, those of one case's weight q of the range.
    """
    rows = [(3.0, 4.0)] * 200
    unseen = 1 - 0.05 ** (1 / 200)
    long, plain = pairs(rows, rows, use="own_corpus:endless"), pairs(rows, rows)

    assert long.interval(0.9).low == pytest.approx(-unseen * 6 * 0.75)
    assert plain.interval(0.9).low == pytest.approx(-unseen)
    assert long.test(-unseen * 6 * 0.75).p_value == pytest.approx(0.05)


def test_an_unseen_answer_lowers_the_level_as_far(pairs: Any) -> None:
    """A certified floor allows for the same failures; above the level it is the range alone."""
    rows = [(3.0, 4.0)] * 200
    unseen = 1 - 0.05 ** (1 / 200)
    found = estimator_of(pairs(rows, rows, use="own_corpus:endless")).level(0.9)

    assert found.low == pytest.approx(0.75 - unseen * 6 * 0.75)
    assert found.high == pytest.approx(0.75 + unseen * 0.25)


def test_the_weight_of_an_answer_fades_where_many_were_seen(pairs: Any) -> None:
    base, tuned = rows_of(1, 1000, 0.3), rows_of(2, 1000, 0.3)

    long = pairs(base, tuned, use="own_corpus:endless").interval(0.9)
    assert long.low == pytest.approx(pairs(base, tuned).interval(0.9).low, rel=0.02)


def test_few_clusters_prove_nothing(pairs: Any) -> None:
    clusters = tuple(f"g{i % 9}" for i in range(60))
    found = pairs(rows_of(1, 60, 0.1), rows_of(2, 60, 0.9), clusters).interval(0.9)

    assert (found.low, found.high) == (-1.0, 1.0)


def test_a_relative_tolerance_carries_bases_own_uncertainty(pairs: Any) -> None:
    """The distance from 90 % of base: the jackknife of tuned − 0.9 · base."""
    base, tuned = rows_of(1, 60, 0.5), rows_of(2, 60, 0.5)

    def distance(sums: Any) -> float:
        return share(sums[2:]) - 0.9 * share(sums[:2])

    both = np.column_stack([base, tuned])
    nothing = np.tile([0.0, 1.0, 0.0, 1.0], (60, 1))  # its distance is 0, whoever is left out
    # With 10 % of base added, a difference can reach 1.1.
    theirs = jackknife_interval(nothing, both, distance, confidence=0.9, bound=1.1)
    found = pairs(base, tuned).relative(0.10).interval(0.9)

    assert found.estimate == pytest.approx(share(np.sum(tuned, 0)) - 0.9 * share(np.sum(base, 0)))
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_scores_of_0_and_1_are_no_successes_here(pairs: Any) -> None:
    made = pairs([(0, 1), (1, 1)] * 30, [(1, 1), (1, 1)] * 30)

    assert not made.binary
    assert made.interval(0.9).method == "jackknife t and Hall envelope"


def test_options_reach_the_corpus_function(pairs: Any) -> None:
    """They are found in the record: 3 of 4 in units of 100."""
    made = pairs([(1, 2)] * 2, [(3, 4)] * 2, use="own_corpus:in_units", range=None,
                 corpus={"unit": 100.0})  # fmt: skip

    assert (made.base_level, made.tuned_level) == (50.0, 75.0)


def test_the_gates_of_a_suite(judge: Any, suite: Any) -> None:
    """Gain, tolerance and floor hold on the corpus value; the sentence tells it."""
    base, tuned = rows_of(1, 80, 0.4), rows_of(2, 80, 0.7)
    floor = Gate(metric="m", kind="floor", margin=0.6)
    verdict = judge(suite(base, tuned, GAIN, TOLERANCE, floor))
    (result,) = verdict.suites

    assert verdict.verdict is Verdict.SHIP
    assert [gate.status for gate in result.gates] == [GateStatus.PASS] * 3
    assert result.gates[0].base == pytest.approx(share(np.sum(base, 0)), rel=1e-5)
    assert result.gates[0].tuned == pytest.approx(share(np.sum(tuned, 0)), rel=1e-5)
    assert not any(gate.advisory for gate in result.gates)


def test_a_regression_blocks(judge: Any, suite: Any) -> None:
    """A proven loss of the corpus value."""
    verdict = judge(suite(rows_of(1, 80, 0.7), rows_of(2, 80, 0.4), TOLERANCE))

    assert verdict.verdict is Verdict.BLOCK
    assert verdict.suites[0].gates[0].reason is GateReason.REGRESSED


def test_a_floor_is_held_against_the_corpus_value(judge: Any, suite: Any) -> None:
    """Mean of scores 0.5, corpus value 0.1: the floor of 0.3 is broken."""
    floor = Gate(metric="m", kind="floor", margin=0.3)
    rows = [(1, 1), (0, 9)] * 30
    (gate,) = judge(suite(rows, rows, floor)).suites[0].gates

    assert (gate.tuned, gate.reason) == (0.1, GateReason.BELOW_FLOOR)


def test_a_certified_floor_needs_the_interval(judge: Any, suite: Any) -> None:
    """The level's own jackknife interval must clear it; needed cases are told."""
    rows = rows_of(1, 60, 0.7)
    level = share(np.sum(rows, 0))
    gates = [
        Gate(metric="m", kind="floor", margin=margin, floor_mode="certified")
        for margin in (level - 0.2, level - 0.01)
    ]
    low, high = (judge(suite(rows, rows, gate)).suites[0].gates[0] for gate in gates)
    # A level is as far as half its range from the middle of it.
    theirs = jackknife_replicates(rows, share).scaled(1.0, shift=-0.5).interval(bound=0.5)

    assert (low.low, low.high) == pytest.approx((theirs.low + 0.5, theirs.high + 0.5), rel=1e-5)
    assert low.status is GateStatus.PASS
    assert high.status is GateStatus.UNDECIDED
    assert (high.needed_n or 0) > 60


def test_a_perfect_level_is_no_certainty(judge: Any, suite: Any) -> None:
    """Nothing lost in 60 cases: the ends of the range stand in for the missing spread."""
    gate = Gate(metric="m", kind="floor", margin=0.99, floor_mode="certified")
    (found,) = judge(suite([(2, 2)] * 60, [(2, 2)] * 60, gate)).suites[0].gates

    assert found.status is GateStatus.UNDECIDED
    assert 0.9 < (found.low or 0) < 0.99


def test_below_fifty_cases_the_gates_are_advisory(judge: Any, suite: Any) -> None:
    few = judge(suite(rows_of(1, 49, 0.2), rows_of(2, 49, 0.9), GAIN))
    lost = judge(suite(rows_of(1, 49, 0.9), rows_of(2, 49, 0.2), TOLERANCE))
    many = judge(suite(rows_of(1, 50, 0.2), rows_of(2, 50, 0.9), GAIN))

    assert [v.suites[0].gates[0].advisory for v in (few, lost, many)] == [True, True, False]
    assert [v.verdict for v in (few, lost, many)] == [
        Verdict.UNDECIDED, Verdict.UNDECIDED, Verdict.SHIP,
    ]  # fmt: skip
    assert few.suites[0].notes[0] == (
        "s: m: one value over all cases gates from 50 of them on; with 49 cases its gates are "
        'advisory: add cases, or set aggregate = "mean"'
    )


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [("primary", Verdict.UNDECIDED), ("all", Verdict.SHIP), ("any", Verdict.SHIP)],
)
def test_a_goal_without_a_say_ships_nothing(
    judge: Any, suite: Any, rule: str, verdict: Verdict
) -> None:
    made = suite(rows_of(1, 40, 0.2), rows_of(2, 40, 0.9), GAIN, goal_rule=rule)
    made.columns = {**made.columns, "e": ([0.0] * 30 + [1.0] * 10, [1.0] * 40)}
    other = Gate(metric="e", kind="gain", margin=0.0)
    guard = Gate(metric="e", kind="floor", margin=0.5)
    made.gates = (GAIN, other)
    alone = suite(rows_of(1, 40, 0.2), rows_of(2, 40, 0.9), GAIN, goal_rule=rule)
    alone.columns, alone.gates = made.columns, (GAIN, guard)

    assert judge(made).verdict is verdict
    assert judge(alone).verdict is Verdict.UNDECIDED


def test_severe_drops_are_of_cases_and_count(judge: Any, suite: Any) -> None:
    gate = Gate(metric="m", kind="severe_drop", margin=0.2)
    rows = [(9, 9)] * 40
    (found,) = judge(suite(rows, rows, gate)).suites[0].gates

    assert (found.status, found.advisory, found.share) == (GateStatus.PASS, False, 0.0)


def test_missing_counts_are_imputed_by_the_worst_seen(suite: Any) -> None:
    base = [(4.0, 8.0), (9.0, 9.0), (1.0, 1.0), None]
    tuned = [(1.0, 2.0), None, (1.0, 9.0), (2.0, 3.0)]
    made = suite(base, tuned, GAIN)
    record = made.record()
    cases = {case.id: case for case in made.cases()}
    values = {(row.metric, row.case, row.arm): row for row in made.rows()}
    table = ScoreTable(record, cases, values)
    (used,) = record.metrics

    # complete: cases 0 and 2: base 5/9, tuned 2/11
    assert table.pairs(used).base_level == 5 / 9
    assert table.pairs(used).tuned_level == pytest.approx(2 / 11)
    # base once more with (9, 9): 23/27; tuned once more with (1, 9): 5/23
    assert table.imputed(used).base_level == pytest.approx(23 / 27)
    assert table.imputed(used).tuned_level == pytest.approx(5 / 23)


def test_missing_counts_are_as_heavy_as_one_answer_may_be(pairs: Any) -> None:
    """An answer that may be six times as long as another is imputed with six times its counts.

    Tuned found 8 of 10, 8 of 10 and, at worst of what was seen, 1 of 10; the missing answer adds
    6 of 60: (17 + 6) / (30 + 60).
    """
    rows = [(8.0, 10.0), (8.0, 10.0), (1.0, 10.0)]
    used = pairs(rows, rows, use="own_corpus:endless").metric

    counts = PairedCounts.of(used, [*rows, (5.0, 10.0)], [*rows, None], None)

    assert counts is not None
    assert counts.tuned.replicates.value == pytest.approx(23 / 90)


def test_an_arm_without_any_score_is_an_error(judge: Any, suite: Any) -> None:
    verdict = judge(suite(rows_of(1, 60, 0.5), [None] * 60, GAIN))

    assert verdict.verdict is Verdict.ERROR


def test_needed_cases_follow_the_jackknife(judge: Any, suite: Any) -> None:
    """A gain of two errors: 3.17²/2² as many cases, for 80 % power at a fifth of 5 %."""
    base, tuned = rows_of(1, 60, 0.5), rows_of(2, 60, 0.55)
    expected = jackknife_interval(base, tuned, share).width / 1.6711
    hoped = GAIN.model_copy(update={"expected_gain": expected})
    (gate,) = judge(suite(base, tuned, hoped)).suites[0].gates
    found = jackknife_interval(base, tuned, share)
    error = found.width / 2 / 1.6711  # t of 59 degrees at .95

    assert gate.status is GateStatus.UNDECIDED
    # (2.326 + 0.842)² · n · (error / difference)²
    needed = 10.04 * 60 * (error / expected) ** 2
    assert gate.needed_n == pytest.approx(needed, rel=0.05)


@pytest.mark.parametrize("groups", [60, 12])
def test_a_plan_from_a_run_knows_the_spread(pairs: Any, groups: int) -> None:
    """σ is what makes the error of n cases: the jackknife's, times √n; clusters are within it."""
    clusters = tuple(f"g{i % groups}" for i in range(60)) if groups < 60 else None
    made = pairs(rows_of(1, 60, 0.5), rows_of(2, 60, 0.6), clusters)
    (spread,) = pilot_spread(made, GAIN)

    # The jackknife's error is that of the mean of the pseudo-values (Tukey 1958).
    error = stats.sem(made.corpus.difference.pseudo_values)
    assert (spread.binary, spread.deff) == (False, 1.0)
    assert spread.value == pytest.approx(error * 60**0.5)


def test_a_plan_from_a_run_without_spread_knows_nothing(pairs: Any) -> None:
    assert pilot_spread(pairs([(1, 2)] * 60, [(1, 2)] * 60), GAIN) == ()


def test_identical_arms_of_a_bounded_metric(judge: Any, suite: Any) -> None:
    """No difference seen in 200 cases proves a tolerance, not an absence."""
    rows = rows_of(1, 200, 0.5)
    (gate,) = judge(suite(rows, rows, TOLERANCE)).suites[0].gates

    assert gate.status is GateStatus.PASS
    assert gate.low is not None
    assert -0.05 < gate.low < 0


def test_a_large_suite_says_that_it_is_judged_once(judge: Any, suite: Any) -> None:
    """From 100 cases on other suites may end early."""
    rows = rows_of(1, 100, 0.5)
    notes = judge(suite(rows, rows, TOLERANCE)).suites[0].remarks

    assert "s: m: one value over all cases is judged once, so the suite cannot end early" in (notes)


def test_the_verdict_is_a_function_of_the_records(judge: Any, suite: Any) -> None:
    made = suite(rows_of(1, 80, 0.4), rows_of(2, 80, 0.7), GAIN, TOLERANCE)

    assert judge(made) == judge(made)


def test_counts_of_different_things_are_refused(record: Any) -> None:
    with pytest.raises(UsageError, match="'m' counts 2 things on one case and 3 on another"):
        PairedCounts.of(record(), [(1, 2), (1, 2, 3)], [(1, 2), (1, 2)], None)


def test_scores_without_counts_are_refused(judge: Any, columns: Any, record: Any) -> None:
    made = columns([GAIN], {"m": ([0.5] * 60, [0.5] * 60)}, (record(),))

    with pytest.raises(UsageError, match="s: 'm' has a score without counts on 'c000'"):
        judge(made)


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (1.5, "it returned 1.5"),
        (float("nan"), "it returned nan"),
        (None, "TypeError: "),
    ],
)
def test_a_corpus_function_that_fails_is_named(
    pairs: Any, own: ModuleType, monkeypatch: pytest.MonkeyPatch, result: Any, why: str
) -> None:
    """One line with the sums; never a verdict on it."""

    @metric(range=(0.0, 1.0), corpus=lambda sums: result)
    def odd(case: Case, completion: Completion) -> Score:
        raise NotImplementedError

    monkeypatch.setattr(own, "odd", odd, raising=False)
    _load("odd")
    with pytest.raises(UsageError) as caught:
        Delta(pairs([(1, 2)] * 2, [(1, 2)] * 2, use="own_corpus:odd")).tuned  # noqa: B018  # the point
    assert f"metric 'm': its corpus function fails on the sums (2, 4): {why}" in str(caught.value)


def test_a_metric_that_lost_its_corpus_function_is_named(pairs: Any, own: ModuleType) -> None:
    vars(own)["plain"] = lambda case, completion: 1.0
    _load("plain")

    with pytest.raises(UnknownName, match="'own_corpus:plain' has no corpus function"):
        pairs([(1, 2)], [(1, 2)], use="own_corpus:plain")


def test_columns_of_scores_are_no_counts(record: Any) -> None:
    with pytest.raises(ValueError, match="corpus metric"):
        compare_scores([0.1, 0.2], [0.2, 0.3], metric=record())


def test_a_gate_on_a_tag_sums_its_own_cases(suite: Any, judge: Any) -> None:
    """60 cases of 1 of 2 against 2 of 2; the other 60, all wrong in both, do not count."""
    base, tuned = [(1, 2)] * 60 + [(0, 8)] * 60, [(2, 2)] * 60 + [(0, 8)] * 60
    gate = GAIN.model_copy(update={"tag": "a"})
    tags = [("a",) if i < 60 else ("b",) for i in range(120)]
    found = judge(suite(base, tuned, gate, tags=tags)).suites[0]
    few = judge(suite(base, tuned, gate, tags=[("a",)] * 20 + [("b",)] * 100)).suites[0]

    assert (found.gates[0].base, found.gates[0].tuned, found.gates[0].n) == (0.5, 1.0, 60)
    assert not found.gates[0].advisory
    assert few.gates[0].advisory
    assert few.notes[0].startswith("s: m (tag a)")


@pytest.mark.parametrize(("rare", "proven"), [(19, False), (20, True)])
def test_a_rare_class_must_be_seen_often_enough(
    record_factory: Any, rare: int, proven: bool
) -> None:
    """No answer of 400 changed, and all are right: 3 classes, one with so many cases.

    A case of it weighs 400/(3 · rare): ln(20) / -ln(1 - .05 · 3 · rare / 400) is 419 for 19 cases
    and 398 for 20. Were all cases alike, 59 would do.
    """
    others = 400 - rare
    rows = [(1.0, 0, 0, 0, 0, 0, 0, 0, 0)] * (others // 2)
    rows += [(0, 0, 0, 1.0, 0, 0, 0, 0, 0)] * (others - others // 2)
    rows += [(0, 0, 0, 0, 0, 0, 1.0, 0, 0)] * rare
    record = record_factory.metric("classification", binary=False, corpus={})
    counts = PairedCounts.of(record, rows, rows, None)
    assert counts is not None
    pairs = Pairs("s", record, (1.0,) * 400, (1.0,) * 400, corpus=counts)

    assert counts.heaviest == pytest.approx(400 / 3 / rare)
    assert is_proven(pairs, -0.05, 0.90) is proven
