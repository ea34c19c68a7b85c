"""Clustered cases: jackknife interval and score interval on reduced counts."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from tests.property_settings import examples
from tests.t_and_hall import hall_limits
from tunegate.harness.stats.binary import clopper_pearson, tango_interval
from tunegate.harness.stats.clusters import (
    clustered_binary_interval,
    clustered_binary_test,
    clustered_rate_interval,
    design_effect,
)
from tunegate.harness.stats.paired_mean import mean_interval, mean_test
from tunegate.harness.stats.unit_means import independent_units

PROPERTY = examples(60)

D = [0, 0.2, -0.1, 0.3, 0, 0, 0.5, 0.1, -0.05, 0.25, 0.4, 0, 0.15, -0.2, 0.35, 0.1, 0, 0.3, 0.2]
D.append(0.05)
BINARY = [1, 1, 0, 0, -1, 0, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, -1, 0, 1, 1, 0, 0, 0, 0, 0, 1]
BINARY += [0, 0]
TRIPLES = np.repeat(np.arange(10), 3)


@st.composite
def clustered(draw):
    """Draw differences in {-1, 0, 1} with cluster labels, at least two of them used."""
    rows = draw(st.lists(st.tuples(st.sampled_from([-1, 0, 1]), st.integers(0, 5)), min_size=2))
    assume(len({label for _, label in rows}) > 1)
    return [value for value, _ in rows], [label for _, label in rows]


class TestMeanInterval:
    """mean_interval with clusters."""

    def test_reference(self):
        """Five clusters of four: scipy's t upper limit of the means and Hall's lower one.

        The means are .1, .1375, .125, .125 and .15: skewed to the left, so that Hall's correction
        lowers the lower limit from .1031, for 1.4 times the skewness, as no bound is known.
        """
        interval = mean_interval(D, clusters=np.repeat(np.arange(5), 4))
        means = np.reshape(D, (5, 4)).mean(axis=1)
        expected = stats.ttest_1samp(means, 0).confidence_interval(0.9)

        assert (round(expected.low, 4), round(expected.high, 4)) == (0.1031, 0.1519)
        assert interval.low == pytest.approx(hall_limits(means, factor=1.4)[0])
        assert interval.high == pytest.approx(expected.high)

    def test_rare_failures_of_whole_clusters(self):
        """One lost cluster in 100 equal ones: Hall's limit, not t's, which 4 in 100 would exceed.

        With one value of -1 among zeros, t's lower limit is -.01 - 1.660 * .01 = -.0266; a share of
        .0266 would show one such cluster or none in 25 % of samples.
        """
        values, labels = [-1.0] * 2 + [0.0] * 198, np.repeat(np.arange(100), 2)
        low = mean_interval(values, bound=1.0, clusters=labels).low

        assert stats.binom.cdf(1, 100, 0.0266) == pytest.approx(0.25, abs=0.01)
        assert stats.binom.cdf(1, 100, -low) < 0.06

    def test_unequal_sizes(self):
        """Unequal clusters are weighted by case: means .5, .2, .5 left out one at a time."""
        # Clusters {0, 0}, {1}, {.5}: mean 1.5/4; left out: 1.5/2, .5/3, 1/3.
        left = np.array([1.5 / 2, 0.5 / 3, 1 / 3])
        error = math.sqrt(2 / 3 * ((left - left.mean()) ** 2).sum())
        interval = mean_interval([0, 0, 1, 0.5], clusters=["a", "a", "b", "c"])

        # Clusters of 2, 1 and 1 count as 16/6 equal ones: 5/3 degrees of freedom.
        assert interval.estimate == pytest.approx(0.375)
        assert interval.high == pytest.approx(0.375 + stats.t.ppf(0.95, 5 / 3) * error)

    @pytest.mark.parametrize("bound", [None, 1.0])
    def test_singletons(self, bound):
        """A cluster for every case changes nothing, the guard included."""
        assert mean_interval(D, bound=bound, clusters=range(20)) == mean_interval(D, bound=bound)

    def test_guarded(self):
        """Clusters of a bounded score have the guards of as many cases."""
        labels = np.repeat(np.arange(5), 4)
        interval = mean_interval(D, bound=1.0, clusters=labels)
        single = mean_interval(np.reshape(D, (5, 4)).mean(axis=1), bound=1.0)

        assert (interval.low, interval.high) == pytest.approx((single.low, single.high))
        assert interval.low < mean_interval(D, clusters=labels).low - 0.1

    def test_equal_clusters(self):
        """Clusters with equal means are no proof: guarded if bounded, no limits if not."""
        values, labels = [0.0, 0.2] * 100, np.repeat(np.arange(100), 2)

        assert mean_interval(values, bound=1.0, clusters=labels).width > 0.03
        assert mean_interval(values, clusters=labels).high == math.inf
        assert mean_test(values, margin=0.1, bound=1.0, clusters=labels).p_value == 1

    def test_error_rate(self):
        """Correlated cases, 20 clusters: the limits err at .05, not at .2 as without clusters."""
        rng = np.random.default_rng(11)
        labels = np.repeat(np.arange(20), 5)
        naive, honest = [], []
        for _ in range(1000):
            values = rng.normal(0, 1, 20)[labels] + rng.normal(0, 1, 100)
            naive.append(mean_interval(values).low > 0)
            honest.append(mean_interval(values, clusters=labels).low > 0)

        assert 0.03 < np.mean(honest) < 0.07
        assert np.mean(naive) > 0.12


class TestClusteredBinary:
    """clustered_binary_interval, clustered_binary_test and design_effect."""

    def test_reference(self):
        """Twenty clusters of three with design effect 1: Tango's limits with a t quantile."""
        level = 2 * stats.norm.cdf(stats.t.ppf(0.95, 19)) - 1
        interval = clustered_binary_interval([*BINARY, *BINARY], np.repeat(np.arange(20), 3))
        tango = tango_interval(16, 4, 60, confidence=level)

        assert (interval.low, interval.high) == pytest.approx((tango.low, tango.high))
        assert design_effect(BINARY, TRIPLES) == 1
        assert interval.estimate == pytest.approx(0.2)

    def test_identical_cases(self):
        """Four copies of every case have the effect of the sizes and one copy's information."""
        values = [1, -1, 0, 1, 0, 0, 1, 0, 0, 0] * 3
        labels = np.repeat(np.arange(30), 4)
        effect = design_effect(np.repeat(values, 4), labels)
        interval = clustered_binary_interval(np.repeat(values, 4), labels)
        # jackknife variance s^2/30 over population variance/120: 4 * 30/29
        level = 2 * stats.norm.cdf(stats.t.ppf(0.95, 29)) - 1
        single = tango_interval(9, 3, 30, confidence=level)

        assert effect == pytest.approx(4 * 30 / 29)
        assert interval.low == pytest.approx(single.low, abs=0.005)
        assert interval.low < single.low

    def test_all_ties(self):
        """All ties leave what ten clusters may have missed, each as one case: 1 - .05^(1/10)."""
        interval = clustered_binary_interval([0] * 30, TRIPLES)

        assert design_effect([0] * 30, TRIPLES) == 3
        assert interval.high == pytest.approx(1 - 0.05**0.1)
        assert interval.low == pytest.approx(-interval.high)

    def test_tolerance_takes_clusters_not_cases(self):
        """Without a change 59 clusters prove a tolerance of .05, and 58 of any size do not."""
        # .95^58 = .0510 and .95^59 = .0485; Tango's t^2/(G + t^2) alone would need 53.
        fewer = clustered_binary_test([0] * 1160, np.repeat(np.arange(58), 20), margin=-0.05)
        enough = clustered_binary_test([0] * 118, np.repeat(np.arange(59), 2), margin=-0.05)

        assert fewer.p_value == pytest.approx(0.95**58)
        assert enough.p_value == pytest.approx(0.95**59)

    def test_tolerance_is_that_of_a_bounded_mean(self):
        # 60 clusters of five: three lose two cases, three win two, of design effect 1.9.
        changes = [[-1, -1, 0, 0, 0]] * 3 + [[1, 1, 0, 0, 0]] * 3 + [[0] * 5] * 54
        values, labels = np.concatenate(changes), np.repeat(np.arange(60), 5)
        means = np.mean(changes, axis=1)
        p_value = clustered_binary_test(values, labels, margin=-0.05).p_value

        assert p_value == pytest.approx(mean_test(means, margin=-0.05, bound=1.0).p_value)
        assert p_value < 0.06
        low = clustered_binary_interval(values, labels).low
        assert low == pytest.approx(mean_interval(means, bound=1.0).low)

    def test_proven_gain_does_not_hide_lost_clusters(self):
        # If .136 of the clusters are lost whole and a tenth of the others' cases won, .05 are lost.
        values, labels = np.tile([1, 0, 0, 0, 0, 0, 0, 0, 0, 0], 20), np.repeat(np.arange(20), 10)

        assert clustered_binary_interval(values, labels).low > 0
        assert clustered_binary_test(values, labels, margin=0.0).p_value < 0.001
        found = clustered_binary_test(values, labels, margin=-0.05).p_value
        assert found == pytest.approx((1 - 0.15 / 1.1) ** 20)
        assert found > 0.05

    def test_all_ties_unequal(self):
        """Without variation the effect is the sum of squared sizes over the sum of sizes."""
        assert design_effect([0] * 4, [1, 1, 1, 2]) == (9 + 1) / 4

    @PROPERTY
    @given(clustered(), st.floats(-0.95, 0.95), st.floats(0.5, 0.99))
    def test_agrees_with_test(self, data, margin, confidence):
        """The lower limit clears the margin exactly if p is below (1 - confidence)/2."""
        low = clustered_binary_interval(*data, confidence=confidence).low
        p_value = clustered_binary_test(*data, margin=margin).p_value

        assume(abs(low - margin) > 1e-6)
        # A tolerance allows for unseen clusters even if the interval is above 0.
        assume(margin >= 0 or low < 0)
        assert (low > margin) == (p_value < (1 - confidence) / 2)

    @PROPERTY
    @given(clustered())
    def test_negation_and_order(self, data):
        """Exchanging the models mirrors the interval; order and names of clusters do not matter."""
        values, labels = data
        one = clustered_binary_interval(values, labels)
        other = clustered_binary_interval([-v for v in values], labels)
        renamed = clustered_binary_interval(values[::-1], [f"c{label}" for label in labels[::-1]])

        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
        assert (one.low, one.high) == pytest.approx((renamed.low, renamed.high))
        assert one.width > 0

    @PROPERTY
    @given(clustered())
    def test_not_narrower_than_independent(self, data):
        values, labels = data
        wins, losses = values.count(1), values.count(-1)
        plain = tango_interval(wins, losses, len(values))
        interval = clustered_binary_interval(values, labels)

        assert interval.low <= plain.low + 1e-9
        assert interval.high >= plain.high - 1e-9


def proves(rule: str, large: int, small: int, failed: int) -> bool:
    """Return whether clusters of two and of one case, some of two failed, prove .05 or .95."""
    values = np.array([-1.0] * 2 * failed + [0.0] * (2 * (large - failed) + small))
    labels = np.concatenate([np.repeat(np.arange(large), 2), np.arange(large, large + small)])
    if rule == "floor":
        return clustered_rate_interval(1 + values, labels).low >= 0.95
    if rule == "score":
        return mean_test(values, margin=-0.05, bound=1.0, clusters=labels).p_value <= 0.05
    return clustered_binary_test(values, labels, margin=-0.05).p_value <= 0.05


class TestClusteredRate:
    """clustered_rate_interval and independent_units."""

    @pytest.mark.parametrize("failing", [0, 1, 4, 19, 20])
    def test_agreeing_clusters_are_cases(self, failing):
        successes = np.repeat([0] * failing + [1] * (20 - failing), 7)
        exact = clopper_pearson(20 - failing, 20)
        interval = clustered_rate_interval(successes, np.repeat(np.arange(20), 7))

        assert (interval.low, interval.high) == pytest.approx((exact.low, exact.high), abs=1e-7)
        assert interval.estimate == pytest.approx(1 - failing / 20)

    def test_unequal_clusters(self):
        """Clusters of 1 to 8 cases: quantiles of a Dirichlet-weighted ratio, by simulation."""
        # A twelfth cluster joins in, as large as the largest, which hold a tenth of the 40 cases.
        rng = np.random.default_rng(3)
        sizes = np.array([1, 2, 8, 3, 5, 5, 2, 4, 1, 6, 3])
        right = np.array([1, 1, 6, 3, 5, 2, 2, 4, 0, 6, 2])
        weights = rng.exponential(size=(400_000, 12)) * np.append(sizes, 8)
        shares = weights / weights.sum(axis=1, keepdims=True)
        successes = np.concatenate([np.arange(m) < r for m, r in zip(sizes, right, strict=True)])
        interval = clustered_rate_interval(successes, np.repeat(np.arange(11), sizes))

        assert interval.low == pytest.approx(
            np.quantile(shares @ np.append(right / sizes, 0), 0.05), abs=0.002
        )
        assert interval.high == pytest.approx(
            np.quantile(shares @ np.append(right / sizes, 1), 0.95), abs=0.002
        )

    def test_unseen_clusters_count_beside_seen_failures(self):
        # All cluster means are .95: the limit is .95 times the least share of 60 that are seen.
        successes = np.tile([0] + [1] * 19, 59)
        interval = clustered_rate_interval(successes, np.repeat(np.arange(59), 20))

        assert interval.low == pytest.approx(0.95 * 0.05 ** (1 / 59))

    @PROPERTY
    @given(clustered(), st.floats(0.5, 0.99))
    def test_mirror(self, data, confidence):
        """Failures have the mirrored limits, which hold the estimate between them."""
        values, labels = data
        right = [int(value > 0) for value in values]
        one = clustered_rate_interval(right, labels, confidence=confidence)
        other = clustered_rate_interval([1 - r for r in right], labels, confidence=confidence)

        assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-9)
        assert 0 <= one.low <= one.estimate <= one.high <= 1
        assert one.width > 0

    def test_refuses(self):
        """Values that are no share of a success are refused by place and value."""
        with pytest.raises(ValueError, match=r"successes\[1\]=-1\.0 must be between 0 and 1"):
            clustered_rate_interval([0, -1], [1, 2])

    @pytest.mark.parametrize(
        ("sizes", "units"), [([5] * 20, 20), ([1, 1, 1, 3], 3), ([50] + [1] * 50, 100**2 / 2550)]
    )
    def test_independent_units(self, sizes, units):
        """Equal clusters count whole; one with half of the cases leaves hardly four."""
        assert independent_units(sizes) == units

    @pytest.mark.parametrize("rule", ["0/1", "score", "floor"])
    @pytest.mark.parametrize("count", [59, 68, 80, 96, 100])
    def test_only_large_clusters_fail(self, rule, count):
        """Exact: a quarter is twice as large, and only these fail, so that .05 is lost."""
        # Of 5/4 cases a cluster, .05 are lost: an eighth of the quarter that has two.
        wrong = 0.0
        for large in range(count + 1):
            chance = stats.binom.pmf(large, count, 0.25)
            for failed in range(min(large, 3) + 1) if chance > 1e-5 else ():
                if proves(rule, large, count - large, failed):
                    wrong += chance * stats.binom.pmf(failed, large, 0.125)

        # With the size of a random case's cluster it is .170 with 59 scores and .119 with 68.
        assert wrong < 0.05


@pytest.mark.parametrize("function", [clustered_binary_interval, clustered_binary_test])
@pytest.mark.parametrize(
    ("values", "labels", "message"),
    [
        ([], [], r"differences must hold at least one value"),
        ([1, 0.5], [1, 2], r"differences\[1\]=0\.5 must be -1, 0 or 1"),
        ([1, math.nan], [1, 2], r"differences\[1\]=nan must be finite"),
        ([1, 0], [1, 1], r"number of clusters=1 must be at least 2"),
        ([1, 0], [1, 2, 3], r"len\(clusters\)=3 must equal the number of cases, 2"),
    ],
)
def test_refuses(function, values, labels, message):
    """Other values and useless clusters are refused by name and value."""
    with pytest.raises(ValueError, match=message):
        function(values, labels)


def test_refuses_settings():
    """Levels and margins out of range are refused by name and value."""
    with pytest.raises(ValueError, match=r"confidence=2 must"):
        clustered_binary_interval([1, 0], [1, 2], confidence=2)
    with pytest.raises(ValueError, match=r"margin=-1 must"):
        clustered_binary_test([1, 0], [1, 2], margin=-1)


@pytest.mark.parametrize(("clusters_with_a_loss", "effect"), [(1, 5.0), (4, 5.0), (5, 1.0)])
def test_few_telling_clusters_count_as_agreeing(clusters_with_a_loss, effect):
    """Twenty clusters of five, one loss in some of them.

    From five such clusters on the effect is estimated (here below 1, so 1); before, it is what it
    is if the five cases always agreed: 25 * 20 / 100 = 5.
    """
    differences = np.zeros(100)
    differences[: 5 * clusters_with_a_loss : 5] = -1

    assert design_effect(differences, np.repeat(np.arange(20), 5)) == pytest.approx(effect)
