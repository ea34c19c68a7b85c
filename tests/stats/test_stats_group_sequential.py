"""Early stopping: bounds, repeated intervals, futility and the e-process."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from tests.property_settings import examples
from tunegate.harness.stats.binary import tango_interval, tango_test
from tunegate.harness.stats.confidence_sequences import (
    e_process_interval,
    e_process_test,
    log_e_values,
)
from tunegate.harness.stats.group_sequential import (
    conditional_power,
    crossing_probability,
    efficacy_bounds,
    kim_demets,
    look_sizes,
    obrien_fleming,
    repeated_confidence,
)

PROPERTY = examples(50)

TWENTY = [k / 20 for k in range(1, 21)]
Y = [1, 0.5, 0.5, 1, 0, 1, 0.5, 1, 1, 0.5]
D = [2 * y - 1 for y in Y]


class TestCrossingProbability:
    """crossing_probability: the power of a design with looks."""

    def test_without_drift_it_is_the_error(self):
        """The bounds spend .05, so some look is crossed with .05."""
        bounds = efficacy_bounds(TWENTY, alpha=0.05)

        found = crossing_probability(TWENTY, bounds.tolist(), drift=0.0)

        assert found == pytest.approx(0.05, abs=1e-5)

    @pytest.mark.parametrize("drift", [0.5, 2.0, 4.0])
    def test_two_looks_with_a_floor(self, drift):
        """z at .4 and at 1 correlate by √.4: the rectangle of scipy's bivariate normal."""
        both = stats.multivariate_normal([drift * 0.4**0.5, drift], [[1, 0.4**0.5], [0.4**0.5, 1]])
        first = stats.norm.sf(2.2, drift * 0.4**0.5)

        def later(low, high):
            """P(low < z1 < high, z2 > 1.7)."""
            marginal = np.diff(stats.norm.cdf([low, high], drift * 0.4**0.5))[0]
            return marginal - (both.cdf([high, 1.7]) - both.cdf([low, 1.7]))

        plain = crossing_probability([0.4, 1.0], [2.2, 1.7], drift=drift)
        floored = crossing_probability([0.4, 1.0], [2.2, 1.7], drift=drift, floors=[0.3, -9.0])

        assert plain == pytest.approx(first + later(-9.0, 2.2), abs=2e-4)
        assert floored == pytest.approx(first + later(0.3, 2.2), abs=2e-4)


class TestEfficacyBounds:
    """efficacy_bounds and the spending functions."""

    def test_obrien_fleming(self):
        """Five looks at .025 give the bounds of gsDesign."""
        bounds = efficacy_bounds([0.2, 0.4, 0.6, 0.8, 1.0], alpha=0.025, spending=obrien_fleming)

        assert bounds.round(4).tolist() == [4.8769, 3.3570, 2.6803, 2.2898, 2.0310]

    def test_kim_demets(self):
        """Twenty looks at .05 give 4.3687 3.2658 2.6447 2.1914 1.8048 at 1, 5, 10, 15, 20."""
        bounds = efficacy_bounds(TWENTY)

        assert bounds.round(4)[[0, 4, 9, 14, 19]].tolist() == [
            4.3687,
            3.2658,
            2.6447,
            2.1914,
            1.8048,
        ]
        assert bounds[0] == pytest.approx(stats.norm.isf(0.05 / 8000))

    def test_one_look(self):
        """A single look at the end is the fixed test."""
        assert efficacy_bounds([1.0])[0] == pytest.approx(stats.norm.isf(0.05))

    def test_two_looks(self):
        """Two looks agree with the bivariate normal distribution of scipy."""
        first, last = efficacy_bounds([0.3, 1.0], alpha=0.05, spending=lambda t, a: a * t)
        pair = stats.multivariate_normal(cov=[[1, math.sqrt(0.3)], [math.sqrt(0.3), 1]])

        assert first == pytest.approx(stats.norm.isf(0.015))
        assert pair.cdf([first, last]) == pytest.approx(0.95, abs=1e-5)

    def test_crossing_probability(self):
        """Random walks without drift cross the twenty bounds with probability .05."""
        rng = np.random.default_rng(17)
        walks = rng.normal(0, math.sqrt(1 / 20), (100_000, 20)).cumsum(axis=1)
        crossed = (walks / np.sqrt(TWENTY) > efficacy_bounds(TWENTY)).any(axis=1).mean()

        assert crossed == pytest.approx(0.05, abs=0.0025)

    def test_nothing_to_spend(self):
        """A look that may spend nothing cannot be crossed."""
        bounds = efficacy_bounds([0.5, 1.0], spending=lambda t, a: a if t == 1 else 0.0)

        assert bounds[0] == math.inf
        assert bounds[1] == pytest.approx(stats.norm.isf(0.05), abs=1e-6)

    @PROPERTY
    @given(st.lists(st.integers(1, 100), min_size=1, max_size=8, unique=True))
    def test_stricter_alpha(self, hundredths):
        """Less error to spend moves every bound up, for any schedule of looks."""
        fractions = [k / 100 for k in sorted(hundredths)]
        loose, strict = (efficacy_bounds(fractions, alpha=alpha) for alpha in (0.05, 0.01))

        assert (strict > loose).all()

    def test_spending(self):
        """Both functions spend everything at the end and grow towards it."""
        for spending in (kim_demets, obrien_fleming):
            spent = [spending(t, 0.05) for t in TWENTY]
            assert spent[-1] == pytest.approx(0.05)
            assert spent == sorted(spent)
        assert kim_demets(0.5, 0.05) == pytest.approx(0.05 / 8)


class TestRepeatedConfidence:
    """repeated_confidence."""

    def test_value(self):
        """A bound of 1.96 is 95 % confidence; an enormous one stays below 100 %."""
        assert repeated_confidence(stats.norm.isf(0.025)) == pytest.approx(0.95)
        assert repeated_confidence(50.0) < 1

    @PROPERTY
    @given(st.integers(0, 100), st.integers(0, 100), st.floats(0.1, 5), st.floats(-0.5, 0.5))
    def test_agrees_with_bound(self, wins, losses, bound, margin):
        """The repeated interval excludes a margin exactly if the statistic crosses the bound."""
        z = tango_test(wins, losses, 200, margin=margin).statistic
        low = tango_interval(wins, losses, 200, confidence=repeated_confidence(bound)).low

        assume(abs(low - margin) > 1e-6)
        assert (low > margin) == (z > bound)


class TestConditionalPower:
    """conditional_power."""

    def test_by_hand(self):
        """Halfway at z = 0 with drift 2: Phi((1 - 1.6449)/sqrt(.5)) = .181."""
        value = conditional_power(0.0, 0.5, bound=1.6449, drift=2.0)

        assert value == pytest.approx(stats.norm.cdf((1 - 1.6449) / math.sqrt(0.5)))
        assert round(value, 3) == 0.181

    def test_start_is_power(self):
        """With almost nothing seen it is the power of the fixed test."""
        value = conditional_power(0.0, 1e-12, bound=1.6449, drift=2.4865)

        assert value == pytest.approx(0.8, abs=1e-3)

    @PROPERTY
    @given(st.floats(-4, 4), st.floats(0.01, 0.99), st.floats(-3, 5))
    def test_monotone(self, z, fraction, drift):
        """A better start and a stronger drift never lower it."""
        value = conditional_power(z, fraction, bound=1.8, drift=drift)

        assert 0 <= value <= conditional_power(z + 0.1, fraction, bound=1.8, drift=drift)
        assert value <= conditional_power(z, fraction, bound=1.8, drift=drift + 0.1)


class TestEProcess:
    """log_e_values, e_process_test and e_process_interval."""

    def test_reference(self):
        """The mixture of ten observations ends at log e = .6265."""
        path = log_e_values(D, margin=0.0, bound=1.0)
        by_hand = np.mean(
            [
                math.prod(1 - c + c * y / 0.5 for y in Y)
                for c in np.exp(np.linspace(math.log(0.01), math.log(0.7), 20))
            ]
        )

        assert round(path[-1], 4) == 0.6265
        assert path[-1] == pytest.approx(math.log(by_hand))

    def test_one_bet(self):
        """One bet of .3 (lambda .6) ends at 2.5991, as confseq.betting_mart: 1.3^5 * .7."""
        path = log_e_values(D, margin=0.0, bound=1.0, bets=[0.3])

        assert round(math.exp(path[-1]), 4) == 2.5991
        assert math.exp(path[-1]) == pytest.approx(1.3**5 * 0.7)

    def test_long_run(self):
        """A long winning streak overflows nothing."""
        path = log_e_values([1.0] * 5000, margin=0.0, bound=1.0)

        assert path[-1] == pytest.approx(5000 * math.log(1.7) - math.log(20), rel=1e-3)
        assert e_process_test([1.0] * 5000, bound=1.0).p_value == 0

    def test_anytime_error(self):
        """Looking after every case of a true null rejects in at most 5 % of the streams."""
        rng = np.random.default_rng(23)
        streams = rng.choice([-1.0, 0.0, 1.0], p=[0.15, 0.7, 0.15], size=(800, 200))
        p_values = [e_process_test(stream, bound=1.0).p_value for stream in streams]

        assert np.mean(np.array(p_values) <= 0.05) < 0.05

    def test_interval_of_two_sides(self):
        """At the lower limit of the 90 % interval the evidence against the margin is 20, not 10."""
        values = [1.0] * 30 + [0.0] * 10 + [-1.0] * 5

        low = e_process_interval(values, bound=1.0, confidence=0.90).low

        assert log_e_values(values, margin=low, bound=1.0).max() == pytest.approx(
            math.log(20), abs=1e-6
        )

    @PROPERTY
    @given(st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=60), st.floats(-0.9, 0.9))
    def test_interval_agrees_and_mirrors(self, values, margin):
        """The lower limit clears a margin exactly if the evidence reaches 20; signs mirror it."""
        interval = e_process_interval(values, bound=1.0)
        mirrored = e_process_interval([-v for v in values], bound=1.0)
        result = e_process_test(values, margin=margin, bound=1.0)

        assert (interval.low, interval.high) == pytest.approx((-mirrored.high, -mirrored.low))
        assert interval.low <= interval.estimate <= interval.high
        assume(abs(interval.low - margin) > 1e-6)
        assert (interval.low > margin) == (result.p_value <= 0.05)

    @PROPERTY
    @given(st.lists(st.floats(-1, 1), min_size=1, max_size=40), st.randoms(use_true_random=False))
    def test_order_of_the_total(self, values, random):
        shuffled = list(values)
        random.shuffle(shuffled)
        last = log_e_values(values, margin=0.1, bound=1.0)[-1]

        assert last == pytest.approx(log_e_values(shuffled, margin=0.1, bound=1.0)[-1], abs=1e-9)
        assert last <= log_e_values(values, margin=0.0, bound=1.0)[-1] + 1e-12


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: efficacy_bounds([]), r"fractions must hold"),
        (lambda: efficacy_bounds([0.5, 0.4]), r"fractions=\[0\.5, 0\.4\] must grow"),
        (lambda: efficacy_bounds([0.0, 1.0]), r"fractions=.* must grow"),
        (lambda: efficacy_bounds([0.5, 1.1]), r"fractions=.* must grow"),
        (lambda: efficacy_bounds([1.0], alpha=0.5), r"alpha=0\.5 must"),
        (lambda: repeated_confidence(0.0), r"bound=0\.0 must be positive"),
        (lambda: conditional_power(1.0, 1.0, bound=2.0, drift=1.0), r"fraction=1\.0 must"),
        (lambda: conditional_power(math.nan, 0.5, bound=2.0, drift=1.0), r"z=nan must"),
        (lambda: log_e_values([], margin=0.0, bound=1.0), r"differences must hold"),
        (lambda: log_e_values([2.0], margin=0.0, bound=1.0), r"differences\[0\]=2\.0 must"),
        (lambda: log_e_values([0.1], margin=1.0, bound=1.0), r"margin=1\.0 must"),
        (lambda: log_e_values([0.1], margin=0.0, bound=1.0, bets=[1.0]), r"bets=\[1\.0\] must"),
        (lambda: e_process_interval([0.1], bound=1.0, confidence=1.0), r"confidence=1\.0 must"),
    ],
)
def test_refuses(call, message):
    """Schedules and settings out of range are refused by name and value."""
    with pytest.raises(ValueError, match=message):
        call()


def test_looks_may_come_every_quarter() -> None:
    """Of 504 cases 126; of 100 the least step is 32, and one of 36 ends the plan."""
    assert look_sizes(504, first=50, most=4) == [126, 252, 378, 504]
    assert look_sizes(100, most=4) == [32, 64, 100]
    with pytest.raises(ValueError, match="most"):
        look_sizes(100, most=0)


@pytest.mark.parametrize(
    ("n", "first", "sizes"),
    [
        (200, 20, (32, 64, 96, 128, 160, 200)),  # 192 would leave a step of 8
        (250, 50, (64, 96, 128, 160, 192, 224, 250)),  # 32 lies before the first look
        (1000, 20, tuple(range(50, 1001, 50))),  # 5 % are more than 32
        (30, 20, (30,)),
        (1, 20, (1,)),
    ],
)
def test_looks_come_every_twentieth_or_32_cases(n: int, first: int, sizes: tuple[int, ...]) -> None:
    """At most 20 looks, the last one at the end of the plan."""
    assert tuple(look_sizes(n, first=first)) == sizes
