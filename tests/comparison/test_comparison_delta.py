"""From two columns of scores to a delta: which statistics, which direction, which answer."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from scipy import stats

from tests.t_and_hall import envelope
from tunegate.harness.comparison.delta import Delta, compare_scores
from tunegate.harness.records.errors import Undecided
from tunegate.harness.stats.paired_mean import mean_interval

# The differences of statistics.md §10, case 9, as tuned scores over a base of 0.5.
DIFFERENCES = (
    0, 0.2, -0.1, 0.3, 0, 0, 0.5, 0.1, -0.05, 0.25,
    0.4, 0, 0.15, -0.2, 0.35, 0.1, 0, 0.3, 0.2, 0.05,
)  # fmt: skip
CONTINUOUS = {"binary": False}
UNBOUNDED = {"binary": False, "range": None}
LOWER = {"higher_is_better": False}


def shifted(differences: tuple[float, ...]) -> tuple[list[float], list[float]]:
    """Return base scores of 0.5 and tuned ones that differ from them as given."""
    return [0.5] * len(differences), [0.5 + d for d in differences]


def test_binary_scores_get_tangos_interval_widened_by_the_exact_test(record_factory: Any) -> None:
    """18 wins and 7 losses in 100 give the published (0.0291, 0.1934), moved outward by .0008."""
    delta = compare_scores(*record_factory.pairs(18, 7, 40, 35), metric=record_factory.metric())

    # base = (7 + 40)/100, tuned = (18 + 40)/100
    assert (0.47, 0.58, 100) == (delta.base, delta.tuned, delta.n)
    assert delta.estimate == pytest.approx(0.11)
    assert (0.0283, 0.1942) == (round(delta.low, 4), round(delta.high, 4))
    assert delta.oriented.method == "Tango score"


def test_at_a_gain_of_zero_the_stricter_of_two_tests_speaks(record_factory: Any) -> None:
    """McNemar's mid-p joins in at margin 0: 1 win of 1 has Tango's p = 0.16, mid-p = 0.25."""
    delta = compare_scores(*record_factory.pairs(1, 0, 99, 0), metric=record_factory.metric())
    test = delta.pairs.test(0.0)

    # mid-p: P(X > 1) + P(X = 1)/2 = 0 + (1/2)/2
    assert test.p_value == pytest.approx(0.25)
    assert test.method == "McNemar mid-p"


def test_at_a_gain_of_zero_the_exact_p_value_joins_too(record_factory: Any) -> None:
    """9 wins and 3 losses of 12: Tango's p = .0416, mid-p = .0461, and the binomial's own .0730."""
    test = compare_scores(
        *record_factory.pairs(9, 3, 0, 0), metric=record_factory.metric()
    ).pairs.test(0.0)

    # At the estimated null every pair is a win or a loss with 1/2: (220 + 66 + 12 + 1)/4096.
    assert test.p_value == pytest.approx(299 / 4096)
    assert test.method.startswith("exact at the estimated null")


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [(1, 7, 0.0391), (7, 1, 0.0391), (4, 4, 1.0), (0, 0, 1.0)],
    ids=["worse", "better", "even", "equal"],
)
def test_no_difference_is_tested_in_both_directions(
    record_factory: Any, wins: int, losses: int, p: float
) -> None:
    """McNemar's two-sided mid-p: 0.0391 for 1 and 7, published; never above 1."""
    delta = compare_scores(
        *record_factory.pairs(wins, losses, 13, 0), metric=record_factory.metric()
    )

    assert delta.pairs.two_sided_p() == pytest.approx(p, abs=5e-5)


def test_too_little_is_not_tested_at_all(record_factory: Any) -> None:
    """One case, or nine clusters, get no p-value, not even 1."""
    names = [str(i % 9) for i in range(40)]
    one = compare_scores([1.0], [0.0], metric=record_factory.metric())
    nine = compare_scores(
        *record_factory.pairs(0, 30, 10, 0), metric=record_factory.metric(), clusters=names
    )

    assert one.pairs.two_sided_p() is None
    assert nine.pairs.two_sided_p() is None


def test_above_a_gain_of_zero_the_exact_test_joins(record_factory: Any) -> None:
    """9 wins, 1 loss in 50 against 0.05: exact p = 0.0384, Tango's alone 0.0300."""
    test = compare_scores(
        *record_factory.pairs(9, 1, 40, 0), metric=record_factory.metric()
    ).pairs.test(0.05)

    assert round(test.p_value, 4) == 0.0384
    assert test.method.startswith("exact at the estimated null")


def test_non_inferiority_takes_the_exact_chance_of_no_loss(record_factory: Any) -> None:
    """No discordant pair proves a tolerance of 0.02 with 149 cases and not with 148."""
    # Tango's lower bound is above -0.02 from 133 cases on, but one loss in fifty shows in none of
    # 148 cases with .98^148 = .0503, in none of 149 with .0493.
    assert compare_scores(
        *record_factory.pairs(0, 0, 149, 0), metric=record_factory.metric()
    ).holds(within=0.02)
    with pytest.raises(Undecided):
        compare_scores(*record_factory.pairs(0, 0, 148, 0), metric=record_factory.metric()).holds(
            within=0.02
        )


def test_continuous_scores_get_the_guarded_envelope(record_factory: Any) -> None:
    """Twenty differences bounded by 1 have the limits of `mean_interval`, beyond t's and Hall's."""
    delta = compare_scores(*shifted(DIFFERENCES), metric=record_factory.metric(**CONTINUOUS))

    assert delta.estimate == pytest.approx(0.1275)
    expected = mean_interval(DIFFERENCES, bound=1.0)
    assert (delta.low, delta.high) == pytest.approx((expected.low, expected.high))
    plain = envelope(DIFFERENCES)
    assert delta.low < plain[0] - 0.04 < plain[1] + 0.02 < delta.high


def test_unbounded_scores_are_not_guarded(record_factory: Any) -> None:
    """Without a bound: scipy's t lower limit, and Hall's upper for 1.4 times the skewness."""
    delta = compare_scores(*shifted(DIFFERENCES), metric=record_factory.metric(**UNBOUNDED))

    assert round(delta.low, 4) == 0.0572
    assert (delta.low, delta.high) == pytest.approx(envelope(DIFFERENCES, factor=1.4))


def test_ones_zeros_and_a_half_are_continuous(record_factory: Any) -> None:
    """A single score that is neither 0 nor 1 makes the column continuous, though declared 0/1."""
    base, tuned = record_factory.pairs(18, 7, 40, 35)

    assert compare_scores(base, tuned, metric=record_factory.metric()).pairs.binary
    tuned[0] = 0.5
    delta = compare_scores(base, tuned, metric=record_factory.metric())
    assert not delta.pairs.binary
    assert delta.oriented.method.startswith("t and Hall")


@pytest.mark.parametrize(
    ("range_", "binary"), [(None, True), ((0.0, 1.0), True), ((0.0, 5.0), False)]
)
def test_undeclared_ones_and_zeros_are_binary_where_the_range_allows(
    record_factory: Any, range_: tuple[float, float] | None, binary: bool
) -> None:
    """A user's own pass/fail function is judged by Tango's interval, a 0–5 score is not."""
    metric = record_factory.metric(binary=False, range=range_)

    assert compare_scores(*record_factory.pairs(3, 1, 40, 6), metric=metric).pairs.binary is binary


def test_a_gain_beyond_one_is_no_error_for_undeclared_ones_and_zeros(record_factory: Any) -> None:
    """Nothing gains 2 where the scores seen are 0 and 1; the question has an answer, though."""
    delta = compare_scores(
        *record_factory.pairs(30, 5, 10, 5), metric=record_factory.metric(binary=False, range=None)
    )

    assert not delta.gains(by=2)
    assert delta.holds(within=2)


def test_lower_is_better_turns_the_statistics_and_not_the_numbers(record_factory: Any) -> None:
    """Fewer loops: the delta is negative and gains; its interval mirrors that of the rise."""
    up = compare_scores(*record_factory.pairs(18, 7, 40, 35), metric=record_factory.metric())
    base, tuned = record_factory.pairs(7, 18, 40, 35)
    down = compare_scores(base, tuned, metric=record_factory.metric(**LOWER))

    assert (down.estimate, down.low, down.high) == pytest.approx((-0.11, -up.high, -up.low))
    assert up.gains(by=0.02)
    assert down.gains(by=0.02)
    assert (18, 7) == (down.pairs.wins, down.pairs.losses)


def test_clusters_widen_the_interval_as_their_means_alone(record_factory: Any) -> None:
    """Ten clusters of two: the interval is that of their means; scipy's t lower limit, and Hall's.

    The means are skewed to the right, so that Hall's upper limit is beyond t's.
    """
    labels = [f"p{i // 2}" for i in range(20)]
    delta = compare_scores(
        *shifted(DIFFERENCES), metric=record_factory.metric(**UNBOUNDED), clusters=labels
    )
    means = [(a + b) / 2 for a, b in zip(DIFFERENCES[::2], DIFFERENCES[1::2], strict=True)]
    centre, error = sum(means) / 10, stats.sem(means)

    alone = compare_scores(*shifted(tuple(means)), metric=record_factory.metric(**UNBOUNDED))
    low, high = stats.t.interval(0.90, 9, loc=centre, scale=error)
    assert stats.skew(means) > 0
    assert delta.low == pytest.approx(low)
    assert delta.high > high
    assert (delta.low, delta.high) == pytest.approx((alone.low, alone.high))


def test_binary_scores_in_clusters_count_for_less(record_factory: Any) -> None:
    """Every case twice in a cluster: half the information, so a wider interval with 9 df."""
    base, tuned = record_factory.pairs(6, 1, 3, 0)
    alone = compare_scores(base, tuned, metric=record_factory.metric())
    labels = [str(i // 2) for i in range(20)]
    twice = compare_scores(
        [b for b in base for _ in "ab"],
        [t for t in tuned for _ in "ab"],
        metric=record_factory.metric(),
        clusters=labels,
    )

    assert twice.estimate == pytest.approx(alone.estimate)
    assert twice.low < alone.low
    assert "design effect" in twice.oriented.method


@pytest.mark.parametrize("kind", [{}, CONTINUOUS])
def test_fewer_than_ten_clusters_decide_nothing(record_factory: Any, kind: dict[str, Any]) -> None:
    """Nine clusters leave everything open, however large the difference; the interval is ±range."""
    labels = [f"p{i % 9}" for i in range(90)]
    delta = compare_scores(
        [0.0] * 90, [1.0] * 90, metric=record_factory.metric(**kind), clusters=labels
    )

    assert (-1.0, 1.0) == (delta.low, delta.high)
    assert delta.oriented.method == "too few clusters"
    assert delta.pairs.test(0.0).p_value == 1.0
    with pytest.raises(Undecided):
        delta.gains()


def test_labels_that_nothing_shares_are_no_clusters(record_factory: Any) -> None:
    delta = compare_scores(
        [0.0] * 5, [1.0] * 5, metric=record_factory.metric(), clusters=list("abcde")
    )

    assert delta.pairs.clusters is None
    assert delta.gains()


@pytest.mark.parametrize("n", [0, 1])
def test_no_case_and_one_case_decide_nothing(record_factory: Any, n: int) -> None:
    bounded = compare_scores([0.0] * n, [1.0] * n, metric=record_factory.metric())
    unbounded = compare_scores([0.0] * n, [1.0] * n, metric=record_factory.metric(**UNBOUNDED))

    assert (-1.0, 1.0) == (bounded.low, bounded.high)
    assert (-math.inf, math.inf) == (unbounded.low, unbounded.high)
    for delta in (bounded, unbounded):
        with pytest.raises(Undecided):
            delta.gains(by=2)
        with pytest.raises(Undecided):
            delta.holds(within=0.9)
        assert delta.pairs.relative(0.02).test(0.0).p_value == 1.0


def test_the_mean_of_nothing_is_not_a_number(record_factory: Any) -> None:
    delta = compare_scores([], [], metric=record_factory.metric())

    assert math.isnan(delta.base)
    assert str(delta) == "no case has a score in both arms"


def test_all_ties_give_the_closed_form(record_factory: Any) -> None:
    """50 ties: the interval is ±(1 - .05^(1/50)) = ±0.0582, and p(gain) is 1."""
    delta = compare_scores(*record_factory.pairs(0, 0, 30, 20), metric=record_factory.metric())

    assert (-0.0582, 0.0582) == (round(delta.low, 4), round(delta.high, 4))
    assert delta.pairs.test(0.0).p_value == 1.0


def test_all_ties_of_a_bounded_score_still_have_width(record_factory: Any) -> None:
    """60 equal differences: a share of 1 - .05^(1/60) = .0487 may gain all and never be seen."""
    delta = compare_scores([0.5] * 60, [0.5] * 60, metric=record_factory.metric(**CONTINUOUS))

    assert delta.high == pytest.approx(0.0487, abs=1e-4)
    assert delta.low == -delta.high


def test_a_constant_shift_is_no_certainty(record_factory: Any) -> None:
    """Zero variance around 0.1 has an interval with width, where scipy's t would have none."""
    delta = compare_scores([0.5] * 60, [0.6] * 60, metric=record_factory.metric(**CONTINUOUS))

    assert delta.low < 0.07
    assert delta.high > 0.13


def test_a_constant_shift_of_an_unbounded_score_says_nothing(record_factory: Any) -> None:
    delta = compare_scores([1.0] * 60, [2.0] * 60, metric=record_factory.metric(**UNBOUNDED))

    assert (-math.inf, math.inf) == (delta.low, delta.high)
    with pytest.raises(Undecided):
        delta.gains()


def test_holds_and_gains_say_true_false_or_undecided(record_factory: Any) -> None:
    """18 wins, 7 losses in 100, interval (0.028, 0.194): each answer occurs."""
    delta = compare_scores(*record_factory.pairs(18, 7, 40, 35), metric=record_factory.metric())

    assert delta.gains(by=0.02) is True
    assert delta.gains(by=0.25) is False
    assert delta.holds(within=0.01) is True
    with pytest.raises(Undecided) as undecided:
        delta.gains(by=0.10)
    assert re.fullmatch(
        r"m: whether it gains more than 0\.1 is undecided with 100 cases: base 0\.47, tuned 0\.58, "
        r"difference \+0\.11 \[\+0\.02829, \+0\.1942\] at 90 %",
        str(undecided.value),
    )


def test_holds_refuses_a_tolerance_of_nothing(record_factory: Any) -> None:
    """Equality cannot be proven, so `within` must be above 0."""
    delta = compare_scores([0.0, 1.0], [0.0, 1.0], metric=record_factory.metric())

    for within in (0, -0.1, math.nan):
        with pytest.raises(ValueError, match="must be above 0"):
            delta.holds(within=within)


def test_a_loss_refutes_holding(record_factory: Any) -> None:
    """Thirty losses in 100 are proven worse than a tolerance of 0.1."""
    delta = compare_scores(*record_factory.pairs(0, 30, 70, 0), metric=record_factory.metric())

    assert delta.holds(within=0.10) is False


@pytest.mark.parametrize(
    ("base", "tuned", "message"),
    [
        ([1.0], [1.0, 0.0], "base has 1 scores and tuned 2"),
        ([1.0, math.nan], [1.0, 0.0], r"base\[1\]=nan must be a finite score"),
        ([1.0], [math.inf], r"tuned\[0\]=inf must be a finite score"),
    ],
)
def test_columns_that_are_no_pairs_are_refused(
    record_factory: Any, base: list[float], tuned: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare_scores(base, tuned, metric=record_factory.metric())


def test_clusters_must_fit(record_factory: Any) -> None:
    """One label a case."""
    with pytest.raises(ValueError, match="clusters has 1 labels and base 2"):
        compare_scores([1.0, 0.0], [1.0, 0.0], metric=record_factory.metric(), clusters=["a"])


@pytest.mark.parametrize(
    ("kind", "base", "worse"),
    [
        ({"range": None}, 100.0, -2.0),  # 2 % of 100 is 2 lower
        ({"range": None}, -100.0, -2.0),  # 2 % of -100 is 2 lower as well
        ({"range": None, "higher_is_better": False}, 100.0, 2.0),  # or 2 higher where less is good
    ],
)
def test_a_relative_tolerance_is_a_share_of_bases_size(
    record_factory: Any, kind: dict[str, Any], base: float, worse: float
) -> None:
    metric = record_factory.metric(binary=False, **kind)
    noise = [0.1, -0.1, 0.05, -0.05] * 10
    levels = [base + 10 * x for x in noise]

    for factor, low_above_zero in ((0.5, True), (2.0, False)):
        tuned = [b + factor * worse + x for b, x in zip(levels, noise, strict=True)]
        judged = compare_scores(levels, tuned, metric=metric).pairs.relative(0.02)
        assert (judged.interval(0.90).low > 0) is low_above_zero


def test_a_relative_tolerance_carries_bases_own_differences(record_factory: Any) -> None:
    """The relative difference of a case is d + share·base: (0.5-0.5) + 0.02·0.5 and so on."""
    delta = compare_scores(
        [0.5, 1.0, 0.0], [0.5, 0.8, 0.1], metric=record_factory.metric(**CONTINUOUS)
    )
    relative = delta.pairs.relative(0.02)

    assert relative.differences == pytest.approx((0.01, -0.2 + 0.02, 0.1))
    assert relative.metric.bound == pytest.approx(1.02)


def test_a_delta_keeps_its_confidence(record_factory: Any) -> None:
    """At 95 % the interval is wider, and statsmodels' z of 1.96 gives the all-ties bound."""
    pairs = compare_scores(*record_factory.pairs(0, 0, 50, 0), metric=record_factory.metric()).pairs
    z = stats.norm.ppf(0.975)

    assert Delta(pairs, 0.95).high == pytest.approx(z**2 / (50 + z**2))


def test_a_broken_tolerance_is_claimed_as_strictly_as_a_gain(record_factory: Any) -> None:
    """1 win and 6 losses in 10: a loss of more than -0.0372 is proven, and not of -0.05."""
    base, tuned = record_factory.pairs(1, 6, 3, 0)
    delta = compare_scores(base, tuned, metric=record_factory.metric())

    assert delta.high == pytest.approx(-0.0372, abs=5e-5)
    with pytest.raises(Undecided):
        delta.holds(within=0.05)
