"""The printed interval decides: a gate is proven exactly if its interval is beyond the bound."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.property_settings import examples
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.decision.gating.decide_all import decide_gate
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Gate, MetricRecord
from tunegate.harness.stats.binary import exact_at_estimate

COUNTS = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(0, 90)] * 2).filter(
    lambda counts: sum(counts) > 1
)
"""Cases that only tuned gets right, only base, both, and none."""
LOSSES = (GateReason.REGRESSED, GateReason.LOSS_NOT_BOUNDED)


def _pairs(counts: tuple[int, ...], *, higher: bool = True, clustered: bool = False) -> Pairs:
    wins, losses, both, neither = counts
    base = [0.0] * wins + [1.0] * losses + [1.0] * both + [0.0] * neither
    tuned = [1.0] * wins + [0.0] * losses + [1.0] * both + [0.0] * neither
    if not higher:
        base, tuned = [1 - b for b in base], [1 - t for t in tuned]
    metric = MetricRecord(
        name="m",
        use="m",
        needs=CellKind.GENERATE,
        higher_is_better=higher,
        range=(0.0, 1.0),
        binary=True,
    )
    # Neighbours share a cluster, so that most clusters agree.
    names = tuple(str(i // 3) for i in range(len(base))) if clustered else None
    return Pairs("s", metric, tuple(base), tuple(tuned), names)


def _decide(pairs: Pairs, kind: str, margin: float | str, **rule: Any) -> GateResult:
    """Decide the only gate of a run, whose regression nothing adjusts."""
    gate = Gate(metric="m", kind=kind, margin=margin, **rule)
    error = (1 - gate.confidence) / 2
    regressed = not pairs.too_few and pairs.reversed_test().p_value <= error
    return decide_gate(gate, pairs, regressed=regressed)


def _improvement(result: GateResult) -> tuple[float, float]:
    """Return the printed interval, oriented so that positive is better."""
    low = -math.inf if result.low is None else result.low
    high = math.inf if result.high is None else result.high
    return (low, high) if result.higher_is_better else (-high, -low)


@examples(150)
@given(
    COUNTS,
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 0.01, 0.05, 0.1]),
    st.sampled_from([0.9, 0.95, 0.998]),
)
def test_a_gain_is_proven_exactly_above_its_bound(
    counts: tuple[int, ...], higher: bool, clustered: bool, margin: float, confidence: float
) -> None:
    pairs = _pairs(counts, higher=higher, clustered=clustered)
    result = _decide(pairs, "gain", margin, expected_gain=margin + 0.1, confidence=confidence)
    low, high = _improvement(result)

    assert (result.status is GateStatus.PASS) == (low > margin and not pairs.too_few)
    if result.status is not GateStatus.PASS and not pairs.too_few:
        assert (result.reason is GateReason.REGRESSED) == (high < 0)
        held = result.reason is GateReason.NO_WORTHWHILE_GAIN
        assert held == (0 <= high < margin + 0.1)


@examples(150)
@given(
    COUNTS,
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.01, 0.05, 0.1, "1%", "5%", "20%"]),
    st.sampled_from([0.9, 0.95, 0.998]),
)
def test_a_tolerance_is_proven_exactly_above_its_bound(
    counts: tuple[int, ...], higher: bool, clustered: bool, margin: float | str, confidence: float
) -> None:
    pairs = _pairs(counts, higher=higher, clustered=clustered)
    result = _decide(pairs, "tolerance", margin, confidence=confidence)
    low, high = _improvement(result)
    allowed = margin if not isinstance(margin, str) else float(margin[:-1]) / 100 * pairs.base_level

    if not allowed or pairs.too_few:
        return  # a share of nothing: see `NOT_COMPUTABLE`
    proven = result.status is GateStatus.PASS or result.reason is GateReason.INSENSITIVE
    assert proven == (low > -allowed + 1e-12)
    if not proven:
        assert (result.reason in LOSSES) == (high < 0)


@pytest.mark.parametrize(
    ("counts", "gain", "low"),
    [
        # 17 wins of 220: Tango's interval alone begins at .0525, above the gain.
        ((17, 0, 100, 103), 0.05, 0.0498),
        # 3 wins of 100: mid-p is 1/16, so that 0 stays possible.
        ((3, 0, 97, 0), 0.0, 0.0),
    ],
)
def test_what_is_not_proven_is_inside_the_interval(
    counts: tuple[int, ...], gain: float, low: float
) -> None:
    result = _decide(_pairs(counts), "gain", gain)

    assert result.status is GateStatus.UNDECIDED
    assert result.low == pytest.approx(low, abs=5e-5)
    assert result.low <= gain


def test_a_tolerance_not_proven_is_inside_the_interval_of_a_proven_gain() -> None:
    """Ten documents of two cases: a tolerance allows for unseen ones, and a gain does not."""
    one, gain_alone = _pairs((1, 1, 1, 1)), 0
    clusters = tuple(str(i // 2) for i in range(20))
    for won in range(11):
        base = (0.0,) * 2 * won + (1.0,) * 2 * (10 - won)
        pairs = replace(one, base=base, tuned=(1.0,) * 20, clusters=clusters)
        result = _decide(pairs, "tolerance", 0.01)

        assert (result.status is GateStatus.PASS) == (_improvement(result)[0] > -0.01)
        gain = _decide(pairs, "gain", 0.0).status is GateStatus.PASS
        gain_alone += gain and result.status is GateStatus.UNDECIDED
    assert gain_alone > 0


def test_a_share_of_base_prints_the_interval_it_is_judged_by() -> None:
    """By hand: with 2 losses of 60, the ratio's lower end is where two or fewer are a rare event.

    The binomial probability of at most 2 of 60 is .05 at a loss of .1010, so the interval ends at
    that share of base's level of .6 below it.
    """
    result = _decide(_pairs((0, 2, 58, 40)), "tolerance", "10%")

    assert result.status is GateStatus.UNDECIDED
    assert result.low == pytest.approx(-0.1010 * 0.6, abs=5e-4)


@pytest.mark.parametrize("spread", [0.0, 0.01])
def test_a_share_of_times_prints_finite_seconds(spread: float) -> None:
    """Each answer takes half as long again: +50 % of a second, and 10 % are tolerated.

    Without any spread of the ratios their interval has no ends, and that of the seconds is shown.
    """
    record = MetricRecord(
        name="m", use="m", needs=CellKind.LATENCY, higher_is_better=False, range=None, binary=False
    )
    base = tuple(1 + 0.01 * (i % 7) for i in range(60))
    tuned = tuple(b * (1.5 + spread * (i % 3 - 1)) for i, b in enumerate(base))
    result = _decide(Pairs("s", record, base, tuned), "tolerance", "10%")

    assert result.reason is GateReason.REGRESSED
    assert result.low is not None
    assert result.high is not None
    assert 0.49 < result.low < 0.515 < result.high < 0.54


def test_a_loss_that_holm_takes_back_is_named() -> None:
    """12 losses of 100 are proven alone; among all metrics of a run they may be chance."""
    pairs = _pairs((3, 12, 70, 15))
    alone, among = (
        decide_gate(Gate(metric="m", kind="tolerance", margin=0.1), pairs, regressed=proven)
        for proven in (True, False)
    )

    assert alone.high is not None
    assert alone.high < 0
    assert alone.reason is GateReason.LOSS_NOT_BOUNDED
    assert among.reason is GateReason.UNDERPOWERED
    assert "a loss shows, but not beyond chance among all gates of the run" in among.sentence


@pytest.mark.parametrize("regressed", [True, False])
def test_a_loss_that_was_seen_is_planned_if_it_is_within_the_tolerance(regressed: bool) -> None:
    """4 of 150 lost. With the planned 449 cases up to 14 losses prove less than 5 points.

    At a true loss of 4/150 that has a probability of .777, near the 4 of 5 runs promised.
    """
    gate = Gate(metric="m", kind="tolerance", margin=0.05)
    pairs = _pairs((0, 4, 146, 0))
    result = decide_gate(gate, pairs, regressed=regressed, planned_confidence=0.9)

    assert (result.status, result.needed_n) == (GateStatus.UNDECIDED, 449)
    assert exact_at_estimate(0, 14, 449, margin=-0.05).p_value <= 0.05
    assert exact_at_estimate(0, 15, 449, margin=-0.05).p_value > 0.05
    assert stats.binom.cdf(14, 449, 4 / 150) == pytest.approx(0.80, abs=0.03)
    assert "about 299 more" in result.sentence
    assert "if the loss seen is the true one" in result.sentence


@pytest.mark.parametrize(("n", "needed"), [(20, 59), (40, 59)])
def test_equal_scores_are_planned_by_what_was_not_seen(n: int, needed: int) -> None:
    """Scores on a scale that never change prove 5 points with ln(.05)/ln(.95) = 59 cases."""
    record = _pairs((1, 1, 1, 1)).metric.model_copy(update={"binary": False})
    pairs = Pairs("s", record, (0.5,) * n, (0.5,) * n)
    gate = Gate(metric="m", kind="tolerance", margin=0.05)
    result = decide_gate(gate, pairs, regressed=False, planned_confidence=0.9)

    assert result.status is GateStatus.UNDECIDED
    assert result.needed_n == needed
