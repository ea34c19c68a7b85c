"""Judged scores corrected by human labels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats import inter_rater

from harness.stats.binary import clopper_pearson
from harness.stats.judge import (
    cohens_kappa,
    ppi_interval,
    ppi_weight,
    rogan_gladen,
    rogan_gladen_interval,
)
from harness.stats.paired import mean_interval

PROPERTY = settings(deadline=None, max_examples=60, derandomize=True, database=None)

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
        """A contrary or constant judge earns no weight and leaves the t interval of the labels."""
        expected = stats.ttest_1samp(HUMAN, 0).confidence_interval(0.9)

        for judge in ([-x for x in HUMAN], [0.5] * 12):
            interval = ppi_interval(HUMAN, judge, judge * 2)
            assert ppi_weight(HUMAN, judge, judge * 2) == 0
            assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))

    def test_no_spread(self):
        """Where nothing varies the labels decide alone, and keep a width."""
        interval = ppi_interval([0] * 60, [0] * 60, [0] * 500, bound=1.0)

        assert interval == mean_interval([0] * 60, bound=1.0)
        assert ppi_interval([0] * 60, [0] * 60, [0] * 500).high == math.inf

    @pytest.mark.parametrize("seed", [1, 2])
    def test_narrower_with_good_judge(self, seed):
        """A good judge on many cases narrows the interval of the labels."""
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
            (HUMAN, JUDGE, [2, 1], {"bound": 1.0}, r"unlabelled\[0\]=2\.0 must lie between"),
            (HUMAN, JUDGE, REST, {"confidence": 1}, r"confidence=1 must"),
        ],
    )
    def test_refuses(self, human, judge, rest, options, message):
        """Labels that do not fit are refused by name and value."""
        with pytest.raises(ValueError, match=message):
            ppi_interval(human, judge, rest, **options)


class TestRoganGladen:
    """rogan_gladen and rogan_gladen_interval."""

    def test_reference(self):
        """.72 by a judge with .90 and .85 is .57/.75 = .76."""
        assert rogan_gladen(0.72, sensitivity=0.90, specificity=0.85) == pytest.approx(0.76)

    def test_clipped(self):
        """A rate below the false alarms is 0, one above the sensitivity 1."""
        assert rogan_gladen(0.1, sensitivity=0.9, specificity=0.85) == 0
        assert rogan_gladen(0.95, sensitivity=0.9, specificity=0.85) == 1

    @PROPERTY
    @given(st.floats(0, 1), st.floats(0.6, 1), st.floats(0.6, 1))
    def test_inverts_the_judge(self, truth, sensitivity, specificity):
        """It undoes what an imperfect judge does to a true rate."""
        rate = truth * sensitivity + (1 - truth) * (1 - specificity)
        value = rogan_gladen(rate, sensitivity=sensitivity, specificity=specificity)

        assert truth == pytest.approx(value, abs=1e-9)

    def test_large_sample(self):
        """With everything large it is the delta method, here half-width .0058."""
        # rate .72, se .9, sp .85, J = .75, p = .76, each from 100 000 cases:
        # (.72*.28 + .76^2*.09 + .24^2*.1275)/1e5/.5625
        variance = (0.72 * 0.28 + 0.76**2 * 0.09 + 0.24**2 * 0.1275) / 1e5 / 0.75**2
        table = [[90_000, 10_000], [15_000, 85_000]]
        interval = rogan_gladen_interval(72_000, 100_000, table)

        assert interval.estimate == pytest.approx(0.76)
        assert interval.width / 2 == pytest.approx(1.644854 * math.sqrt(variance), rel=1e-3)

    def test_coverage(self):
        """100 calibration cases: either limit errs with at most .06."""
        rng = np.random.default_rng(31)
        above, below = [], []
        for _ in range(2000):
            hits, passes = rng.binomial(50, 0.9), rng.binomial(50, 0.85)
            table = [[hits, 50 - hits], [50 - passes, passes]]
            positives = int(rng.binomial(1000, 0.8 * 0.9 + 0.2 * 0.15))
            interval = rogan_gladen_interval(positives, 1000, table)
            above.append(interval.low > 0.8)
            below.append(interval.high < 0.8)

        assert np.mean(above) < 0.06
        assert np.mean(below) < 0.06

    @pytest.mark.parametrize("positives", [0, 50, 100])
    def test_flawless_judge(self, positives):
        """A judge without error in calibration still leaves a width."""
        interval = rogan_gladen_interval(positives, 100, [[30, 0], [0, 30]])

        assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
        assert interval.estimate == pytest.approx(positives / 100)
        assert interval.width > 0.03

    def test_tiny_calibration(self):
        """One labelled case of each kind is flawless and still says nothing much."""
        assert rogan_gladen_interval(5, 10, [[1, 0], [0, 1]]).width > 0.8

    def test_wide_when_smoothing_leaves_nothing(self):
        """A judge too close to guessing once smoothed leaves the whole range."""
        interval = rogan_gladen_interval(5, 10, [[1, 0], [1000, 150]])

        assert (interval.low, interval.high) == (0.0, 1.0)

    @pytest.mark.parametrize(
        ("positives", "n", "table", "message"),
        [
            (5, 0, [[9, 1], [1, 9]], r"n=0 must"),
            (11, 10, [[9, 1], [1, 9]], r"positives=11 must"),
            (5, 10, [[0, 0], [1, 9]], r"human positives in table=0 must"),
            (5, 10, [[9, 1], [0, 0]], r"human negatives in table=0 must"),
            (5, 10, [[5, 5], [5, 5]], r"sensitivity\+specificity=1 must be at least 1\.1"),
            (5, 10, [[5, 5, 1]] * 3, r"table\.shape=\(3, 3\) must be \(2, 2\)"),
        ],
    )
    def test_refuses(self, positives, n, table, message):
        """Impossible counts and judges that guess are refused by name and value."""
        with pytest.raises(ValueError, match=message):
            rogan_gladen_interval(positives, n, table)

    def test_refuses_rates(self):
        """Rates outside [0, 1] are refused."""
        with pytest.raises(ValueError, match=r"rate=1\.2 must"):
            rogan_gladen(1.2, sensitivity=0.9, specificity=0.9)
        with pytest.raises(ValueError, match=r"specificity=nan must"):
            rogan_gladen(0.2, sensitivity=0.9, specificity=math.nan)


class TestCohensKappa:
    """cohens_kappa."""

    def test_reference(self):
        """The WiCE judge has .4616 (.2841, .6391) at 95 %, as in statsmodels."""
        interval = cohens_kappa([[18, 4], [19, 59]], confidence=0.95)
        oracle = inter_rater.cohens_kappa([[18, 4], [19, 59]])

        assert (
            round(interval.estimate, 4),
            round(interval.low, 4),
            round(interval.high, 4),
        ) == (0.4616, 0.2841, 0.6391)
        assert interval.low == pytest.approx(oracle.kappa_low)

    def test_perfect_agreement(self):
        """Perfect agreement of 40 keeps a width: (.05^(1/40) - .5)/.5 = .856."""
        interval = cohens_kappa([[20, 0], [0, 20]])

        assert (interval.estimate, interval.high) == (1.0, 1.0)
        assert interval.low == pytest.approx((clopper_pearson(40, 40).low - 0.5) / 0.5)
        assert round(interval.low, 3) == 0.856

    def test_one_label_only(self):
        """If a side uses only one label, kappa is unknown, neither perfect nor surely 0."""
        for table in ([[40, 0], [0, 0]], [[0, 0], [1, 20]], [[0, 0], [1, 2]], [[0, 0], [1, 0]]):
            interval = cohens_kappa(table)
            assert (interval.low, interval.high) == (-1.0, 1.0)
            assert interval.estimate == pytest.approx(0)

    def test_independent_labels(self):
        """Independent labels have kappa 0, three of them as well."""
        assert cohens_kappa([[10, 20], [20, 40]]).estimate == pytest.approx(0)
        assert cohens_kappa([[4, 4, 4], [2, 2, 2], [6, 6, 6]]).estimate == pytest.approx(0)

    @PROPERTY
    @given(st.lists(st.integers(0, 40), min_size=4, max_size=4).filter(any))
    def test_always_an_interval(self, cells):
        """Every table gives an interval with a width within [-1, 1], the same when transposed."""
        table = np.reshape(cells, (2, 2))
        interval, transposed = cohens_kappa(table), cohens_kappa(table.T)

        assert -1 <= interval.low <= interval.estimate <= interval.high <= 1
        assert interval.width > 0
        assert interval.low == pytest.approx(transposed.low)

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ([[1, 2]], r"table\.shape=\(1, 2\) must be \(2, 2\)"),
            ([[3]], r"table\.shape=\(1, 1\) must"),
            ([[1, -2], [0, 3]], r"table=\[\[1, -2\], \[0, 3\]\] must hold whole counts"),
            ([[1.5, 2], [0, 3]], r"must hold whole counts"),
            ([[0, 0], [0, 0]], r"must hold whole counts, not all zero"),
        ],
    )
    def test_refuses(self, table, message):
        """Tables that are not square counts are refused."""
        with pytest.raises(ValueError, match=message):
            cohens_kappa(table)
