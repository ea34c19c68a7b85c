"""Prediction-powered inference: a judge's scores set right by people's labels."""

import itertools
import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.property_settings import examples
from tests.t_and_hall import envelope
from tunegate.harness.stats.paired_mean import mean_interval
from tunegate.harness.stats.ppi import (
    JudgeRegression,
    corrected_mean,
    ppi_interval,
    ppi_test,
    ppi_weight,
    sample_distance,
)

PROPERTY = examples(60)

HUMAN = [1, 0, 0, 1, -1, 0, 1, 1, 0, 0, 1, -1]
JUDGE = [1, 0, 1, 1, -1, 0, 1, 0, 0, 0, 1, 0]
REST = [1, 0, 0, -1, 1, 0, 1, 0, 1, 0, 0, 1, -1, 1, 0, 0, 1, 0, 1, 0, 0, 0, -1, 1, 1, 0, 1, 0, 0, 1]


class TestPpi:
    """ppi_weight and ppi_interval."""

    def test_library(self):
        """The weight is that of ppi_py 0.2.3 but for n - 1, with which the estimate is .23083."""
        human, judge, rest = (np.array(x, dtype=float) for x in (HUMAN, JUDGE, REST))
        weight = ppi_weight(human, judge, rest) * 11 / 12

        assert round(human.mean() + weight * (rest.mean() - judge.mean()), 5) == 0.23083
        variance = weight**2 * rest.var() / 30 + (human - weight * judge).var() / 12
        # ppi_mean_ci(..., alpha=.1) = (-.03790, .49956): half-width .26873
        assert round(stats.norm.isf(0.05) * math.sqrt(variance), 5) == 0.26873

    def test_formula(self):
        """Estimate and limits follow the formula with t on n - 1 = 11 degrees of freedom."""
        human, judge, rest = (np.array(x, dtype=float) for x in (HUMAN, JUDGE, REST))
        weight = np.cov(human, judge)[0, 1] / (1.4 * np.append(judge, rest).var(ddof=1))
        estimate = weight * rest.mean() + (human - weight * judge).mean()
        error = np.sqrt(
            weight**2 * rest.var(ddof=1) / 30 + (human - weight * judge).var(ddof=1) / 12
        )
        interval = ppi_interval(HUMAN, JUDGE, REST)

        assert ppi_weight(HUMAN, JUDGE, REST) == pytest.approx(weight)
        assert interval.estimate == pytest.approx(estimate)
        assert interval.high == pytest.approx(estimate + stats.t.ppf(0.95, 11) * error)

    def test_useless_judge(self):
        """A contrary or constant judge earns no weight and leaves the labels their own interval.

        That is the envelope of Student's t and of Hall, as for any other mean.
        """
        expected = envelope(HUMAN)

        for judge in ([-x for x in HUMAN], [0.5] * 12):
            interval = ppi_interval(HUMAN, judge, judge * 2)
            assert ppi_weight(HUMAN, judge, judge * 2) == 0
            assert (interval.low, interval.high) == pytest.approx(expected)

    def test_no_spread(self):
        """Labels without an event leave a rate of ln(20)/60 open, and .05 of it is overlooked."""
        interval = ppi_interval([0] * 60, [0] * 60, [0] * 500, bound=1.0)

        # (1 - .0499)^60 = .046, which tends to .05 with n
        assert interval.high == -interval.low == pytest.approx(math.log(20) / 60)
        assert ppi_interval([0] * 60, [0] * 60, [0] * 500).high == math.inf

    @pytest.mark.parametrize("n", [50, 100, 200])
    @pytest.mark.parametrize("margin", [0.02, 0.05, 0.1])
    def test_exact_size_without_a_judge(self, n, margin):
        """Labels that lose on the margin's share of cases prove a smaller loss in .06 at most.

        The judge is constant, so the labels decide; the size is a sum of binomial probabilities.
        """
        proven = [
            losses
            for losses in range(n // 2)
            if ppi_test(
                [-1] * losses + [0] * (n - losses), [0] * n, [0] * 900, margin=-margin, bound=1.0
            ).p_value
            <= 0.05
        ]

        assert stats.binom(n, margin).cdf(max(proven, default=-1)) <= 0.06

    def test_formula_with_a_bound(self):
        """The error counts one more of each sign; skewness is Hall's; the wider limit is taken."""
        human, judge = np.array([0.0] * 48 + [-1] * 12), np.array([0.0] * 55 + [-1] * 5)
        rest = np.array([0.0] * 380 + [-1] * 20)
        covariance = np.cov(human, judge)[0, 1]
        weight = covariance / ((1 + 60 / 400) * np.append(judge, rest).var(ddof=1))
        values = human - min(weight, 1) * judge
        moved = values - values.mean()
        own = np.append(moved, [-1, 1]).var(ddof=1) / 62
        error = math.sqrt(own + rest.var(ddof=1) / 400)
        third = (moved**3).sum() / 60**3 + ((rest - rest.mean()) ** 3).sum() / 400**3
        skew = third / (np.append(moved, [-1, 1]).var() / 62 + rest.var(ddof=1) / 400) ** 1.5
        q = -stats.t.ppf(0.05, 59)
        estimate = rest.mean() + values.mean()
        interval = ppi_interval(human, judge, rest, bound=1.0)

        assert weight > 1
        assert skew < 0
        assert interval.high == pytest.approx(estimate + q * error)
        assert interval.low == pytest.approx(
            estimate - 3 / skew * (np.cbrt(1 + skew * (q - skew / 6)) - 1) * error
        )

    @pytest.mark.parametrize("seed", [1, 2])
    def test_narrower_with_good_judge(self, seed):
        rng = np.random.default_rng(seed)
        truth = rng.normal(0.1, 1, 600)
        judge = truth + rng.normal(0, 0.3, 600)
        interval = ppi_interval(truth[:100], judge[:100], judge[100:])

        assert interval.width < 0.75 * mean_interval(truth[:100]).width

    def test_error_rate(self):
        """A judge biased towards tuned, 100 labels: each limit errs near .05, naive always."""
        rng = np.random.default_rng(29)
        above, below, naive = [], [], []
        for _ in range(1000):
            truth = rng.choice([-1.0, 0.0, 1.0], p=[0.15, 0.7, 0.15], size=500)
            judge = np.where(rng.random(500) < 0.2, 1.0, truth)
            interval = ppi_interval(truth[:100], judge[:100], judge[100:], bound=1.0)
            above.append(interval.low > 0)
            below.append(interval.high < 0)
            naive.append(mean_interval(judge).low > 0)

        assert np.mean(above) < 0.075
        assert np.mean(below) < 0.075
        assert np.mean(naive) > 0.95

    @PROPERTY
    @given(st.floats(0.01, 100), st.floats(0.5, 0.98))
    def test_scale_negation_level(self, scale, confidence):
        """Unit and sign carry over to the limits; confidence widens them."""
        one = ppi_interval(HUMAN, JUDGE, REST, confidence=confidence)
        other = ppi_interval(
            *(-scale * np.array(x) for x in (HUMAN, JUDGE, REST)), confidence=confidence
        )
        wider = ppi_interval(HUMAN, JUDGE, REST, confidence=confidence + 0.01)

        assert (one.low, one.high) == pytest.approx((-other.high / scale, -other.low / scale))
        assert wider.low < one.low < one.high < wider.high

    @pytest.mark.parametrize(
        ("human", "judge", "rest", "options", "message"),
        [
            ([], [], REST, {}, r"human must hold"),
            ([1], [1], REST, {}, r"number of human=1 must"),
            (HUMAN, JUDGE, [1], {}, r"number of unlabelled=1 must"),
            (HUMAN, JUDGE[1:], REST, {}, r"human, judge shapes=\(12,\), \(11,\) must"),
            (HUMAN, JUDGE, [math.nan, 1], {}, r"unlabelled\[0\]=nan must"),
            (HUMAN, JUDGE, [2, 1], {"bound": 1.0}, r"unlabelled\[0\]=2\.0 must be between"),
            (HUMAN, JUDGE, REST, {"confidence": 1}, r"confidence=1 must"),
        ],
    )
    def test_refuses(self, human, judge, rest, options, message):
        """Labels that do not fit are refused by name and value."""
        with pytest.raises(ValueError, match=message):
            ppi_interval(human, judge, rest, **options)

    def test_no_error_seen(self):
        """A judge that agreed on all 50 labelled cases may err on the next: the interval knows."""
        human = [1, 0, -1, 0, 0] * 10
        interval = ppi_interval(human, human, [1, 0, -1, 0, 0] * 100, bound=1.0)

        # ln(20)/50: what 50 labels without an error leave open
        assert interval.width / 2 > 0.0599
        assert interval.width < mean_interval(human, bound=1.0).width

    @PROPERTY
    @given(st.floats(-0.9, 0.9))
    def test_test_is_the_interval(self, margin):
        p = ppi_test(HUMAN, JUDGE, REST, margin=margin, bound=1.0).p_value
        for error in (p * 0.99, p * 0.5 + 0.5 * min(1.0, p * 1.01)):
            if 1e-9 < error < 0.499:
                low = ppi_interval(HUMAN, JUDGE, REST, confidence=1 - 2 * error, bound=1.0).low
                assert (low > margin) == (p < error)

    def test_test_without_spread(self):
        """Without a bound nothing is known; with one, exp(-60 * .2) is as if all had agreed."""
        assert ppi_test([0] * 60, [0] * 60, [0] * 500, margin=0.0).p_value == 1.0
        p_value = ppi_test([0] * 60, [0] * 60, [0] * 500, margin=-0.2, bound=1.0).p_value
        assert p_value == pytest.approx(math.exp(-12))

    def test_levels_differ_by_the_estimate(self):
        rng = np.random.default_rng(3)
        base, tuned = rng.random((2, 12)).round(2)
        base_judge, tuned_judge = base + 0.1, tuned + rng.random(12).round(1)
        base_rest, tuned_rest = rng.random((2, 30))
        differences = (tuned - base, tuned_judge - base_judge, tuned_rest - base_rest)
        weight = ppi_weight(*differences)
        levels = [
            corrected_mean(*columns, weight=weight)
            for columns in ((base, base_judge, base_rest), (tuned, tuned_judge, tuned_rest))
        ]

        assert levels[1] - levels[0] == pytest.approx(ppi_interval(*differences).estimate)

    def test_weight_is_a_share(self):
        """A weight outside 0 to 1 is refused."""
        with pytest.raises(ValueError, match=r"weight=1\.5 must be between"):
            corrected_mean(HUMAN, JUDGE, REST, weight=1.5)


class TestJudgeRegression:
    """The line of a judge's differences on people's, and its inversion."""

    def test_line_is_that_of_statsmodels(self):
        """Without a bound the error of the line is that of least squares with HC1 errors."""
        fitted = sm.OLS(JUDGE, sm.add_constant(np.array(HUMAN, dtype=float))).fit(cov_type="HC1")
        line = JudgeRegression.of(HUMAN, JUDGE)

        assert line.slope == pytest.approx(fitted.params[1])
        for difference in (-0.4, 0.0, 0.3):
            expected = fitted.get_prediction([[1, difference]]).summary_frame()
            found = line.reported(difference)
            assert found.estimate == pytest.approx(expected["mean"][0])
            assert found.error == pytest.approx(expected["mean_se"][0])
            assert found.degrees == 10

    def test_clusters_are_those_of_statsmodels(self):
        human, judge = np.array(HUMAN * 4, dtype=float), np.array(JUDGE * 4, dtype=float)
        judge = judge + np.repeat([0.3, 0.0, 0.0, -0.1, 0.0, 0.1, 0.0, -0.3], 6)
        names = np.repeat(list("abcdefgh"), 6)
        fitted = sm.OLS(judge, sm.add_constant(human)).fit()
        weights = 1 / 48 + (0.2 - human.mean()) * (human - human.mean()) / (human.var() * 48)
        sums = np.array([(weights * fitted.resid)[names == name].sum() for name in "abcdefgh"])
        found = JudgeRegression.of(human, judge, clusters=names).reported(0.2)

        assert found.error == pytest.approx(math.sqrt((sums**2).sum() * 8 / 6))
        assert found.degrees == 6

    def test_a_judge_that_understates(self):
        """A judge that says .8 of every difference, and .05 more, is turned round exactly."""
        line = JudgeRegression.of(HUMAN, [0.8 * x + 0.05 for x in HUMAN], bound=1.0)

        assert line.seen_by_people(-0.03) == pytest.approx(-0.1)
        assert line.reported(-0.1).estimate == pytest.approx(-0.03)
        # Nothing of the sample is wrong: the rule of three with the largest influence remains.
        moved = np.array(HUMAN) - np.mean(HUMAN)
        influence = 1 + 12 * (-0.1 - np.mean(HUMAN)) * moved / (moved**2).sum()
        assert line.reported(-0.1).unseen == pytest.approx(np.abs(influence).max() / 12)

    def test_a_contrary_judge_says_nothing(self):
        line = JudgeRegression.of(HUMAN, [-x for x in HUMAN])

        assert line.seen_by_people(1.0) == math.inf
        assert line.seen_by_people(-1.0) == -math.inf

    @pytest.mark.parametrize(
        ("human", "judge", "options", "message"),
        [
            ([1, 0, 1], [1, 0, 1], {}, r"number of human=3 must be a whole"),
            ([1] * 9, [1] * 9, {}, r"human=1 must not all be equal"),
            (HUMAN, JUDGE[1:], {}, r"human, judge shapes"),
            (HUMAN, JUDGE, {"bound": 0}, r"bound=0 must"),
            (HUMAN, JUDGE, {"clusters": ["a", "b", "c"] * 4}, r"number of clusters=3 must"),
        ],
    )
    def test_refuses(self, human, judge, options, message):
        """A sample that has no line is refused by name and value."""
        with pytest.raises(ValueError, match=message):
            JudgeRegression.of(human, judge, **options)


class TestSampleDistance:
    """How far a sample is from the values left out."""

    def test_by_enumeration(self):
        """Over all 210 samples of 4 of 10 values the distance has mean 0 and variance 1."""
        values = [0, 0, 1, 0, -1, 1, 1, 0, 0.5, 1]
        distances = [
            sample_distance(
                [values[i] for i in chosen], [v for i, v in enumerate(values) if i not in chosen]
            )
            for chosen in itertools.combinations(range(10), 4)
        ]

        # var(ddof=1) (1/4 + 1/6) is the exact variance over the draws: (1/4 + 1/6) S^2
        assert np.mean(distances) == pytest.approx(0, abs=1e-12)
        assert np.mean(np.square(distances)) == pytest.approx(1)

    def test_a_missed_rare_value_is_no_alarm(self):
        """None of 50 where 5 % of the others are 1 is 1.6 standard errors, and no variation 0."""
        # p = 50/1000 = .05 of all: sqrt(.05 * .95 * 1000/999 * (1/50 + 1/950)) = .03164
        distance = sample_distance([0] * 50, [1] * 50 + [0] * 900)

        assert distance == pytest.approx(-(50 / 950) / 0.03164, rel=1e-3)
        assert sample_distance([1] * 5, [1] * 9) == 0.0
