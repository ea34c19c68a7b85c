"""Agreement of a judge with people, and rates behind judged rates."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats import inter_rater

from tests.property_settings import examples
from tunegate.harness.stats.binary import clopper_pearson
from tunegate.harness.stats.judge_accuracy import cohens_kappa, rogan_gladen, rogan_gladen_interval

PROPERTY = examples(60)


@st.composite
def tables(draw):
    """Draw counts of 2 to 4 labels, none of them 0."""
    size = draw(st.integers(2, 4))
    row = st.lists(st.integers(1, 40), min_size=size, max_size=size)
    return draw(st.lists(row, min_size=size, max_size=size))


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
    @given(tables())
    def test_variance_is_that_of_statsmodels(self, table):
        """Estimate and limits before clipping are those of statsmodels, with 2 to 4 labels."""
        interval = cohens_kappa(table, confidence=0.95)
        oracle = inter_rater.cohens_kappa(table)

        assert interval.estimate == pytest.approx(oracle.kappa)
        assert interval.low == pytest.approx(max(-1, oracle.kappa_low))
        assert interval.high == pytest.approx(min(1, oracle.kappa_upp))

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
