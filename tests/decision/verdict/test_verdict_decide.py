"""From gates to the verdict of a suite and of a run: the decision table."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from tunegate.harness.contracts.further_arm import BASE_AGAIN
from tunegate.harness.decision.answer_facts.answer_counts import count_answers
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.decision.verdict.decide import decide_run, failed_verdict, not_comparable
from tunegate.harness.records.answers import Cell, Completion, StoredAnswer
from tunegate.harness.records.files import record_json
from tunegate.harness.records.gate_results import GateReason, GateStatus
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.record import six_digits
from tunegate.harness.records.verdict import Verdict

FLOOR, CEILING, GAIN, TOLERANCE = "floor", "ceiling", "gain", "tolerance"
SHIP, HOLD, UNDECIDED, BLOCK, NOT_COMPARABLE, ERROR = Verdict

# (wins, losses, both right, neither) of a 0/1 metric, and what a gain of 0.02 makes of it
BETTER = (30, 0, 50, 20)
WORSE = (0, 30, 50, 20)
SAME = (5, 5, 990, 0)
THIN = (1, 0, 9, 0)


def gain(metric: str = "m", margin: float = 0.02, **more: Any) -> Gate:
    """Return a goal."""
    return Gate(metric=metric, kind=GAIN, margin=margin, **more)


def tolerance(metric: str = "m", margin: float | str = 0.05) -> Gate:
    """Return a guardrail."""
    return Gate(metric=metric, kind=TOLERANCE, margin=margin)


def floor(metric: str = "m", margin: float = 0.5, **more: Any) -> Gate:
    """Return a floor."""
    return Gate(metric=metric, kind=FLOOR, margin=margin, **more)


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [(BETTER, SHIP), (WORSE, BLOCK), (SAME, HOLD), (THIN, UNDECIDED)],
)
def test_one_goal(
    judge: Any, columns: Any, record_factory: Any, scores: tuple[int, ...], verdict: Verdict
) -> None:
    """A goal ships, blocks, holds (its expectation is ruled out) or stays undecided."""
    found = judge(columns([gain(expected_gain=0.05)], {"m": record_factory.pairs(*scores)}))

    assert found.verdict is verdict
    assert found.suites[0].verdict is verdict
    assert found.suites[0].has_goal


def test_without_an_expectation_nothing_holds(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    assert judge(columns([gain()], {"m": record_factory.pairs(*SAME)})).verdict is UNDECIDED


def test_every_floor_and_guardrail_must_hold(judge: Any, columns: Any, record_factory: Any) -> None:
    glory = {"m": record_factory.pairs(*BETTER)}
    thin = ([1.0] * 100, [1.0] * 99 + [0.0])  # one loss in 100: 0.05 is not yet proven

    assert judge(columns([gain(), floor(margin=0.9)], glory)).verdict is BLOCK
    assert judge(columns([gain(), tolerance("g", 0.02)], {**glory, "g": thin})).verdict is UNDECIDED
    assert (
        judge(
            columns([gain(), tolerance("g")], {**glory, "g": record_factory.pairs(*WORSE)})
        ).verdict
        is BLOCK
    )
    both = [gain(), tolerance("g", 0.02), tolerance("h")]
    found = judge(columns(both, {**glory, "g": thin, "h": record_factory.pairs(0, 0, 100, 0)}))
    assert [g.status.value for g in found.suites[0].gates] == ["pass", "undecided", "pass"]
    assert found.verdict is UNDECIDED


def test_one_metric_at_its_best_is_a_remark_where_another_tells_the_arms_apart(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    gates = [tolerance(), tolerance("other", 0.5)]
    scores = {"m": record_factory.pairs(0, 0, 100, 0), "other": record_factory.pairs(5, 5, 80, 10)}
    found = judge(columns(gates, scores)).suites[0]

    assert any("s: m: both arms have the best score" in text for text in found.remarks)
    assert not any("cannot separate them" in text for text in found.notes)


def test_a_regression_check_ships_without_a_goal(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    found = judge(columns([tolerance()], {"m": record_factory.pairs(0, 0, 100, 0)}))

    assert found.verdict is SHIP
    assert not found.suites[0].has_goal
    assert found.sentence == (
        "no worse: s: m stayed at 100 %, within the 5 points allowed; the gate holds"
    )
    assert found.suites[0].notes == (
        "s: m: both arms have the best score on all 100 cases, so the cases cannot separate them",
    )


@pytest.mark.parametrize(
    ("value", "range_", "higher", "end"),
    [
        (0.0, (0.0, 1.0), True, "worst"),
        (0.0, (0.0, 1.0), False, "best"),
        (1.0, None, True, "best"),
        (1.0, (0.0, 1.0), False, "worst"),
        (0.4, (0.0, 1.0), True, None),
        (7.0, (0.0, 7.0), True, "best"),
        (7.0, None, True, None),
    ],
)
def test_scores_at_one_end_of_the_range_are_noted(
    judge: Any,
    columns: Any,
    record_factory: Any,
    value: float,
    range_: Any,
    higher: bool,
    end: str | None,
) -> None:
    metric = record_factory.metric(binary=False, range=range_, higher_is_better=higher)
    gates = [tolerance(margin=0.9), floor(margin=0.0)]
    same = [value] * 250

    result = judge(columns(gates, {"m": (same, same)}, [metric])).suites[0]
    other = judge(columns(gates, {"m": (same, [*same[1:], 0.5])}, [metric])).suites[0]
    notes = result.notes
    differing = other.notes + other.remarks

    told = [note for note in notes if "cannot separate them" in note]
    assert told == (
        [
            f"s: m: both arms have the {end} score on all 250 cases, so the cases cannot "
            "separate them"
        ]
        if end
        else []
    )
    assert not any("cannot separate them" in note for note in differing)


@pytest.mark.parametrize(
    ("rule", "first", "second", "verdict"),
    [
        ("primary", BETTER, SAME, SHIP),
        ("primary", SAME, BETTER, HOLD),
        ("all", BETTER, BETTER, SHIP),
        ("all", BETTER, SAME, HOLD),
        ("all", BETTER, THIN, UNDECIDED),
        ("any", SAME, BETTER, SHIP),
        ("any", SAME, SAME, HOLD),
        ("any", SAME, THIN, UNDECIDED),
        ("all", BETTER, WORSE, BLOCK),
        ("any", BETTER, WORSE, BLOCK),
    ],
)
def test_goal_rules(
    judge: Any,
    columns: Any,
    record_factory: Any,
    rule: str,
    first: tuple[int, ...],
    second: tuple[int, ...],
    verdict: Verdict,
) -> None:
    """The first goal, all of them or any decide; what regressed blocks under every rule."""
    gates = [gain("a", expected_gain=0.05), gain("b", expected_gain=0.05)]
    n = max(sum(first), sum(second))
    scores = {
        name: [[*column, *[1.0] * (n - sum(counts))] for column in record_factory.pairs(*counts)]
        for name, counts in (("a", first), ("b", second))
        if sum(counts) in (n, 10, 100)
    }
    # THIN stays thin only if its other cases are not asked
    for name, counts in (("a", first), ("b", second)):
        if counts == THIN:
            scores[name] = list(record_factory.pairs(*counts))

    assert judge(columns(gates, scores, goal_rule=rule)).verdict is verdict


def test_any_corrects_for_looking_twice(judge: Any, columns: Any, record_factory: Any) -> None:
    """Four wins of four have mid-p 1/32 = .031; twice that is above .05, so either alone is not.

    Both gates pass by themselves, none survives Holm: that is undecided, not a reason to hold.
    """
    scores = {"a": record_factory.pairs(4, 0, 96, 0), "b": record_factory.pairs(0, 0, 100, 0)}
    gates = [gain("a", 0.0, expected_gain=0.3), gain("b", 0.0, expected_gain=0.3)]
    one = judge(columns(gates, scores, goal_rule="any"))

    assert one.suites[0].gates[0].status is GateStatus.PASS
    assert one.suites[0].gates[1].reason is GateReason.NO_WORTHWHILE_GAIN
    assert one.verdict is UNDECIDED
    assert judge(columns(gates, scores, goal_rule="primary")).verdict is SHIP


def test_a_goal_that_holm_takes_away_says_so(judge: Any, columns: Any, record_factory: Any) -> None:
    """Both have p = .031, and Holm makes .062 of it: where all gates hold, it is the headline."""
    scores = {"a": record_factory.pairs(4, 0, 96, 0), "b": record_factory.pairs(4, 0, 96, 0)}
    gates = [gain("a", 0.0), gain("b", 0.0)]
    one = judge(columns(gates, scores, goal_rule="any"))

    assert one.verdict is UNDECIDED
    assert "Holm" in one.sentence
    assert "p = 0.031 to 0.062, above 0.05" in one.suites[0].gates[0].sentence
    assert "is proven, but only by itself" in one.suites[0].gates[0].sentence
    assert sum("Holm" in note for note in one.suites[0].notes) == 2
    shipped = judge(
        columns(gates, scores | {"a": record_factory.pairs(9, 0, 91, 0)}, goal_rule="any")
    )
    assert shipped.verdict is SHIP
    assert not any("Holm" in note for note in shipped.suites[0].notes)


def test_regressions_are_adjusted_over_the_whole_run(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    """Five losses of five have p = 1/64 = .0156: one metric regressed, four metrics have not.

    Holm multiplies the smallest of four by 4: .0625. The other suite's metrics count as well.
    """
    lost, even = record_factory.pairs(0, 5, 95, 0), record_factory.pairs(0, 0, 100, 0)
    alone = judge(columns([gain("a")], {"a": lost}))
    crowd = judge(
        columns([gain("a"), tolerance("b"), tolerance("c")], {"a": lost, "b": even, "c": even}),
        columns([tolerance("d")], {"d": even}, name="t"),
    )

    assert alone.verdict is BLOCK
    assert crowd.suites[0].gates[0].reason is GateReason.UNDERPOWERED
    assert crowd.verdict is UNDECIDED


def test_floors_are_no_part_of_the_adjustment(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    lost, even = record_factory.pairs(0, 5, 95, 0), record_factory.pairs(0, 0, 100, 0)
    gates = [gain("a"), *(floor(name) for name in "bcd")]
    found = judge(columns(gates, {"a": lost, **dict.fromkeys("bcd", even)}))

    assert found.verdict is BLOCK


def test_the_worst_suite_is_the_runs_verdict(judge: Any, columns: Any, record_factory: Any) -> None:
    rule = [gain(expected_gain=0.05)]
    suites = {
        name: columns(rule, {"m": record_factory.pairs(*scores)}, name=name)
        for name, scores in (("good", BETTER), ("even", SAME), ("thin", THIN), ("bad", WORSE))
    }
    order = [("good", SHIP), ("even", HOLD), ("thin", UNDECIDED), ("bad", BLOCK)]

    for count in range(1, 5):
        found = judge(*(suites[name] for name, _ in order[:count]))
        worst, verdict = order[count - 1]
        assert found.verdict is verdict
        assert found.sentence.startswith(f"{worst}: ")


def test_a_suite_without_gates_has_no_say(judge: Any, columns: Any, record_factory: Any) -> None:
    """It is shown, with a note; a run of nothing else is undecided."""
    bare = columns([], {"m": record_factory.pairs(*WORSE)}, name="bare")
    good = columns([gain()], {"m": record_factory.pairs(*BETTER)})

    assert judge(bare, good).verdict is SHIP
    alone = judge(bare)
    assert alone.verdict is UNDECIDED
    assert alone.sentence == "no gate was judged"
    assert alone.suites[0].notes[0] == "bare: no gates, so it does not count in the verdict"


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [(BETTER, UNDECIDED), (SAME, UNDECIDED), (WORSE, BLOCK), (THIN, UNDECIDED)],
)
def test_a_filtered_run_ships_and_holds_nothing(
    judge: Any, columns: Any, record_factory: Any, scores: tuple[int, ...], verdict: Verdict
) -> None:
    """Judged in part: UNDECIDED at best, with the reason in the sentence; a loss stays a loss."""
    suite = columns([gain(expected_gain=0.05)], {"m": record_factory.pairs(*scores)})
    found = judge(suite, filtered=("only the first 5 cases of each suite",))

    assert found.verdict is verdict
    if scores == BETTER:
        assert found.sentence == "s: judged in part only: only the first 5 cases of each suite"


def test_too_much_unscored_is_an_error(judge: Any, columns: Any, record_factory: Any) -> None:
    """6 of 100 unscored in one arm are more than 5 %: ERROR, not BLOCK and never SHIP."""
    base, tuned = record_factory.pairs(0, 30, 70, 0)
    tuned[:6] = [None] * 6
    found = judge(columns([gain()], {"m": (base, tuned)}))

    assert found.verdict is ERROR
    assert found.suites[0].n_unscored == {"base": 0, "tuned": 6}
    assert found.suites[0].unscored_reasons == {"the judge timed out": 6}
    assert found.sentence == (
        "s: m: 6 of 100 cases of tuned are unscored, more than the 5 % that the suite allows "
        "(the judge timed out)"
    )


@pytest.mark.parametrize(
    ("allowed", "unscored", "verdict"),
    [(0.29, 29, UNDECIDED), (0.29, 30, ERROR), (0.07, 7, UNDECIDED), (0.0, 1, ERROR)],
)
def test_the_budget_is_exact(
    judge: Any, columns: Any, record_factory: Any, allowed: float, unscored: int, verdict: Verdict
) -> None:
    """29 of 100 are 29 %, although 0.29 * 100 is 28.999999999999996."""
    base, tuned = record_factory.pairs(0, 0, 100, 0)
    tuned[:unscored] = [None] * unscored
    found = judge(columns([gain()], {"m": (base, tuned)}, max_unscored=allowed))

    assert found.verdict is verdict


def test_shipping_survives_a_few_unscored_cases(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    """30 wins in 100 stay a gain even if two more cases are losses."""
    base, tuned = record_factory.pairs(*BETTER)
    base[50], tuned[60] = None, None
    found = judge(columns([gain()], {"m": (base, tuned)}))

    assert found.verdict is SHIP
    assert found.suites[0].worst_case is SHIP
    assert (100, 98) == (found.suites[0].n_planned, found.suites[0].n_scored)
    assert found.suites[0].gates[0].n == 98


def test_shipping_must_survive_the_worst_case(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    """Four wins prove a gain, but not with two unscored cases that may both be losses.

    Complete pairs: mid-p(4, 0) = 1/32 = .031. Worst case: mid-p(4, 2) = (1 + 6 + 15/2)/64 = .23.
    """
    base, tuned = record_factory.pairs(4, 0, 96, 0)
    tuned[-2:] = [None, None]
    found = judge(columns([gain(margin=0.0)], {"m": (base, tuned)}))

    assert found.suites[0].gates[0].status is GateStatus.PASS
    assert found.suites[0].worst_case is UNDECIDED
    assert found.verdict is UNDECIDED
    assert found.sentence == (
        "s: the gates hold on the scored cases, but not if the 2 unscored ones went wrong"
    )


def test_a_floor_must_survive_the_worst_case(judge: Any, columns: Any, record_factory: Any) -> None:
    """90 of 98 scored reach 0.9; with two more failures it is 90 of 100, which still does.

    91 of 99 would do, 89 of 98 (0.908) would not survive: 89 of 100 is below 0.9.
    """
    for right, verdict in ((90, SHIP), (89, UNDECIDED)):
        tuned = [1.0] * right + [0.0] * (98 - right) + [None, None]
        found = judge(columns([floor(margin=0.9)], {"m": ([1.0] * 100, tuned)}))
        assert found.verdict is verdict


def test_a_regression_must_survive_the_best_case(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    """Four losses in 96 prove a regression, but not if the four unscored cases are wins of tuned.

    Complete pairs: mid-p(0, 4) = 1/32 = .031. Best case: 4 wins and 4 losses. Missing on either
    side: a missing score of base may have been a failure as well.
    """
    base, tuned = record_factory.pairs(0, 4, 46, 50)
    for column, at in ((tuned, slice(96, 100)), (base, slice(4, 8))):
        holes = list(column)
        holes[at] = [None] * 4
        pair = (base, holes) if column is tuned else (holes, tuned)
        found = judge(columns([tolerance(margin=0.01)], {"m": pair}))

        (gate,) = found.suites[0].gates
        assert found.verdict is UNDECIDED
        assert (gate.status, gate.reason) == (GateStatus.UNDECIDED, GateReason.UNSCORED)
        assert gate.sentence.endswith(
            "that fails the tolerance of 1 point on the scored cases, but not if the 4 unscored "
            "ones went well"
        )


def test_a_clear_regression_survives_the_best_case(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    """30 losses in 96 stay a regression with four more wins."""
    base, tuned = record_factory.pairs(0, 30, 30, 40)
    tuned[96:] = [None] * 4
    found = judge(columns([tolerance(margin=0.01)], {"m": (base, tuned)}))

    assert found.verdict is BLOCK
    assert found.suites[0].gates[0].reason is GateReason.REGRESSED


def test_a_broken_floor_must_survive_the_best_case(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    """87 of 98 (0.888) may have been 89 of 100, below 0.9; 88 of 98 may have been 90."""
    for right, verdict in ((87, BLOCK), (88, UNDECIDED)):
        tuned = [1.0] * right + [0.0] * (98 - right) + [None, None]
        found = judge(columns([floor(margin=0.9)], {"m": ([1.0] * 100, tuned)}))
        assert found.verdict is verdict


def test_a_failing_case_breaks_a_zero_tolerance_floor_whatever_is_missing(
    judge: Any, columns: Any
) -> None:
    gate = floor(margin=1.0).model_copy(update={"floor_mode": "zero_tolerance"})
    tuned = [0.0] + [1.0] * 97 + [None, None]

    assert judge(columns([gate], {"m": ([1.0] * 100, tuned)})).verdict is BLOCK


def test_holding_must_survive_the_best_case(judge: Any, columns: Any, record_factory: Any) -> None:
    """No change on 97 of 100 rules a gain of 0.04 out; three unscored wins would not.

    Tango without discordance: ±z²/(n + z²) = 0.027 with 97; with 3 wins of 100 up to 0.073.
    """
    gate = gain(margin=0.0).model_copy(update={"expected_gain": 0.04})
    base, tuned = record_factory.pairs(0, 0, 50, 50)
    whole = judge(columns([gate], {"m": (base, tuned)}))
    tuned[-3:] = [None] * 3
    found = judge(columns([gate], {"m": (base, tuned)}))

    assert (whole.verdict, found.verdict) == (HOLD, UNDECIDED)
    assert "not if the 3 unscored ones went well" in found.suites[0].gates[0].sentence


@pytest.mark.parametrize(("kind", "margin"), [("ratio", 1.2), ("severe_drop", 0.05)])
def test_every_kind_of_gate_must_survive_the_best_case(
    judge: Any, columns: Any, record_factory: Any, kind: str, margin: float
) -> None:
    """A few cases that are far worse break a bound; as many unscored ones may be as much better.

    Ratio: 4 of 96 cases are 200 times as long, e^(4 ln 200 / 96) = 1.25 with little spread beside.
    Severe drops: 10 of 95 lose all, Clopper-Pearson's lower limit .058; 10 of 100: .055.
    """
    if kind == "ratio":
        options = {"bound": "at_most"}
        base = [1.0] * 100
        tuned = [1.5 + 0.01 * (i % 3) for i in range(96)] + [None] * 4
        metric = record_factory.metric(binary=False, range=(0.0, 1e9), higher_is_better=False)
    else:
        options = {}
        base = [0.9] * 100
        tuned = [0.1] * 10 + [0.9] * 85 + [None] * 5
        metric = record_factory.metric(binary=False)
    gate = Gate(metric="m", kind=kind, margin=margin, options=options)
    complete = [(b, t) for b, t in zip(base, tuned, strict=True) if t is not None]
    pair = tuple(zip(*complete, strict=True))

    alone = judge(columns([gate], {"m": pair}, [metric]))
    found = judge(columns([gate], {"m": (base, tuned)}, [metric]))

    assert alone.verdict is BLOCK
    assert found.verdict is (UNDECIDED if kind == "ratio" else BLOCK)


def test_a_metric_without_bounds_is_imputed_by_its_best_difference(
    columns: Any, record_factory: Any
) -> None:
    """Beside base's -9 a missing score becomes -9 plus the best difference seen, -0.5."""
    metric = record_factory.metric(binary=False, range=None)
    suite = columns(
        [tolerance(margin=0.1)], {"m": ([-2.0, -1.0, -9.0], [-3.0, -1.5, None])}, [metric]
    )
    rows = {(r.metric, r.case, r.arm): r for r in suite.rows()}
    table = ScoreTable(suite.record(), {c.id: c for c in suite.cases()}, rows)

    assert table.imputed(metric, best=True).differences == (-1.0, -0.5, -0.5)
    assert table.imputed(metric, level=True, best=True).tuned == (-3.0, -1.5, -1.5)


def test_an_unbounded_metric_is_imputed_by_its_worst_difference(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    """A missing score beside base's -9 becomes -9 plus the worst difference seen, -1.

    Imputing tuned's worst level instead (-3) would turn the missing case into a gain of 6.
    """
    metric = record_factory.metric(binary=False, range=None)
    suite = columns(
        [tolerance(margin=0.1)], {"m": ([-2.0, -1.0, -9.0], [-3.0, -1.5, None])}, [metric]
    )
    rows = {(r.metric, r.case, r.arm): r for r in suite.rows()}
    table = ScoreTable(suite.record(), {c.id: c for c in suite.cases()}, rows)

    assert table.pairs(metric).differences == (-1.0, -0.5)
    assert table.imputed(metric).differences == (-1.0, -0.5, -1.0)
    assert table.imputed(metric, level=True).tuned == (-3.0, -1.5, -3.0)


def drifting(n: int, missing: int, arm: str = "tuned") -> tuple[list[Any], list[Any]]:
    """Return scores around 10 that are equal but for noise; the last `missing` of an arm are None.

    What is missing may have been anything: where tuned's were 0, its mean fell by 10 · missing / n.
    """
    base: list[Any] = [10 + (i % 7) * 0.1 for i in range(n)]
    tuned: list[Any] = [score + (0.01, -0.01)[i % 2] for i, score in enumerate(base)]
    (tuned if arm == "tuned" else base)[n - missing :] = [None] * missing
    return base, tuned


@pytest.mark.parametrize("arm", ["tuned", "base"])
@pytest.mark.parametrize(
    "gate",
    [
        tolerance(margin=0.5),
        gain(margin=-0.5),
        floor(margin=9.0),
        Gate(metric="m", kind="ratio", margin=0.5, options={"bound": "at_least"}),
    ],
    ids=["tolerance", "gain", "floor", "ratio"],
)
def test_an_unscored_case_of_a_metric_without_range_never_ships(
    judge: Any, columns: Any, record_factory: Any, gate: Gate, arm: str
) -> None:
    """One missing score of 400, within max_unscored: nothing bounds how bad the answer was."""
    metric = record_factory.metric(binary=False, range=None)
    whole = judge(columns([gate], {"m": drifting(400, 0)}, [metric]))
    short = judge(columns([gate], {"m": drifting(400, 1, arm)}, [metric]))

    assert whole.verdict is SHIP
    assert (short.verdict, short.suites[0].worst_case) == (UNDECIDED, UNDECIDED)
    assert "m has no range" in short.sentence
    assert "set range = [least, largest]" in short.suites[0].notes[0]


def test_a_range_bounds_what_an_unscored_case_lost(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    """The same missing score with a range of 0 to 11 costs at most 11/400, which 0.5 tolerates."""
    metric = record_factory.metric(binary=False, range=(0.0, 11.0))

    found = judge(columns([tolerance(margin=0.5)], {"m": drifting(400, 1)}, [metric]))

    assert found.verdict is SHIP


def test_missing_rows_are_unscored_cases(judge: Any, columns: Any, record_factory: Any) -> None:
    """A planned case whose scores are gone counts as unscored; it does not vanish."""
    suite = columns([gain()], {"m": record_factory.pairs(*BETTER)})
    rows = [row for row in suite.rows() if row.case not in ("c003", "c004")]
    rows = [row for row in rows if (row.case, row.arm) != ("c005", "tuned")]
    plan = record_factory.cells(suite)
    found = decide_run(record_factory.manifest([suite], plan=plan), {"s": suite.cases()}, rows)

    assert found.suites[0].n_unscored == {"base": 2, "tuned": 3}
    assert found.suites[0].unscored_reasons == {"there is no completion": 5}
    # without the plan the half pair is still seen
    unplanned = decide_run(record_factory.manifest([suite]), {"s": suite.cases()}, rows)
    assert unplanned.suites[0].n_unscored == {"base": 0, "tuned": 1}


def test_more_than_two_percent_unscored_is_noted(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    """3 of 100 are worth a warning and 2 are not."""
    for count, noted in ((2, False), (3, True)):
        base, tuned = record_factory.pairs(*BETTER)
        tuned[-count:] = [None] * count
        notes = judge(columns([gain()], {"m": (base, tuned)})).suites[0].notes
        assert (f"s: {count} of 100 cases of tuned are unscored" in notes) is noted


def test_unscored_cases_of_an_ungated_metric_do_not_matter(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    scores = {"m": record_factory.pairs(*BETTER), "extra": ([None] * 100, [None] * 100)}
    found = judge(columns([gain()], scores))

    assert found.verdict is SHIP
    assert found.suites[0].n_scored == 100


def test_clusters_come_from_the_cases(judge: Any, columns: Any, record_factory: Any) -> None:
    """Nine clusters leave the verdict open, 12 decide with a note, 20 without one."""
    for count, verdict, noted in ((9, UNDECIDED, False), (12, SHIP, True), (20, SHIP, False)):
        labels = [f"p{i % count}" for i in range(240)]
        suite = columns([gain()], {"m": record_factory.pairs(200, 0, 40, 0)}, clusters=labels)
        found = judge(suite)
        assert found.verdict is verdict
        assert any("clusters" in note for note in found.suites[0].notes) is noted


def test_a_large_cluster_is_named(judge: Any, columns: Any, record_factory: Any) -> None:
    """A cluster of 15 of 240 cases among clusters of two is named, and neither of 40 nor of two.

    The limits allow for another one of 40, which holds more than a tenth of the cases. Beside 15,
    the tenth of 24 cases is in 1 + 9/2 clusters: 4.4 cases each.
    """
    for large, named in ((40, False), (15, True), (2, False)):
        rest = 240 - large
        labels = ["large"] * large + [f"k{i // 2}" for i in range(rest)]
        suite = columns([tolerance()], {"m": record_factory.pairs(200, 0, 40, 0)}, clusters=labels)
        notes = judge(suite).suites[0].notes
        assert any(f"one cluster holds {large} of 240 cases" in note for note in notes) is named


def test_equal_continuous_scores_are_noted(judge: Any, columns: Any, record_factory: Any) -> None:
    """A fine-tune that changes nothing is pointed out where scores are not just 0 and 1."""
    metric = record_factory.metric(binary=False)
    found = judge(columns([tolerance()], {"m": ([0.5] * 60, [0.5] * 60)}, [metric]))

    assert "s: m: both arms have the same score on 60 of 60 cases" in found.suites[0].notes


def test_skewed_differences_are_noted(judge: Any, columns: Any, record_factory: Any) -> None:
    """One case in 30 that loses everything makes the interval less dependable."""
    metric = record_factory.metric(binary=False)
    scores = ([0.9] * 30, [0.9 + 0.001 * i for i in range(29)] + [0.0])
    found = judge(columns([tolerance()], {"m": scores}, [metric]))

    assert any("strongly skewed" in note for note in found.suites[0].notes)


def test_skewness_is_noted_on_the_scale_of_the_gate(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    """One answer of 4,000 words skews the differences of lengths, and not their log-ratios."""
    metric = record_factory.metric(binary=False, range=None)
    base = [10.0] * 59 + [4000.0]
    tuned = [b * (1 + 0.1 * (i % 3 - 1)) for i, b in enumerate(base)]
    bound = Gate(metric="m", kind="ratio", margin=1.3, options={"bound": "at_most"})
    by_ratio = judge(columns([bound], {"m": (base, tuned)}, [metric]))
    by_mean = judge(columns([tolerance(margin=100.0)], {"m": (base, tuned)}, [metric]))

    assert not any("strongly skewed" in note for note in by_ratio.suites[0].notes)
    assert any("strongly skewed" in note for note in by_mean.suites[0].notes)


def test_the_same_records_give_the_same_bytes(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    noise = random.Random(1)
    base = [noise.random() for _ in range(60)]
    tuned = [min(1.0, b + noise.random() / 5) for b in base]
    metric = record_factory.metric(binary=False)
    suite = columns([gain(), tolerance(margin="2%"), floor()], {"m": (base, tuned)}, [metric])
    rows = suite.rows()
    texts = set()
    for _ in range(3):
        noise.shuffle(rows)
        verdict = decide_run(record_factory.manifest([suite]), {"s": suite.cases()}, rows)
        texts.add(record_json(verdict))

    assert len(texts) == 1


def test_numbers_have_six_digits(judge: Any, columns: Any, record_factory: Any) -> None:
    """1/3 is written 0.333333, tiny and huge numbers keep six digits, and there is no -0."""
    suite = columns([gain()], {"m": ([0.0, 0.0, 0.0], [1.0, 0.0, 0.0])})
    written = json.loads(record_json(judge(suite)))["suites"][0]["gates"][0]

    assert written["tuned"] == 0.333333
    assert [six_digits(x) for x in (1.23456789e-9, 1.23456789e99, None)] == [
        1.23457e-9, 1.23457e99, None,
    ]  # fmt: skip
    assert str(six_digits(-0.0)) == "0.0"


def test_scores_of_other_suites_are_ignored(judge: Any, columns: Any, record_factory: Any) -> None:
    suite = columns([gain()], {"m": record_factory.pairs(*BETTER)})
    other = columns([gain()], {"m": record_factory.pairs(*WORSE)}, name="other")
    rows = [*other.rows(), *suite.rows()]

    assert decide_run(record_factory.manifest([suite]), {"s": suite.cases()}, rows).verdict is SHIP


@pytest.mark.parametrize(
    ("make", "verdict"), [(not_comparable, NOT_COMPARABLE), (failed_verdict, ERROR)]
)
def test_runs_that_were_not_judged_say_why(
    validator: Any, record_factory: Any, make: Any, verdict: Verdict
) -> None:
    found = make(record_factory.manifest([]), "the adapter is not active")

    validator.validate(json.loads(record_json(found)))
    assert (verdict, "the adapter is not active", ()) == (
        found.verdict, found.sentence, found.suites,
    )  # fmt: skip


def test_exit_codes_and_their_order() -> None:
    """Only SHIP is 0; the worst of several wins."""
    codes = {v: v.exit_code for v in Verdict}

    assert codes == {SHIP: 0, BLOCK: 1, UNDECIDED: 10, HOLD: 11, NOT_COMPARABLE: 12, ERROR: 13}
    assert Verdict.worst([SHIP, HOLD, UNDECIDED, BLOCK, NOT_COMPARABLE, ERROR]) is ERROR
    assert Verdict.worst([BLOCK, UNDECIDED]) is BLOCK
    assert Verdict.worst([UNDECIDED, HOLD]) is UNDECIDED


def test_the_noise_floor_is_how_far_base_lies_from_itself(
    columns: Any, record_factory: Any
) -> None:
    """Two of four repeated cases answered otherwise: a noise floor of 0.5, in verdict.json too."""
    suite = columns([gain()], {"m": record_factory.pairs(*BETTER)})
    own = {row.case: row for row in suite.rows() if row.arm == "base"}
    again = [
        replace(own[case], arm=BASE_AGAIN, value=value)
        for case, flip in (("c000", True), ("c001", True), ("c002", False), ("c003", False))
        for value in [1 - own[case].value if flip else own[case].value]
    ]
    found = decide_run(
        record_factory.manifest([suite]), {"s": suite.cases()}, [*suite.rows(), *again]
    )

    assert found.suites[0].gates[0].noise == 0.5
    assert found.suites[0].n_unscored == {"base": 0, "tuned": 0}


@pytest.mark.parametrize(("same", "noted"), [(99, True), (98, False)])
def test_identical_answers_are_pointed_out(
    columns: Any, record_factory: Any, same: int, noted: bool
) -> None:
    """From 99 of 100 equal answers on, the reader learns that the fine-tune hardly acts."""
    found = decide_equal(
        record_factory, columns([gain()], {"m": record_factory.pairs(1, 0, 60, 39)}), same
    )

    assert any("byte for byte, on 99 of 100" in n for n in found.suites[0].notes) is noted


@pytest.mark.parametrize("gate", [gain(), tolerance()])
def test_equal_answers_are_no_note_under_a_proven_gain(
    columns: Any, record_factory: Any, gate: Any
) -> None:
    """A goal that was reached, and a tolerance whose interval is above zero."""
    found = decide_equal(record_factory, columns([gate], {"m": record_factory.pairs(*BETTER)}), 100)

    assert found.verdict is Verdict.SHIP
    assert not any("byte for byte" in note for note in found.suites[0].notes)


def decide_equal(record_factory: Any, suite: Any, same: int) -> Any:
    """Return the verdict on 100 pairs of answers, of which some are the same."""
    cells = [
        StoredAnswer(cell=cell, status="ok", completion=Completion(text=text))
        for i in range(100)
        for arm in ("base", "tuned")
        for text in [arm if i >= same else "the same"]
        for cell in [Cell(suite="s", case=f"c{i:03}", arm=arm, kind="generate", key=f"{i}{arm}")]
    ]
    return decide_run(
        record_factory.manifest([suite]),
        {"s": suite.cases()},
        suite.rows(),
        answers=count_answers(cells),
    )


@pytest.mark.parametrize(("cut", "noted"), [(6, True), (5, False)])
def test_answers_that_were_cut_are_pointed_out(
    columns: Any, record_factory: Any, cut: int, noted: bool
) -> None:
    """Above 5 of 100 answers that ended at the token limit, of one arm, the reader is warned."""
    suite = columns([gain()], {"m": record_factory.pairs(*BETTER)})
    cells = [
        StoredAnswer(cell=cell, status="ok", completion=Completion(text=arm, finish_reason=reason))
        for i in range(100)
        for arm in ("base", "tuned")
        for reason in ["length" if arm == "tuned" and i < cut else "stop"]
        for cell in [Cell(suite="s", case=f"c{i:03}", arm=arm, kind="generate", key=f"{i}{arm}")]
    ]
    answers = count_answers(cells)
    found = decide_run(
        record_factory.manifest([suite]), {"s": suite.cases()}, suite.rows(), answers=answers
    )

    assert answers["s"].cut == {"base": (0, 100), "tuned": (cut, 100)}
    notes = [n for n in found.suites[0].notes if "cut at the token limit" in n]
    both = f"0 of 100 answers of base and {cut} of 100 answers of tuned were cut"
    assert [both in n for n in notes] == [True] * noted


def test_a_collapsed_form_is_told_unless_a_goal_asks_for_it(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    def told(gate: Gate) -> str | None:
        suite = columns([gate], {"m": record_factory.pairs(*BETTER)})
        cells = [
            StoredAnswer(cell=cell, status="ok", completion=Completion(text=text))
            for i in range(100)
            for arm, text in (("base", f"You can call us {i}"), ("tuned", '{"intent": 1}'))
            for cell in [
                Cell(suite="s", case=f"c{i:03}", arm=arm, kind="generate", key=f"{i}{arm}")
            ]
        ]
        answers = count_answers(cells)
        manifest = record_factory.manifest([suite])
        found = decide_run(manifest, {"s": suite.cases()}, suite.rows(), answers=answers)
        return found.suites[0].collapsed

    assert told(tolerance()) == 's: 100 of 100 answers of tuned are `{"intent": 1}`; base: 0'
    assert told(gain()) is None


def test_an_advisory_gate_with_a_proven_loss_keeps_a_run_from_shipping(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    base = [float(i % 7) for i in range(100)]
    tuned = [value + 3 + 0.01 * (i % 2) for i, value in enumerate(base)]
    scores = {"m": record_factory.pairs(*BETTER), "length": (base, tuned)}
    length = record_factory.metric("length", binary=False, range=None, higher_is_better=False)
    found = judge(columns([gain(), tolerance("length", 0.5)], scores, metrics=[length]))
    lost = found.suites[0].gates[1]

    assert found.verdict is Verdict.UNDECIDED
    assert (lost.status, lost.advisory) == (GateStatus.FAIL, True)
    assert lost.sentence in found.suites[0].notes[0]
    assert "length" in found.sentence


@pytest.mark.parametrize(("odd", "verdict"), [(1.0, Verdict.BLOCK), (0.99, Verdict.UNDECIDED)])
def test_a_score_does_not_switch_a_guardrail_off(
    judge: Any, columns: Any, record_factory: Any, odd: float, verdict: Verdict
) -> None:
    """A metric without a range loses 30 of 100; one score of .99 makes it no less a guardrail."""
    base = [1.0] * 100
    scores = {"m": record_factory.pairs(*BETTER), "own": (base, [0.0] * 30 + [1.0] * 69 + [odd])}
    own = record_factory.metric("own", binary=False, range=None)
    found = judge(columns([gain(), tolerance("own", 0.05)], scores, metrics=[own]))

    assert found.verdict is verdict
    assert not found.suites[0].gates[1].advisory


@pytest.mark.parametrize(("cases", "verdict"), [(4, Verdict.UNDECIDED), (5, Verdict.SHIP)])
def test_a_suite_of_fewer_than_five_cases_does_not_ship(
    judge: Any, columns: Any, record_factory: Any, cases: int, verdict: Verdict
) -> None:
    right = (0, 0, cases, 0)

    assert judge(columns([floor()], {"m": record_factory.pairs(*right)})).verdict is verdict


def test_a_gain_on_few_cases_ships_with_a_note(
    judge: Any, columns: Any, record_factory: Any
) -> None:
    found = judge(columns([gain()], {"m": record_factory.pairs(12, 0, 0, 0)}))

    assert found.verdict is SHIP
    assert any("12 cases" in note for note in found.suites[0].notes)


class TestReplayedTraffic:
    """A suite of replayed traffic does not ship by gates on form alone."""

    @staticmethod
    def verdict(judge: Any, columns: Any, record_factory: Any, *gates: Gate, **changes: Any) -> Any:
        """Return the verdict of a suite whose metric `m` is on content, and `form` is not."""
        pairs = record_factory.pairs(*BETTER)
        suite = columns(list(gates), {"m": pairs, "form": pairs}, **changes)
        record = type(suite).record

        def replayed(self: Any) -> Any:
            return record(self).model_copy(update={"content_metrics": ("m",)})

        suite.__class__ = type("Replayed", (type(suite),), {"record": replayed})
        return judge(suite)

    def test_form_alone_is_undecided(self, judge: Any, columns: Any, record_factory: Any) -> None:
        found = self.verdict(judge, columns, record_factory, tolerance("form"))

        assert found.verdict is UNDECIDED
        assert "resemblance" in found.suites[0].notes[0]
        both = self.verdict(judge, columns, record_factory, tolerance("form"), tolerance("m"))
        assert both.verdict is SHIP

    def test_a_gate_on_few_cases_is_not_enough(
        self, judge: Any, columns: Any, record_factory: Any
    ) -> None:
        sliced = Gate(metric="m", kind=TOLERANCE, margin=0.2, tag="t")
        tags = [("t",) if n < 40 else () for n in range(100)]
        more = [("t",) if n < 60 else () for n in range(100)]

        few = self.verdict(judge, columns, record_factory, tolerance("form"), sliced, tags=tags)
        most = self.verdict(judge, columns, record_factory, tolerance("form"), sliced, tags=more)

        assert (few.verdict, most.verdict) == (UNDECIDED, SHIP)

    def test_a_loss_blocks_all_the_same(
        self, judge: Any, columns: Any, record_factory: Any
    ) -> None:
        """Only what would have passed is held back."""
        pairs = record_factory.pairs(*WORSE)

        assert judge(columns([tolerance("m")], {"m": pairs})).verdict is BLOCK
