"""The kind ratio: bounds on the geometric mean of tuned/base, for lengths, times and costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.decision.gating.decide_all import decide_gate
from tunegate.harness.decision.verdict.false_claims import false_claims
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.plugin import items
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Gate, MetricRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.reports.charts import draw_interval
from tunegate.reports.formatting import gate_rule

PASS, FAIL, UNDECIDED, _ = GateStatus
SECONDS = MetricRecord(
    name="latency", use="latency", needs=CellKind.LATENCY, higher_is_better=False, range=None,
    binary=False,
)  # fmt: skip
KIND = gate_kind("ratio")
SYMMETRIC = [-0.1, -0.05, 0.0, 0.05, 0.1] * 4
"""Log-ratios without skew: for them the envelope of mean_interval is Student's t interval."""


def ratio(margin: float, bound: str = "at_most", **more: Any) -> Gate:
    """Return a gate on the metric `latency`."""
    options = {"bound": bound}
    return Gate(metric="latency", kind="ratio", margin=margin, options=options, **more)


def pairs(base: list[float], tuned: list[float], clusters: list[str] | None = None) -> Pairs:
    """Return pairs of times."""
    labels = None if clusters is None else tuple(clusters)
    if clusters is None and len(base) >= 20:
        # Judged case by case: without clusters, times come in blocks of neighbours.
        labels = tuple(map(str, range(len(base))))
    return Pairs("s", SECONDS, tuple(base), tuple(tuned), labels)


def times(logs: list[float], factor: float = 1.0) -> Pairs:
    """Return pairs whose tuned/base is `factor` times e to the power of each number."""
    base = [0.5 + 0.1 * i for i in range(len(logs))]
    return pairs(base, [b * factor * math.exp(x) for b, x in zip(base, logs, strict=True)])


def decided(gate: Gate, found: Pairs) -> GateResult:
    """Return how a gate ends that is the only one of its run."""
    alone = gate_kind(gate.kind).refutation(gate, found) if not found.too_few else 1.0
    return decide_gate(gate, found, regressed=alone <= 0.05)


@pytest.mark.parametrize(
    ("factor", "gate", "expected"),
    [
        (1.1, ratio(1.2), (PASS, GateReason.PASS_WITH_LOSS)),
        (1.3, ratio(1.2), (FAIL, GateReason.BOUND_BROKEN)),
        (1.2, ratio(1.2), (UNDECIDED, GateReason.UNDERPOWERED)),
        (0.9, ratio(0.8, "at_least"), (PASS, None)),
        (0.7, ratio(0.8, "at_least"), (FAIL, GateReason.BOUND_BROKEN)),
        (0.8, ratio(0.8, "at_least"), (UNDECIDED, GateReason.UNDERPOWERED)),
        (0.7, ratio(0.8), (PASS, None)),
        (1.0, ratio(0.8), (FAIL, GateReason.BOUND_BROKEN)),
    ],
)
def test_the_interval_is_within_the_bound_beyond_it_or_neither(
    factor: float, gate: Gate, expected: tuple[GateStatus, GateReason | None]
) -> None:
    """The interval is about ±2.8 % wide: sd .0725, n = 20, t(.95, 19) = 1.729."""
    result = decided(gate, times(SYMMETRIC, factor))

    assert (result.status, result.reason) == expected
    assert result.estimate == pytest.approx(factor)


def test_the_interval_is_that_of_the_mean_log_ratio() -> None:
    result = decided(ratio(1.2), times(SYMMETRIC, 1.1))
    logs = np.array(SYMMETRIC) + math.log(1.1)
    low, high = stats.t.interval(0.90, 19, loc=logs.mean(), scale=stats.sem(logs))
    test = stats.ttest_1samp(logs, math.log(1.2), alternative="less")

    assert result.low == pytest.approx(math.exp(low), rel=1e-5)
    assert result.high == pytest.approx(math.exp(high), rel=1e-5)
    assert result.p_value == pytest.approx(test.pvalue, rel=1e-4)


def test_twice_and_half_cancel() -> None:
    """The geometric mean of 2, 1/2, 2 and 1/2 is 1, whatever the cases' sizes."""
    result = decided(ratio(1.2), pairs([1.0, 2.0, 3.0, 40.0], [2.0, 1.0, 6.0, 20.0]))

    assert result.estimate == pytest.approx(1.0)
    assert result.status is UNDECIDED


def test_the_sentence() -> None:
    """What was measured, with its interval, and what follows."""
    result = decided(ratio(1.2), times(SYMMETRIC, 1.1))

    assert result.sentence == (
        "latency changed by a factor of 1.1 (90 % CI 1.07 to 1.131) on 20 cases: "
        "the ratio of at most 1.2 holds, though a loss is proven"
    )
    assert gate_rule(result) == "by a factor of at most 1.2"


@pytest.mark.parametrize(
    ("base", "tuned", "count"),
    [
        ([1.0, 2.0, 0.0], [1.0, 2.0, 1.0], "1 of 3 pairs"),
        ([1.0, 2.0, 3.0], [1.0, 0.0, -1.0], "2 of 3 pairs"),
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], "3 of 3 pairs"),
    ],
)
def test_values_without_a_ratio_leave_it_open(
    base: list[float], tuned: list[float], count: str
) -> None:
    result = decided(ratio(1.2), pairs(base, tuned))

    assert (result.status, result.reason) == (UNDECIDED, GateReason.NOT_COMPUTABLE)
    assert (result.estimate, result.low, result.high) == (None, None, None)
    assert f"no ratio: {count} not above 0" in result.sentence
    assert draw_interval(result) is None


@pytest.mark.parametrize("n", [0, 1])
def test_no_case_and_one_case_leave_it_open(n: int) -> None:
    """Nothing is known of the spread; an estimate is shown where there is one."""
    result = decided(ratio(1.2), pairs([1.0] * n, [1.1] * n))

    assert (result.status, result.reason) == (UNDECIDED, GateReason.UNDERPOWERED)
    assert result.estimate == (pytest.approx(1.1) if n else None)


def test_equal_ratios_say_nothing_of_the_next_one() -> None:
    """Without any spread there cannot be an interval; equal values are not taken for 0/1 scores."""
    result = decided(ratio(1.2), pairs([1.0] * 50, [1.0] * 50))

    assert (result.status, result.low, result.high) == (UNDECIDED, None, None)
    assert (result.estimate, result.needed_n) == (1.0, None)


@pytest.mark.parametrize(("bound", "status"), [("at_most", FAIL), ("at_least", PASS)])
def test_a_ratio_beyond_floating_point_is_decided(bound: str, status: GateStatus) -> None:
    """1e300 over 1e-300 overflows: the estimate is the largest that is shown, and is finite."""
    base = [1e-300 * (1 + i % 3) for i in range(20)]
    result = decided(ratio(1.2, bound), pairs(base, [1e300] * 20))

    assert result.status is status
    assert result.estimate is not None
    assert 1e307 < result.estimate < math.inf
    assert all(value is None or math.isfinite(value) for value in (result.low, result.high))


@pytest.mark.parametrize(
    ("bound", "n", "status"),
    [
        (1.2, 47, UNDECIDED),
        (1.2, 48, PASS),
        (1.5, 20, UNDECIDED),
        (1.5, 21, PASS),
    ],
)
def test_lengths_allow_for_endless_answers_that_were_not_seen(
    bound: float, n: int, status: GateStatus
) -> None:
    """An unseen answer is 20 times as long: of n none is seen if a share of log bound/log 20 is."""
    lengths = SECONDS.model_copy(update={"needs": CellKind.GENERATE})
    # Hardly a spread, and no change on average.
    tuned = tuple(100 * math.exp(1e-4 * (-1) ** i) for i in range(n))
    found = Pairs("s", lengths, (100.0,) * n, tuned)

    for gate in (ratio(bound), ratio(1 / bound, "at_least")):
        result = decided(gate, found)
        assert result.status is status
        assert result.p_value == pytest.approx((1 - math.log(bound, 20)) ** n, rel=2e-3)


def test_rare_endless_answers_do_not_pass_beside_short_ones() -> None:
    """3 % endless of 40: a bound exactly reached passes if none is seen, .97^40 = .30 of runs."""
    lengths = SECONDS.model_copy(update={"needs": CellKind.GENERATE})
    bound, wrong, rng = math.exp(0.03 * math.log(20)), 0.0, np.random.default_rng(5)
    for endless in range(4):
        logs = rng.normal(0, 0.1, (50, 40)) + np.where(np.arange(40) < endless, math.log(20), 0.0)
        passed = [
            decided(ratio(bound), Pairs("s", lengths, (1.0,) * 40, tuple(np.exp(row)))).status
            for row in logs
        ]
        share = passed.count(PASS) / len(passed)
        wrong += share * stats.binom.pmf(endless, 40, 0.03)

    assert wrong < 0.02


def test_cases_that_belong_together_count_as_one_cluster() -> None:
    logs = [0.02 * i for i in range(10)]
    base = [1.0] * 40
    tuned = [math.exp(x) for x in logs for _ in range(4)]
    names = [str(i) for i in range(10) for _ in range(4)]

    alone = decided(ratio(1.2), pairs([1.0] * 10, [math.exp(x) for x in logs]))
    together = decided(ratio(1.2), pairs(base, tuned, names))
    few = decided(ratio(1.2), pairs(base[:36], tuned[:36], names[:36]))

    assert together.low == pytest.approx(alone.low)
    assert together.high == pytest.approx(alone.high)
    assert few.method == "too few clusters"


def test_the_cases_needed_are_those_of_the_t_test() -> None:
    """A ratio of 1 is log 1.2 = .182 from the bound: n = ((1.645 + .842) · sd / .182)².

    Three more stand for the t distribution; what the run happened to show does not matter.
    """
    wide = [8 * x for x in SYMMETRIC]
    result = decided(ratio(1.2), times(wide, 1.05))
    sd = float(np.std(wide, ddof=1))
    n = ((1.645 + 0.842) * sd / math.log(1.2)) ** 2

    assert n + 1 <= result.needed_n <= n + 3


@pytest.mark.parametrize(("bound", "margin"), [("at_most", 1.2), ("at_least", 0.8)])
def test_the_error_rate_at_the_bound(bound: str, margin: float) -> None:
    """Of runs whose true ratio is the bound 5 % pass and 5 % fail: 2,000 runs, ±3 errors of .005.

    The interval of mean_interval is at least Student's, so that the rates may be lower.
    """
    rng, ends = np.random.default_rng(7), []
    for _ in range(2000):
        base = rng.lognormal(0.0, 0.5, 30)
        tuned = base * margin * rng.lognormal(0.0, 0.2, 30)
        ends.append(decided(ratio(margin, bound), pairs(base.tolist(), tuned.tolist())).status)

    for status in (PASS, FAIL):
        assert 0.02 < ends.count(status) / 2000 < 0.065


def test_a_run_with_a_broken_ratio_is_blocked(judge: Any, columns: Any) -> None:
    """The record of the run keeps the kind, the bound and the ratio; the verdict is BLOCK."""
    found = times(SYMMETRIC, 1.3)
    suite = columns(
        [ratio(1.2)], {"latency": (found.base, found.tuned)}, metrics=[SECONDS], name="s"
    )
    verdict = judge(suite)
    (result,) = verdict.suites[0].gates

    assert verdict.verdict == "BLOCK"
    assert (result.kind, result.options) == ("ratio", {"bound": "at_most"})
    assert result.estimate == pytest.approx(1.3)
    assert false_claims(suite.record, verdict.suites[0]) == (result,)


def test_a_bound_that_base_itself_breaks_is_no_false_claim(judge: Any, columns: Any) -> None:
    """In an A/A run `at most 0.8` is broken in truth; a suite of ratios alone ships what holds."""
    found = times(SYMMETRIC, 1.0)
    scores = {"latency": (found.base, found.tuned)}
    broken = columns([ratio(0.8)], scores, metrics=[SECONDS])
    held = columns([ratio(1.2)], scores, metrics=[SECONDS])

    assert false_claims(broken.record, judge(broken).suites[0]) == ()
    assert judge(held).verdict == "SHIP"


@pytest.mark.parametrize(("bound", "direction"), [("at_least", False), ("at_most", True)])
def test_unscored_cases_are_imputed_by_the_worst_ratio_of_the_bound(
    judge: Any, columns: Any, bound: str, direction: bool
) -> None:
    """A bound that the scored cases satisfy is not shipped if the unscored ones would break it.

    92 log-ratios of ±.1 about ±log(1.02) and two of log(3) or log(1/3): six unscored cases are
    filled by these, whatever direction the metric has. In its own direction, two cases of 400
    words at the worst difference of small cases (10 words) would be near a ratio of 1.
    """
    far = 3.0 if bound == "at_most" else 1 / 3
    near = 1.02 if bound == "at_most" else 1 / 1.02
    margin = 1.19 if bound == "at_most" else 1 / 1.19
    base = [10.0] * 94 + [400.0] * 6
    tuned = [b * near * math.exp(x) for b, x in zip(base, SYMMETRIC * 5, strict=True)]
    tuned[0] = tuned[1] = 10.0 * far
    scores: list[float | None] = [*tuned[:94], *[None] * 6]
    of = {"higher_is_better": direction, "needs": CellKind.GENERATE}
    metric = SECONDS.model_copy(update=of)
    found = judge(
        columns(
            [ratio(margin, bound)], {"latency": (base, scores)}, metrics=[metric], max_unscored=0.1
        )
    )

    assert found.suites[0].gates[0].status is PASS
    assert found.suites[0].worst_case == "UNDECIDED"
    assert found.verdict == "UNDECIDED"


def test_times_are_judged_by_blocks_of_neighbours() -> None:
    """Load that lasts over four of 100 calls: the interval is scipy's t of 25 block means."""
    load = [0.2] * 4 + [-0.2] * 4
    logs = load * 12 + [0.0] * 4
    found = Pairs("s", SECONDS, (1.0,) * 100, tuple(math.exp(0.1 + x) for x in logs))
    half = stats.t.ppf(0.95, 24) * np.std([0.2, -0.2] * 12 + [0.0], ddof=1) / 5

    result = decide_gate(ratio(1.2), found, regressed=False)

    assert (result.low, result.high) == pytest.approx(
        (math.exp(0.1 - half), math.exp(0.1 + half)), rel=1e-5
    )
    assert result.status is (PASS if 0.1 + half < math.log(1.2) else UNDECIDED)


def test_the_worst_case_of_a_metric_with_a_range_is_its_end() -> None:
    """For `at_least` tuned has the lowest score and base the highest; for `at_most` the reverse."""
    found = replace(
        pairs([0.5, 0.5], [0.4, 0.6]), metric=SECONDS.model_copy(update={"range": (0.0, 1.0)})
    )

    assert KIND.imputation(ratio(0.8, "at_least"), found, best=False)(None, None) == (1.0, 0.0)
    assert KIND.imputation(ratio(1.2), found, best=False)(None, None) == (0.0, 1.0)
    assert KIND.imputation(ratio(1.2), found, best=False)(0.5, None) == (0.5, 1.0)
    assert KIND.imputation(ratio(1.2), found, best=False)(None, 0.5) == (0.0, 0.5)


def test_the_worst_case_of_an_unbounded_metric_is_its_worst_ratio() -> None:
    """Of the ratios 2 and 1/4, `at_most` fills 2 and `at_least` fills 1/4, on either side."""
    found = pairs([1.0, 4.0], [2.0, 1.0])
    most = KIND.imputation(ratio(1.2), found, best=False)
    least = KIND.imputation(ratio(0.8, "at_least"), found, best=False)

    assert (most(8.0, None), least(8.0, None)) == ((8.0, 16.0), (8.0, 2.0))
    assert (most(None, 8.0), least(None, 8.0)) == ((4.0, 8.0), (32.0, 8.0))
    assert (most(None, None), least(None, None)) == ((1.0, 2.0), (1.0, 0.25))


def test_summary_and_card_show_the_ratio_and_not_the_difference() -> None:
    from tunegate.reports.markdown import gate_row

    result = decided(ratio(1.2), times(SYMMETRIC, 1.1))

    assert gate_row("s", result)[-3:] == ["1.100", "1.070 to 1.131 (90 %)", "20"]


@pytest.mark.parametrize(
    ("bound", "worst"), [("at_most", "b (1 → 2)"), ("at_least", "a (1 → 0.5)")]
)
def test_the_worst_cases_of_a_ratio_are_those_against_the_bound(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bound: str, worst: str
) -> None:
    values = {"a": (1.0, 0.5), "b": (1.0, 2.0)}
    rows = {
        ("s", "latency", case, arm): ScoreRow(
            suite="s", metric="latency", case=case, arm=arm, value=value
        )
        for case, pair in values.items()
        for arm, value in zip(("base", "tuned"), pair, strict=True)
    }
    run: Any = SimpleNamespace(
        manifest=SimpleNamespace(leakage=None), score_table=rows, cases_of={"s": ()}
    )
    monkeypatch.setattr(items.Run, "load", lambda folder: run)
    (tmp_path / "scores.jsonl").touch()

    result = decided(ratio(1.0, bound), times(SYMMETRIC, 1.3 if bound == "at_most" else 0.7))
    assert result.status is FAIL
    assert f"worst cases: {worst}\n" in items.explain_failure(tmp_path, "s", result)


def test_a_checkpoint_that_breaks_a_ratio_has_forgotten() -> None:
    """`stop_on="regression"` stops at a bound that equal models satisfy, and not at a goal."""
    pytest.importorskip("torch")
    from tunegate.trainers.checkpoint_evaluation import _forgetting_sentences

    def sentences(gate: Gate, factor: float) -> tuple[str, ...]:
        found: Any = SimpleNamespace(gates=[decided(gate, times(SYMMETRIC, factor))])
        return _forgetting_sentences(found)

    assert len(sentences(ratio(1.2), 1.3)) == 1
    assert sentences(ratio(0.8), 1.3) == ()


@pytest.mark.parametrize(
    ("bound", "zone"), [("at_most", "left"), ("at_least", "right")], ids=["at_most", "at_least"]
)
def test_the_picture_is_around_one(bound: str, zone: str) -> None:
    """The reference is 1, the bound a line, and the zone is on the side that passes."""
    drawing = draw_interval(decided(ratio(1.2, bound), times(SYMMETRIC, 1.1)))

    assert drawing is not None
    assert drawing.reference is not None
    assert drawing.margin is not None
    assert drawing.reference.label == "1"
    assert drawing.margin.label == "1.200"
    assert (drawing.zone[0] == 0.0) == (zone == "left")
    assert drawing.label.startswith("latency, ratio 1.100, interval from 1.070 to 1.131")


def test_the_plan_is_on_logarithms() -> None:
    """Equal arms satisfy at most 1.2 and are planned; a change is not, nor an unknown spread."""
    metric: Any = None
    found = times(SYMMETRIC)
    plan = KIND.plan_test(ratio(1.25), metric, found)

    assert plan.margin == pytest.approx(-math.log(1.25))
    assert plan.counts
    assert KIND.plan_test(ratio(1.25), metric, None).note.endswith("plan with --from RUN")
    assert KIND.plan_test(ratio(0.8), metric, found).counts is False
    assert KIND.plan_test(ratio(1.25), metric, pairs([0.0, 1.0], [1.0, 1.0])).margin is None
    assert (KIND.target_effect(ratio(1.25), 0.1), KIND.target_effect(ratio(0.8), 0.3)) == (0.0, 0.3)


def test_the_incumbent_is_held_to_what_equal_arms_satisfy() -> None:
    """A fifth less than base is not asked of the incumbent again; an artifact is held to both."""
    change, guard = ratio(0.8), ratio(1.2)

    assert KIND.against_incumbent(change, ()) is None
    assert KIND.against_incumbent(guard, ()) == guard
    assert (KIND.on_deployment(change), KIND.on_deployment(guard)) == (change, guard)


LENGTH = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "length"\n'


@pytest.mark.parametrize(
    ("head", "gate", "what"),
    [
        (LENGTH, "ratio_at_most = 0\n", "gates.0.ratio_at_most: 0 must be above 0"),
        (
            LENGTH,
            "ratio_at_most = 1.2\nratio_at_least = 0.8\n",
            "ratio_at_least and ratio_at_most in one table; for both limits, list the metric "
            "twice under different names",
        ),
        (
            LENGTH.replace("length", "exact_match"),
            "ratio_at_most = 1.2\n",
            "ratio_at_most=1.2: scores of 'exact_match' are 0 or 1 and have no ratio; "
            "use a tolerance",
        ),
        (
            LENGTH.replace("length", "bleu"),
            "ratio_at_least = 0.9\n",
            "ratio_at_least=0.9: 'bleu' is one value over all cases, and a ratio is of each case; "
            'set aggregate = "mean" on the metric',
        ),
    ],
)
def test_a_suite_with_a_ratio_that_makes_no_sense(
    refused: Callable[..., list[str]], head: str, gate: str, what: str
) -> None:
    name = head.rpartition('use = "')[2].partition('"')[0]
    found = refused(head + f'[[gates]]\nmetric = "{name}"\n{gate}')

    assert any(problem.endswith(what) for problem in found), found


@pytest.mark.parametrize("bound", ["at_most", "at_least"])
def test_a_suite_with_a_ratio(written: Callable[..., Any], bound: str) -> None:
    from tunegate.harness.suite import load_suite

    gate = f'[[gates]]\nmetric = "length"\nratio_{bound} = 1.2\n'
    (found,) = load_suite(written(LENGTH + gate)).gates

    assert (found.id, found.margin) == ("length::ratio", 1.2)
    assert found.options == {"bound": bound}
    assert found.where.endswith(":7")
