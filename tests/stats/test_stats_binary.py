"""Score interval and tests of paired 0/1 scores."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats import contingency_tables, proportion

from tests.property_settings import examples
from tunegate.harness.stats.binary import clopper_pearson, mcnemar_midp, tango_interval, tango_test

PROPERTY = examples(100)


@st.composite
def counts(draw):
    """Draw possible wins, losses and n."""
    n = draw(st.integers(1, 300))
    wins = draw(st.integers(0, n))
    return wins, draw(st.integers(0, n - wins)), n


def likelihood_z(wins, losses, n, margin):
    """Score statistic with the nuisance maximised numerically instead of in closed form."""

    def minus_log(loss):
        cells = (loss + margin, loss, 1 - margin - 2 * loss)
        seen = (wins, losses, n - wins - losses)
        return -sum(k * math.log(p) for k, p in zip(seen, cells, strict=True) if k)

    tiny = 1e-12
    found = optimize.minimize_scalar(
        minus_log,
        bounds=(max(0, -margin) + tiny, (1 - margin) / 2 - tiny),
        method="bounded",
        options={"xatol": 1e-12},
    )
    return (wins - losses - n * margin) / math.sqrt(n * (2 * found.x + margin * (1 - margin)))


class TestTangoInterval:
    """tango_interval."""

    @pytest.mark.parametrize(
        ("wins", "losses", "n", "confidence", "low", "high"),
        [
            pytest.param(1, 7, 21, 0.95, -0.5172, -0.0260, id="published, Fagerland 2014"),
            pytest.param(28, 25, 618, 0.90, -0.0148, 0.0247, id="R PropCIs::scoreci.mp"),
            pytest.param(18, 7, 100, 0.90, 0.0291, 0.1934, id="evalstats"),
        ],
    )
    def test_reference(self, wins, losses, n, confidence, low, high):
        """It reproduces limits published or computed by other software."""
        interval = tango_interval(wins, losses, n, confidence=confidence)

        assert (low, high) == (round(interval.low, 4), round(interval.high, 4))
        assert (wins - losses) / n == interval.estimate

    @pytest.mark.parametrize("n", [1, 2, 20, 50, 133, 5000])
    def test_no_discordant_pair(self, n):
        """Without discordant pairs the limits are z^2/(n + z^2), at n = 50 0.0513, not zero."""
        z = stats.norm.ppf(0.95)
        interval = tango_interval(0, 0, n)

        assert pytest.approx(z**2 / (n + z**2), abs=1e-9) == interval.high
        assert interval.low == -interval.high
        if n == 50:
            assert round(interval.high, 4) == 0.0513

    def test_floor_of_proof(self):
        """A tolerance of .02 is provable with 133 tied cases and not with 132."""
        assert tango_interval(0, 0, 133).low > -0.02
        assert tango_interval(0, 0, 132).low < -0.02

    def test_all_wins_and_all_losses(self):
        """The extreme samples end at 1 and -1 and keep a width."""
        assert tango_interval(10, 0, 10).high == 1
        assert 0 < tango_interval(10, 0, 10).low < 1
        assert tango_interval(0, 10, 10).low == -1
        assert -1 < tango_interval(0, 10, 10).high < 0
        assert tango_interval(1, 0, 1).width > 0.5

    @PROPERTY
    @given(counts(), st.floats(0.5, 0.999))
    def test_swap(self, data, confidence):
        """Exchanging the models mirrors the interval."""
        wins, losses, n = data
        one = tango_interval(wins, losses, n, confidence=confidence)
        other = tango_interval(losses, wins, n, confidence=confidence)

        assert (one.low, one.high) == (-other.high, -other.low)

    @PROPERTY
    @given(counts(), st.floats(0.5, 0.98))
    def test_nested(self, data, confidence):
        """More confidence gives a wider interval around the same estimate, never an empty one."""
        inner = tango_interval(*data, confidence=confidence)
        outer = tango_interval(*data, confidence=confidence + 0.01)

        assert -1 <= outer.low <= inner.low <= inner.estimate <= inner.high <= outer.high <= 1
        assert inner.width > 0

    @PROPERTY
    @given(counts(), st.floats(-0.98, 0.98), st.floats(0.5, 0.99))
    def test_agrees_with_test(self, data, margin, confidence):
        """The lower limit clears a margin exactly if the test rejects it at (1 - confidence)/2."""
        low = tango_interval(*data, confidence=confidence).low
        p_value = tango_test(*data, margin=margin).p_value

        if abs(low - margin) > 1e-7:
            assert (low > margin) == (p_value < (1 - confidence) / 2)


class TestTangoTest:
    """tango_test."""

    def test_reference(self):
        """18 wins and 7 losses of 100 against .02 give Z = 1.8219, p = .0342."""
        result = tango_test(18, 7, 100, margin=0.02)

        assert (round(result.statistic, 4), round(result.p_value, 4)) == (1.8219, 0.0342)
        assert result.margin == 0.02

    def test_margin_zero_is_mcnemar(self):
        """At margin 0 the statistic is (b - c)/sqrt(b + c), here 11/5."""
        assert tango_test(18, 7, 100).statistic == pytest.approx(11 / 5)
        asymptotic = 2 * tango_test(7, 1, 21).p_value
        assert round(asymptotic, 4) == 0.0339  # BMC 2013

    @pytest.mark.parametrize(
        ("wins", "losses", "n", "margin"),
        [(18, 7, 100, 0.02), (3, 5, 40, -0.1), (9, 1, 50, 0.05), (1, 7, 21, 0.3), (2, 2, 9, -0.4)],
    )
    def test_numeric_likelihood(self, wins, losses, n, margin):
        """The closed-form nuisance equals the numerically maximised one."""
        expected = likelihood_z(wins, losses, n, margin)

        assert tango_test(wins, losses, n, margin=margin).statistic == pytest.approx(expected)

    def test_all_ties(self):
        """All ties say nothing at margin 0 and speak for non-inferiority below it."""
        assert (tango_test(0, 0, 9).statistic, tango_test(0, 0, 9).p_value) == (0.0, 0.5)
        # Z = n m / sqrt(n m (1 - m)) = sqrt(100 * .1 / .9)
        assert tango_test(0, 0, 100, margin=-0.1).statistic == pytest.approx(math.sqrt(10 / 0.9))
        assert tango_test(0, 0, 100, margin=0.1).p_value > 0.99

    @PROPERTY
    @given(counts(), st.floats(-0.95, 0.9))
    def test_monotone_in_margin(self, data, margin):
        """A larger margin is harder to beat."""
        nearer = tango_test(*data, margin=margin).p_value
        farther = tango_test(*data, margin=margin + 0.05).p_value

        assert nearer <= farther + 1e-12

    @PROPERTY
    @given(counts(), st.floats(-0.99, 0.99))
    def test_swap(self, data, margin):
        """Exchanging the models and negating the margin negates the statistic."""
        wins, losses, n = data
        one = tango_test(wins, losses, n, margin=margin).statistic
        other = tango_test(losses, wins, n, margin=-margin).statistic

        assert one == pytest.approx(-other, rel=1e-6, abs=1e-6)


class TestMcnemarMidp:
    """mcnemar_midp."""

    def test_reference(self):
        """18 wins against 7 losses give .0145, half the two-sided mid-p of statsmodels."""
        exact = contingency_tables.mcnemar([[0, 18], [7, 0]], exact=True).pvalue / 2

        result = mcnemar_midp(18, 7)

        assert round(result.p_value, 4) == 0.0145
        assert result.p_value == pytest.approx(exact - stats.binom.pmf(18, 25, 0.5) / 2)
        assert round(exact, 4) == 0.0216

    def test_published(self):
        """7 against 1 has the two-sided mid-p .0391 of Fagerland 2013, 10/256."""
        assert 2 * mcnemar_midp(7, 1).p_value == pytest.approx(10 / 256)

    def test_fewest_wins(self):
        """Four wins without a loss are the fewest that reach .05: 1/32, against 1/16 with three."""
        assert mcnemar_midp(4, 0).p_value == pytest.approx(1 / 32)
        assert mcnemar_midp(3, 0).p_value == pytest.approx(1 / 16)

    def test_no_discordant_pair(self):
        """Without discordant pairs p is 1."""
        assert mcnemar_midp(0, 0).p_value == 1

    @PROPERTY
    @given(st.integers(0, 500), st.integers(0, 500))
    def test_opposite_directions(self, wins, losses):
        """The p-values of the two directions add up to 1, unless there is nothing to count."""
        total = mcnemar_midp(wins, losses).p_value + mcnemar_midp(losses, wins).p_value

        assert total == pytest.approx(1 if wins + losses else 2)


class TestClopperPearson:
    """clopper_pearson."""

    def test_reference(self):
        """47 of 50 give (.8522, .9834), as in statsmodels."""
        interval = clopper_pearson(47, 50)

        assert (
            interval.estimate,
            round(interval.low, 4),
            round(interval.high, 4),
        ) == (0.94, 0.8522, 0.9834)

    @pytest.mark.parametrize(("n", "floor"), [(14, 0.8), (29, 0.9), (59, 0.95), (299, 0.99)])
    def test_certified_floor(self, n, floor):
        """The fewest faultless cases that certify a floor are known: alpha^(1/n) >= floor."""
        assert clopper_pearson(n, n).low >= floor
        assert clopper_pearson(n - 1, n - 1).low < floor
        assert clopper_pearson(n, n).low == pytest.approx(0.05 ** (1 / n))

    @PROPERTY
    @given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
    def test_statsmodels(self, data):
        """It equals statsmodels' beta method and mirrors under exchange of success and failure."""
        k, n = data
        low, high = proportion.proportion_confint(k, n, alpha=0.1, method="beta")
        interval = clopper_pearson(k, n)
        mirrored = clopper_pearson(n - k, n)

        assert interval.low == pytest.approx(0 if k == 0 else low)
        assert interval.high == pytest.approx(1 if k == n else high)
        assert (interval.low, interval.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tango_interval(0, 0, 0), r"n=0 must be a whole number of at least 1"),
        (lambda: tango_interval(-1, 0, 5), r"wins=-1 must"),
        (lambda: tango_interval(1.0, 0, 5), r"wins=1\.0 must be a whole number"),
        (lambda: tango_interval(True, 0, 5), r"wins=True must"),
        (lambda: tango_interval(3, 3, 5), r"wins\+losses=6 must not exceed n=5"),
        (lambda: tango_interval(1, 1, 5, confidence=1.0), r"confidence=1\.0 must"),
        (lambda: tango_interval(1, 1, 5, confidence=math.nan), r"confidence=nan must"),
        (lambda: tango_test(1, 1, 5, margin=1.0), r"margin=1\.0 must"),
        (lambda: tango_test(1, 1, 5, margin=math.nan), r"margin=nan must"),
        (lambda: mcnemar_midp(1, -2), r"losses=-2 must"),
        (lambda: clopper_pearson(6, 5), r"k=6 must not exceed n=5"),
        (lambda: clopper_pearson(0, 0), r"n=0 must"),
        (lambda: clopper_pearson(0, 5, confidence=0.0), r"confidence=0\.0 must"),
    ],
)
def test_refuses(call, message):
    """Impossible counts and levels are refused by name and value."""
    with pytest.raises(ValueError, match=message):
        call()
