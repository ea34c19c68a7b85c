"""Two one-sided tests, with numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.decision.gating.equivalence import (
    DEFAULT,
    EquivalencePairs,
    margin_of,
    proven_beyond,
)
from tunegate.harness.gates.contract.outcome import EquivalenceMargin
from tunegate.harness.records.manifest import Gate, SuiteRecord
from tunegate.harness.records.parity import ParityStatus


def compared(
    record_factory: Any,
    tuned: list[float],
    shipped: list[float],
    margin: float | str,
    **metric: Any,
) -> EquivalencePairs:
    """Return tuned's and shipped's scores with a margin."""
    pairs = Pairs("s", record_factory.metric(**metric), tuple(tuned), tuple(shipped))
    return EquivalencePairs(pairs, EquivalenceMargin(margin, "the suite's tolerance"))


def graded(record_factory: Any, shift: float, margin: float | str) -> EquivalencePairs:
    """Return 60 unbounded scores whose differences are shift ± 0.1, half of them each.

    Their deviation is 0.1·√(60/59), the error of their mean 0.1/√59 = 0.013019, and t with 59
    degrees of freedom leaves 5 % beyond 1.6711: the 90 % interval is shift ± 0.021756. Without
    skew Hall's interval is the same.
    """
    tuned = [2.0] * 60
    shipped = [2.0 + shift + (0.1 if i % 2 else -0.1) for i in range(60)]
    return compared(record_factory, tuned, shipped, margin, binary=False, range=None)


@pytest.mark.parametrize(
    ("shift", "margin", "status"),
    [
        (0.0, 0.022, "equivalent"),
        (0.0, 0.0215, "undecided"),
        (-0.2, 0.23, "equivalent"),  # the interval ends at -0.2218
        (-0.2, 0.19, "undecided"),
        (-0.2, 0.17, "not_equivalent"),  # and begins at -0.1782
        (0.2, 0.23, "equivalent"),  # better is judged like worse
        (0.2, 0.17, "not_equivalent"),
        (0.0, "1.2%", "equivalent"),  # of 2.0: 0.024
        (-0.2, "5%", "not_equivalent"),  # 0.1
        (0.2, "5%", "not_equivalent"),
        (-0.2, "10%", "undecided"),
    ],
)
def test_graded_scores(record_factory: Any, shift: float, margin: float | str, status: str) -> None:
    """The 90 % interval within the margin, beyond it on one side, or neither."""
    found = graded(record_factory, shift, margin)
    beyond = ("m", "m") in proven_beyond({("m", "m"): found})

    assert found.status(beyond=beyond) == ParityStatus(status)


@pytest.mark.parametrize(("n", "within"), [(148, False), (149, True)])
def test_equal_successes_take_149_cases_for_two_points(
    record_factory: Any, n: int, within: bool
) -> None:
    """If one case in fifty differed, none of 148 would with .98^148 = .0503, of 149 with .0493."""
    found = compared(record_factory, [1.0] * n, [1.0] * n, 0.02)

    assert found.within is within


def test_lost_successes(record_factory: Any) -> None:
    """40 of 100 lost: Tango's interval lies around -0.4, far beyond 0.05 and within 0.6."""
    tuned, shipped = [1.0] * 100, [1.0] * 60 + [0.0] * 40

    far = compared(record_factory, tuned, shipped, 0.05)
    near = compared(record_factory, tuned, shipped, 0.6)
    assert far.beyond == pytest.approx(0, abs=1e-8)
    assert not far.within
    assert near.within


def test_one_case_decides_nothing(record_factory: Any) -> None:
    found = compared(record_factory, [1.0], [0.0], 0.05)

    assert found.beyond is None
    assert found.needed is None
    assert found.status(beyond=False) is ParityStatus.UNDECIDED


def test_what_would_decide_is_told(record_factory: Any) -> None:
    """100 equal pairs cannot show two points; more are named."""
    found = compared(record_factory, [1.0] * 100, [1.0] * 100, 0.02)

    assert found.needed is not None
    assert found.needed >= 133


def test_a_difference_counts_as_proven_among_all_metrics(record_factory: Any) -> None:
    """Holm: a p-value between 0.05/4 and 0.05 stands alone, but not among four metrics."""
    # mean -0.2, error 0.013019: t = (0.2 - 0.17)/0.013019 = 2.3, one-sided p = 0.0125 … 0.013
    one = graded(record_factory, -0.2, 0.17)
    assert one.beyond == pytest.approx(0.0124, abs=0.001)
    equal = {("s", name): graded(record_factory, 0.0, 0.1) for name in "bcde"}

    assert proven_beyond({("s", "a"): one}) == {("s", "a")}
    assert proven_beyond({("s", "a"): one, **equal}) == set()


@pytest.mark.parametrize(
    ("gates", "range_", "value", "source"),
    [
        ([("tolerance", 0.02), ("gain", 0.1)], (0.0, 1.0), 0.02, "the suite's tolerance"),
        ([("tolerance", "2%")], None, "2%", "the suite's tolerance"),
        ([("gain", 0.06)], (0.0, 1.0), 0.03, "half the suite's gain"),
        ([("gain", 0.5)], (0.0, 1.0), 0.05, "the default"),  # half of it would be five times that
        ([("gain", 0.0)], (0.0, 1.0), 0.05, "the default"),
        ([("floor", 0.9)], (0.0, 10.0), 0.5, "the default"),
        ([("floor", -2.0)], None, "5%", "the default"),
        ([("gain", 0.3)], None, 0.15, "half the suite's gain"),
    ],
)
def test_the_margin_is_the_suites_own(
    record_factory: Any, gates: list[Any], range_: Any, value: float | str, source: str
) -> None:
    """The tolerance comes first, then half the gain; what neither says is the default."""
    metric = record_factory.metric(binary=False, range=range_)
    suite = SuiteRecord(
        name="s",
        path="s",
        hash="h",
        n_cases=1,
        goal_rule="primary",
        max_unscored=0.05,
        metrics=(metric,),
        gates=tuple(Gate(metric="m", kind=kind, margin=m) for kind, m in gates),
        generation={},
    )

    assert DEFAULT == 0.05
    assert margin_of(suite, metric) == EquivalenceMargin(value, source)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("margin", [0.02, 0.05, 0.1])
def test_arms_are_equivalent_exactly_if_the_interval_is_within_the_margin(
    record_factory: Any, margin: float, clustered: bool
) -> None:
    for wins, losses, same in ((0, 0, 58), (0, 0, 59), (1, 0, 120), (4, 2, 150), (3, 9, 400)):
        base, tuned = record_factory.pairs(wins, losses, same, 0)
        names = tuple(str(i // 3) for i in range(len(base))) if clustered else None
        pairs = Pairs("s", record_factory.metric(), tuple(base), tuple(tuned), names)
        found = EquivalencePairs(pairs, EquivalenceMargin(margin, "the suite's tolerance"))
        low, high = found.interval

        assert found.within == (-margin < low and high < margin)
