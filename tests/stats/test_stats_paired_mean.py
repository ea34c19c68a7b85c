"""Mean of paired differences: interval, test and guards."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.emplike.descriptive import DescStat

from tests.property_settings import examples
from tests.t_and_hall import hall_limits
from tunegate.harness.stats.paired_mean import mean_interval, mean_test, unseen_loss_units

PROPERTY = examples(100)

D = [0, 0.2, -0.1, 0.3, 0, 0, 0.5, 0.1, -0.05, 0.25, 0.4, 0, 0.15, -0.2, 0.35, 0.1, 0, 0.3, 0.2]
D.append(0.05)

scores = st.lists(st.integers(-100, 100).map(lambda k: k / 100), min_size=2, max_size=70)


def unseen_p(values, margin, bound=1.0):
    """Maximise the probability of an unseen loss and of so good a rest on a grid of shares.

    What the maximum lies below exp(-distance) at large distances counts but for a share: the
    squared ratio of the third moment and the second, in losses of the whole range, and (8/n)^2.
    """
    n, mean = len(values), np.mean(values)
    error = np.std(values, ddof=1) / math.sqrt(n)
    one_loss = (bound + mean) / n
    grid = np.linspace(-8, 8, 16_001)
    credit = max(0.0, -np.max(stats.norm.logcdf(grid) - error / one_loss * grid))
    gain = stats.skew(values) / math.sqrt(n) * error / one_loss
    distance = n * math.log((bound + mean) / (bound + margin))
    distance -= credit * min(1.0, max(0.0, gain) ** 2 + (8 / n) ** 2)
    struck = np.linspace(0, 30, 300_001)
    return float(np.max(np.exp(-struck) * stats.norm.cdf((struck - distance) * one_loss / error)))


class TestPairedMeanInterval:
    """mean_interval."""

    def test_light_tails(self):
        """Unbounded: the envelope of scipy's t limits and Hall's for 1.4 times the skewness."""
        t = stats.ttest_1samp(D, 0).confidence_interval(0.9)
        hall = hall_limits(D, factor=1.4)
        interval = mean_interval(D)

        assert [round(t.low, 4), round(t.high, 4)] == [0.0572, 0.1978]
        assert [round(limit, 4) for limit in hall_limits(D)] == [0.0601, 0.2011]
        assert interval.estimate == pytest.approx(0.1275)
        assert interval.low == pytest.approx(min(t.low, hall[0]))
        assert interval.high == pytest.approx(max(t.high, hall[1]))

    def test_guarded(self):
        """Bounded by 1, 20 cases are guarded by what they may have missed, as they vary little."""
        interval = mean_interval(D, bound=1.0)
        values = np.array(D)
        low = optimize.brentq(lambda m: unseen_p(values, m) - 0.05, -0.1, 0.12, xtol=1e-6)
        high = optimize.brentq(lambda m: unseen_p(-values, -m) - 0.05, 0.14, 0.4, xtol=1e-6)

        assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-4)
        assert interval.low < mean_interval(D).low < mean_interval(D).high < interval.high

    def test_much_spread(self):
        """With spread to spare, whatever the number of cases, the bound widens nothing."""
        values = np.tile([-0.6, -0.3, 0.0, 0.3, 0.6], 10)

        assert mean_interval(values, bound=1.0).low == pytest.approx(mean_interval(values).low)
        few = mean_interval(values[:20], bound=1.0).low
        assert few == pytest.approx(mean_interval(values[:20]).low)

    def test_two_values(self):
        """Of two values the guard takes a step off the mean: 1.2 / 50 for 50 cases of -.6 or .6.

        The limit then solves exp(-a) Phi((a - d)/s) = .05 at the worst a, for the lowered mean.
        """
        values = np.tile([-0.6, 0.6], 25)
        mean, error = -1.2 / 50, 0.6 / math.sqrt(49)
        s = 50 * error / (1 + mean)

        def excess(margin: float) -> float:
            d = 50 * math.log((1 + mean) / (1 + margin))
            a = np.linspace(0, 20, 20001)
            return float((np.exp(-a) * stats.norm.cdf((a - d) / s)).max()) - 0.05

        expected = optimize.brentq(excess, -0.9, -0.05)

        assert mean_interval(values, bound=1.0).low == pytest.approx(expected, abs=1e-4)

    @pytest.mark.filterwarnings("ignore:DescStatUV.test_mean:FutureWarning")
    def test_few_losses_among_few_gains(self):
        """One total loss and three gains of .6 in 100 cases do not prove a tolerance of .02.

        Where 3.2 % lose all and 2 % gain .6, t and Hall alone would pass such samples, and err
        with .078. The signed root at -.02, by statsmodels, is that of p = .07.
        """
        values = np.array([-1.0] + [0.6] * 3 + [0.0] * 96)
        ratio = DescStat(values).test_mean(-0.02)[0]
        excess = stats.kurtosis(values, fisher=False) - 1
        degrees = 1 / (1 / 99 + excess / 300)
        found = mean_test(values, margin=-0.02, bound=1.0).p_value

        assert found == pytest.approx(stats.t.sf(math.sqrt(ratio), degrees), abs=1e-6)
        assert mean_test(values, margin=-0.02).p_value < 0.05 < found

    @pytest.mark.parametrize("n", [20, 40, 60, 100])
    @pytest.mark.parametrize(("margin", "gain"), [(0.0, 0.6), (-0.02, 0.6), (-0.05, 1.0)])
    def test_rare_losses_and_rare_gains(self, n, margin, gain):
        """Few lose all, few gain: an exact error of at most .06 in every mixture, not of .078."""
        counts = [(k, w) for k in range(13) for w in range(26) if k + w <= n]
        proven = [
            (k, w)
            for k, w in counts
            if w * gain - k > n * margin
            and mean_test(
                [-1.0] * k + [gain] * w + [0.0] * (n - k - w), margin=margin, bound=1.0
            ).p_value
            <= 0.05
        ]
        found = np.array([(k, w, n - k - w) for k, w in proven])
        wins = np.concatenate([[0.0], np.geomspace(0.2 / n, 8 / n, 12)])
        losses = wins * gain - margin
        worst = max(
            stats.multinomial.pmf(found, n, [loss, win, 1 - loss - win]).sum()
            for loss, win in zip(losses, wins, strict=True)
            if loss > 0
        )

        assert 0.03 < worst <= 0.06

    @pytest.mark.parametrize(
        ("n", "values", "margin", "chances"),
        [
            (7, (0.0, -1.0, 0.89), -0.1, (0.5805, 0.2504)),
            (12, (-0.188, -1.0, 0.633), -0.006, (0.535, 0.122)),
            (18, (-0.146, -1.0, 0.618), -0.007, (0.623, 0.092)),
            (24, (0.0, -1.0, 0.96), -0.01, (0.7234, 0.1406)),
            (41, (0.0, -1.0, 0.78), -0.02, (0.9002, 0.055)),
            (60, (-0.13, -1.0, 0.68), -0.15, (0.9502, 0.0359)),
            (36, (-0.18, -1.0, 0.3), 0.0, (0.506, 0.044)),
            (47, (-0.206, -1.0, 0.254), 0.0, (0.469, 0.03)),
            (47, (-0.292, -1.0, 0.234), 0.0, (0.381, 0.027)),
        ],
    )
    def test_adversaries(self, n, values, margin, chances):
        """Populations found by differential evolution against weaker guards: .06 at most, exactly.

        Without the withheld share, with fewer degrees of freedom only where the kurtosis asks
        for them, or without the step of the mean, these err with .0604 to .0681.
        """
        mids, losses, _ = values
        chance = np.array([*chances, 1 - sum(chances)])
        # The share of losses is set so that the mean is exactly the margin.
        rest = chance[[0, 2]] @ np.array(values)[[0, 2]] / chance[[0, 2]].sum()
        share = (rest - margin) / (rest - losses)
        chance = np.array([1, 0, 1]) * chance / chance[[0, 2]].sum() * (1 - share)
        chance[1] = share
        found = 0.0
        for k in range(min(n, 7) + 1):
            for won in range(n + 1 - k):
                sample = [losses] * k + [values[2]] * won + [mids] * (n - k - won)
                if np.mean(sample) > margin + 1e-9:
                    p_value = mean_test(sample, margin=margin, bound=1.0).p_value
                    found += (p_value <= 0.05) * stats.multinomial.pmf(
                        [n - k - won, k, won], n, chance
                    )

        assert 0.005 < found <= 0.06

    @pytest.mark.parametrize("n", [60, 100, 400])
    @pytest.mark.parametrize("deviation", [0.003, 0.05, 0.1, 0.15])
    @pytest.mark.parametrize("mean", [-0.3, 0.0, 0.02])
    def test_unseen_losses(self, n, deviation, mean):
        """The p-value is the larger one of t and Hall and of the maximum over unseen shares."""
        values = mean + deviation * np.tile([-2, -1, 0, 1, 2], n // 5) / math.sqrt(2)
        for margin in (mean - 0.05, mean - 0.02, mean - 0.004):
            plain = mean_test(values, margin=margin).p_value
            found = mean_test(values, margin=margin, bound=1.0).p_value

            assert found == pytest.approx(max(plain, unseen_p(values, margin)), rel=1e-4)

    def test_unseen_gains(self):
        """The upper limit allows for unseen gains as the lower one for losses, in any unit."""
        values = 0.01 + 0.05 * np.tile([-2, -1, 0, 1, 2], 20) / math.sqrt(2)
        interval = mean_interval(values, bound=1.0)
        limit = optimize.brentq(lambda m: unseen_p(-values, -m) - 0.05, 0.011, 0.2)

        assert interval.high == pytest.approx(limit, rel=1e-3)
        # If nothing varied, the limit would be the exact bound on what was never seen, .0398.
        assert 0.02 < interval.high < 1 - 0.99 * 0.05**0.01
        assert interval.high > mean_interval(values).high
        assert mean_interval(7 * values, bound=7.0).high == pytest.approx(7 * interval.high)

    @pytest.mark.parametrize("n", [20, 59, 60, 150, 400])
    @pytest.mark.parametrize("gain", [0.0, 0.01, 0.1])
    def test_rare_total_failures(self, n, gain):
        """All cases gain a little, a few lose everything: exact error at most .06 at any share.

        The number of losses is binomial, so that the error is a finite sum. It is .05 where none
        is seen, by construction, and Hall's where a few are.
        """
        lows = np.array(
            [
                mean_interval([-1.0] * k + [gain] * (n - k), bound=1.0).low
                for k in range(min(n, 40) + 1)
            ]
        )
        share = np.linspace(1e-4, 0.3, 1500)[:, np.newaxis]
        chance = stats.binom.pmf(np.arange(lows.size), n, share)
        proven = lows > (1 - share) * gain - share + 1e-12

        assert 0.03 < (chance * proven).sum(axis=1).max() <= 0.06

    @pytest.mark.parametrize("value", [0.0, 0.1, -0.7, 1.0])
    @pytest.mark.parametrize("n", [2, 30, 50, 400])
    def test_no_spread(self, value, n):
        """Without spread the limits are those of n successes of n; unbounded ones have none."""
        interval = mean_interval([value] * n, bound=1.0)
        exact = stats.binomtest(n, n).proportion_ci(0.9, "exact").low
        low, high = (1 + value) * exact - 1, 1 - (1 - value) * exact

        assert interval.estimate == pytest.approx(value)
        assert interval.low == pytest.approx(max(-1, min(value, low)))
        assert interval.high == pytest.approx(min(1, max(value, high)))
        assert interval.width > 0
        unbounded = mean_interval([value] * n)
        assert (-math.inf, math.inf) == (unbounded.low, unbounded.high)

    def test_no_spread_but_rounding(self):
        interval = mean_interval([0.3 - 0.2, 0.2 - 0.1, 0.1] * 30)

        assert interval.low == -math.inf

    @pytest.mark.parametrize(("bound", "limit"), [(None, math.inf), (1.0, 1.0), (4, 4.0)])
    def test_one_case(self, bound, limit):
        """One case tells its own value and nothing about the mean."""
        interval = mean_interval([0.25], bound=bound)

        assert (0.25, -limit, limit) == (interval.estimate, interval.low, interval.high)

    def test_huge_and_tiny_values(self):
        """Values whose squares would overflow or vanish are handled like any others."""
        for scale in (1e300, 1e-300):
            interval = mean_interval(np.array(D) * scale)
            assert interval.low == pytest.approx(mean_interval(D).low * scale)

    @PROPERTY
    @given(scores, st.booleans(), st.floats(0.5, 0.99))
    def test_negation(self, values, bounded, confidence):
        """Negating the differences mirrors the interval."""
        bound = 1.0 if bounded else None
        one = mean_interval(values, bound=bound, confidence=confidence)
        other = mean_interval([-v for v in values], bound=bound, confidence=confidence)

        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))

    @PROPERTY
    @given(scores, st.floats(1e-6, 1e6), st.randoms(use_true_random=False))
    def test_scale_and_order(self, values, scale, random):
        """Changing the unit changes the limits alike; the order of the cases does not matter."""
        shuffled = [v * scale for v in values]
        random.shuffle(shuffled)
        one = mean_interval(values, bound=1.0)
        other = mean_interval(shuffled, bound=scale)

        assert (other.low, other.high) == pytest.approx((one.low * scale, one.high * scale))

    @PROPERTY
    @given(scores, st.booleans(), st.floats(0.3, 0.98))
    def test_nested(self, values, bounded, confidence):
        """More confidence gives a wider interval around the estimate, within the bound."""
        bound = 1.0 if bounded else None
        inner = mean_interval(values, bound=bound, confidence=confidence)
        outer = mean_interval(values, bound=bound, confidence=confidence + 0.01)

        assert outer.low <= inner.low <= inner.estimate <= inner.high <= outer.high
        assert inner.width > 0
        if bounded:
            assert -1 <= outer.low <= outer.high <= 1


class TestMeanTest:
    """mean_test."""

    def test_light_tails(self):
        """Where the t limit is the lower one, p is scipy's one-sided p, .0027."""
        expected = stats.ttest_1samp(D, 0, alternative="greater").pvalue

        assert mean_test(D).p_value == pytest.approx(expected)
        assert round(expected, 4) == 0.0027

    def test_all_ties(self):
        """All ties have p = 1 at margin 0; non-inferiority needs enough of them."""
        assert mean_test([0.0] * 400, bound=1.0).p_value == 1
        assert mean_test([0.0] * 400, margin=-0.02, bound=1.0).p_value < 0.05
        assert mean_test([0.0] * 40, margin=-0.02, bound=1.0).p_value > 0.05
        assert mean_test([0.0] * 400, margin=-0.02).p_value == 1

    @pytest.mark.parametrize(
        ("margin", "effect", "bound", "units"),
        # 1 - .05^(1/149) = .01990 and 1 - .05^(1/148) = .02004: no failure in 149 excludes .02.
        [(-0.02, 0.0, 1.0, 149), (-0.05, 0.0, 1.0, 59), (-2.0, 0.0, 100.0, 149), (0, 0.01, 1, 302)],
    )
    def test_fewest_units(self, margin, effect, bound, units):
        """So many equal differences prove the margin, and one less does not."""
        assert unseen_loss_units(margin, bound=bound, effect=effect) == units
        proven, less = (
            mean_test([effect] * n, margin=margin, bound=bound).p_value for n in (units, units - 1)
        )
        assert proven <= 0.05 < less

    def test_no_more_to_lose(self):
        result = mean_test([-1.0] * 60, margin=-0.99, bound=1.0)

        assert result.p_value == 1
        assert mean_interval([-1.0] * 60, bound=1.0).low == -1

    def test_one_case(self):
        """One case proves nothing."""
        assert mean_test([0.9], margin=-0.5, bound=1.0).p_value == 1

    @PROPERTY
    @given(scores, st.booleans(), st.floats(-0.99, 0.99), st.floats(0.05, 0.99))
    def test_agrees_with_interval(self, values, bounded, margin, confidence):
        """The lower limit clears the margin exactly if p is below (1 - confidence)/2."""
        bound = 1.0 if bounded else None
        low = mean_interval(values, bound=bound, confidence=confidence).low
        result = mean_test(values, margin=margin, bound=bound)

        assume(abs(low - margin) > 1e-6)
        assert (low > margin) == (result.p_value < (1 - confidence) / 2)

    @PROPERTY
    @given(scores, st.floats(-0.95, 0.9), st.booleans())
    def test_monotone_in_margin(self, values, margin, bounded):
        """A larger margin is harder to beat."""
        bound = 1.0 if bounded else None
        nearer = mean_test(values, margin=margin, bound=bound).p_value
        farther = mean_test(values, margin=margin + 0.05, bound=bound).p_value

        assert 0 <= nearer <= farther + 1e-9 <= 1 + 1e-9


@pytest.mark.parametrize("function", [mean_interval, mean_test])
@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, r"differences must hold at least one value"),
        ([0.1, math.nan], {}, r"differences\[1\]=nan must be finite"),
        ([0.1, -math.inf], {"bound": 1.0}, r"differences\[1\]=-inf must be finite"),
        ([[0.1]], {}, r"differences\.ndim=2 must be 1"),
        ([0.1, 1.5], {"bound": 1.0}, r"differences\[1\]=1\.5 must be between"),
        ([0.1], {"bound": -1.0}, r"bound=-1\.0 must be positive"),
        ([0.1], {"bound": math.nan}, r"bound=nan must"),
        ([0.1, 0.2], {"clusters": [1]}, r"len\(clusters\)=1 must equal"),
        ([0.1, 0.2], {"clusters": [1, 1]}, r"number of clusters=1 must be at least 2"),
        ([0.1, 0.2], {"clusters": ["a", None]}, r"clusters\[1\]=None must be a label"),
    ],
)
def test_refuses(function, values, options, message):
    """Data that mean nothing are refused by name and value."""
    with pytest.raises(ValueError, match=message):
        function(values, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval(D, confidence=0.0), r"confidence=0\.0 must"),
        (lambda: mean_test(D, margin=math.nan), r"margin=nan must"),
        (lambda: mean_test(D, margin=1.0, bound=1.0), r"margin=1\.0 must"),
        (lambda: unseen_loss_units(-1.0, bound=1.0), r"margin=-1\.0 must"),
        (lambda: unseen_loss_units(0.1, bound=1.0), r"effect=0\.0 must"),
        (lambda: unseen_loss_units(-0.1, bound=-1.0), r"bound=-1\.0 must"),
    ],
)
def test_refuses_settings(call, message):
    """Settings out of range are refused by name and value."""
    with pytest.raises(ValueError, match=message):
        call()
