"""A tolerance that is a share of base's level, on 0/1 scores, is judged by the ratio of levels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tunegate.harness.comparison.delta import compare_scores, is_proven
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.decision.gating.equivalence import EquivalencePairs
from tunegate.harness.gates.contract.outcome import EquivalenceMargin
from tunegate.harness.records.parity import ParityStatus
from tunegate.harness.stats.binary import deciding_ratio_interval, exact_at_estimate, ratio_test
from tunegate.harness.stats.power import binary_sample_size


def scored(
    record_factory: Any,
    wins: int,
    losses: int,
    both: int,
    neither: int,
    *,
    clusters: Any = None,
    **of: Any,
) -> Pairs:
    """Return pairs where both, only one or neither score 1, with more wins of tuned."""
    columns = record_factory.pairs(wins, losses, both, neither)
    return compare_scores(*columns, metric=record_factory.metric(**of), clusters=clusters).pairs


def test_the_ratio_is_judged(record_factory: Any) -> None:
    """Interval and p-value are those of tuned/base against .9, the distance in base's unit."""
    pairs = scored(record_factory, 3, 5, 75, 17)
    judged = pairs.relative(0.10)
    ratio = deciding_ratio_interval(3, 5, 75)

    # Base has 80 of 100, tuned 78: 78 - .9 · 80 = 6 points from the limit.
    assert judged.estimate == pytest.approx(0.06)
    interval = judged.interval(0.90)
    assert interval.low == pytest.approx((ratio.low - 0.9) * 0.80)
    assert interval.high == pytest.approx((ratio.high - 0.9) * 0.80)
    score = ratio_test(3, 5, 75, ratio=0.9).p_value
    exact = exact_at_estimate(3, 5, 83, margin=-0.1, slope=0.9).p_value
    assert judged.test(0.0).p_value == max(score, exact)


def test_where_a_lower_score_is_better(record_factory: Any) -> None:
    """At most 1.25 of base is base at least .8 of tuned: the mirror image of a loss of a fifth."""
    good = scored(record_factory, 3, 5, 75, 17).relative(0.20)
    # 80 and 78 failures become tuned's and base's: base is in tuned's place.
    bad = scored(record_factory, 5, 3, 75, 17, higher_is_better=False).exchanged().relative(0.25)

    assert bad.base_level == pytest.approx(0.80)
    assert bad.tuned_level == pytest.approx(0.78)
    assert bad.estimate == pytest.approx(1.25 * 0.80 - 0.78)
    assert bad.test(0.0).p_value == pytest.approx(
        max(
            ratio_test(5, 3, 75, ratio=0.8).p_value,
            exact_at_estimate(5, 3, 83, margin=-0.2, slope=0.8).p_value,
        )
    )
    assert good.test(0.0).p_value == pytest.approx(
        max(
            ratio_test(3, 5, 75, ratio=0.8).p_value,
            exact_at_estimate(3, 5, 83, margin=-0.2, slope=0.8).p_value,
        )
    )


@pytest.mark.parametrize("falling", [False, True])
@pytest.mark.parametrize(("both", "proven"), [(58, False), (59, True)])
def test_without_a_change_the_cases_with_a_one_decide(
    record_factory: Any, both: int, proven: bool, falling: bool
) -> None:
    """5 % of base takes 59 cases that base gets right (.95^59 = .0485), whatever the others."""
    # Of failures, at most 1/19 more are allowed: base at least .95 of tuned.
    pairs = scored(record_factory, 0, 0, both, 200, higher_is_better=not falling)

    assert is_proven(pairs.relative(1 / 19 if falling else 0.05), 0.0, 0.90) is proven


def test_interval_and_test_agree(record_factory: Any) -> None:
    """Of 1,000 cases, where the exact p-value changes nothing, both turn at the same loss."""
    for losses in range(20, 60):
        judged = scored(record_factory, 20, losses, 600 - losses, 380).relative(0.05)
        low, p_value = judged.interval(0.90).low, judged.test(0.0).p_value

        assert (low > 0) is (p_value < 0.05), losses


def test_exchanged_pairs_prove_the_opposite(record_factory: Any) -> None:
    """30 of 80 lost is far beyond a tenth; the exchanged pairs say so, and the others do not."""
    judged = scored(record_factory, 0, 30, 50, 20).relative(0.10)

    assert judged.exchanged().estimate == pytest.approx(-judged.estimate)
    assert judged.exchanged().exchanged().interval(0.9) == judged.interval(0.9)
    assert is_proven(judged.exchanged(), 0.0, 0.90)
    assert not is_proven(judged, 0.0, 0.90)
    low, high = judged.interval(0.9).low, judged.interval(0.9).high
    assert judged.exchanged().interval(0.9).low == pytest.approx(-high)
    assert judged.exchanged().interval(0.9).high == pytest.approx(-low)


def test_a_base_without_a_one_is_judged_by_the_plain_difference(record_factory: Any) -> None:
    none = scored(record_factory, 0, 0, 0, 100)
    gain = scored(record_factory, 20, 0, 0, 80)

    assert none.relative(0.10).test(0.0).p_value == 1
    assert not is_proven(none.relative(0.10), 0.0, 0.90)
    assert is_proven(gain.relative(0.10), 0.0, 0.90)
    assert gain.relative(0.10).interval(0.9).low == gain.interval(0.9).low


def test_clusters_widen_it(record_factory: Any) -> None:
    """Losses that come in whole clusters prove less than the same losses spread."""
    names = [i // 5 for i in range(200)]
    alone = scored(record_factory, 5, 10, 150, 35).relative(0.10)
    together = scored(record_factory, 5, 10, 150, 35, clusters=names).relative(0.10)

    assert alone.interval(0.9).low > together.interval(0.9).low
    assert alone.test(0.0).p_value < together.test(0.0).p_value
    assert together.test(0.0).method == "paired ratio, score / design effect, t; unseen clusters"


def test_labels_of_all_pairs_are_counted_too(record_factory: Any) -> None:
    """Where people labelled every pair their 0/1 labels are judged by the ratio, not by a mean."""
    plain = scored(record_factory, 3, 5, 75, 17)
    labels = tuple(zip(plain.base, plain.tuned, strict=True))
    labelled = replace(plain, base=plain.tuned, tuned=plain.base, labels=labels)

    assert labelled.relative(0.10).test(0.0) == plain.relative(0.10).test(0.0)


def test_scores_between_are_still_judged_as_a_mean(record_factory: Any) -> None:
    base, tuned = record_factory.pairs(3, 5, 75, 17)
    base[0] = 0.5
    judged = compare_scores(base, tuned, metric=record_factory.metric()).pairs.relative(0.10)

    assert judged.limit is None
    assert "ratio" not in judged.test(0.0).method


@pytest.mark.parametrize(
    ("level", "limits", "higher", "least"),
    [
        # tuned - .95 base is at least 0 - .95; unchanged it is .0375.
        (0.75, (0.0, 1.0), True, 0.95),
        # Where less is better, 1.05 base - tuned is at least 0 - 1.
        (0.75, (0.0, 1.0), False, 1.0),
        # On a scale from 1 to 5, 1 - .95 * 5.
        (4.0, (1.0, 5.0), True, 3.75),
    ],
)
def test_no_more_is_lost_than_the_range_allows(
    record_factory: Any, level: float, limits: tuple[float, float], higher: bool, least: float
) -> None:
    """Without a change, the p-value of 5 % is that of unseen cases that lose the most they can."""
    of = record_factory.metric(binary=False, range=limits, higher_is_better=higher)
    pairs = compare_scores([level] * 80, [level] * 80, metric=of).pairs.relative(0.05)

    hidden = (least / (least + 0.05 * level)) ** 80
    assert pairs.test(0.0).p_value == pytest.approx(hidden)
    assert pairs.exchanged().exchanged().test(0.0) == pairs.test(0.0)
    assert is_proven(pairs, 0.0, 0.90) is (hidden < 0.05)
    # The other end: what tuned may gain at most, in cases that were not seen.
    low, high = limits
    most = high - 0.95 * low if higher else 1.05 * high - low
    gained = most - (most - 0.05 * level) * 0.05 ** (1 / 80)
    assert pairs.interval(0.90).high == pytest.approx(gained)


def test_nothing_to_lose_leaves_the_range(record_factory: Any) -> None:
    """Scores from .5 to 1 cannot fall by 60 %; the guard then allows for the whole range."""
    of = record_factory.metric(binary=False, range=(0.5, 1.0))
    pairs = compare_scores([0.7] * 30, [0.7] * 30, metric=of).pairs

    assert pairs.relative(0.6).reach is None
    assert pairs.relative(0.4).reach == pytest.approx((0.1, 0.7))


def test_a_margin_is_another_ratio(record_factory: Any) -> None:
    """4 points above the limit of .9, where base has 80 %, is the limit of .95."""
    pairs = scored(record_factory, 3, 5, 75, 17)

    found, expected = pairs.relative(0.10).test(0.04), pairs.relative(0.05).test(0.0)
    assert found.p_value == pytest.approx(expected.p_value)
    with pytest.raises(ValueError, match=r"margin=-0\.8 must leave a ratio above 0"):
        pairs.relative(0.10).test(-0.8)


def test_what_it_takes_is_planned_at_the_difference_that_the_limit_allows(
    record_factory: Any,
) -> None:
    """A tenth of base's .8 is planned as a tolerance of .08, whose formula is tested there."""
    pairs = scored(record_factory, 8, 6, 74, 12)
    judged, equal = pairs.relative(0.10), pairs.unchanged().relative(0.10)
    found = judged.estimator.plan(equal.estimate, 0.0, 0.90)

    assert equal.estimate == pytest.approx(0.08)
    assert found is not None
    assert found.n == binary_sample_size(effect=0.0, discordance=0.14, margin=-0.08).n


def test_equivalence_within_a_share(record_factory: Any) -> None:
    """300 equal pairs of 1 are within 2 %; 148 are not yet, and half of them lost are beyond."""

    def status(pairs: Pairs) -> ParityStatus:
        found = EquivalencePairs(pairs, EquivalenceMargin("2%", "the suite's tolerance"))
        return found.status(beyond=(found.beyond or 0.0) < 0.05)

    assert status(scored(record_factory, 0, 0, 149, 0)) is ParityStatus.EQUIVALENT
    assert status(scored(record_factory, 0, 0, 148, 0)) is ParityStatus.UNDECIDED
    assert status(scored(record_factory, 0, 70, 70, 0)) is ParityStatus.NOT_EQUIVALENT


def test_times_stay_times(record_factory: Any) -> None:
    """Latencies of exactly one second are not successes: their logarithms are judged."""
    metric = record_factory.metric(
        needs="latency", higher_is_better=False, binary=False, range=None
    )
    pairs = compare_scores([1.0] * 30, [1.0] * 30, metric=metric).pairs

    assert pairs.binary
    assert pairs.relative(0.10).limit is None
