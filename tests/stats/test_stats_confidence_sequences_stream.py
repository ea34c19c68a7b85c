"""The evidence of a stream without end: by hand, by enumeration, and over 500 weeks."""

import itertools
import math
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.property_settings import examples
from tunegate.harness.stats.confidence_sequences import (
    BLOCK,
    STREAM_BETS,
    BettingCapital,
    ConfidenceSequence,
    units_needed,
    update_capital,
    update_sequence,
)
from tunegate.harness.stats.tolerance_bounds import worst_rate

PROPERTY = examples(50)


def evidence(values, bound):
    """Return the evidence after each unit by the definition: every beginning on its own."""
    total = np.zeros(len(values))
    blocks = np.arange(len(values)) // BLOCK + 1
    for block in range(1, blocks[-1] + 1):
        part = values[(block - 1) * BLOCK :]
        products = [np.cumprod(1 - c + c * part / bound) for c in STREAM_BETS]
        total[(block - 1) * BLOCK :] += np.mean(products, axis=0) / (block * (block + 1))
    return total + 1 / (blocks + 1)


class TestFollow:
    """follow and advance."""

    def test_one_unit_by_hand(self):
        """A half of the capital is bet at first: 1/2 mean(1 - c + c/0.5) + 1/2 = 1 + mean(c)/2."""
        stream = update_sequence(ConfidenceSequence(), [1.0], bound=0.5)

        assert math.exp(stream.peak) == pytest.approx(1 + sum(STREAM_BETS) / 40)
        assert stream.units == 1

    def test_definition(self):
        """The kept numbers give what all beginnings, each computed on its own, give together."""
        rng = np.random.default_rng(3)
        values = np.concatenate([rng.random(2 * BLOCK) < 0.1, rng.random(BLOCK + 7) < 0.5])

        stream = update_sequence(ConfidenceSequence(), values, bound=0.2)

        assert math.exp(stream.peak) == pytest.approx(evidence(values, 0.2).max(), rel=1e-9)
        assert stream.peak > math.log(100)

    @PROPERTY
    @given(
        values=st.lists(st.floats(0, 1), max_size=3 * BLOCK),
        cuts=st.lists(st.integers(0, 3 * BLOCK), max_size=4),
    )
    def test_cuts(self, values, cuts):
        """However the stream is cut into calls, the result is the same."""
        edges = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
        parts = [values[a:b] for a, b in itertools.pairwise(edges)]

        whole = update_sequence(ConfidenceSequence(), values, bound=0.3)
        parted = reduce(
            lambda stream, part: update_sequence(stream, part, bound=0.3),
            parts,
            ConfidenceSequence(),
        )

        assert parted.units == whole.units == len(values)
        assert parted.peak == pytest.approx(whole.peak, abs=1e-9)
        assert parted.wealth == pytest.approx(whole.wealth, abs=1e-9)

    def test_never_above_alpha(self):
        """Over all 2^13 streams at the bound, at most alpha of the probability reaches 1/alpha."""
        bound = 0.3
        streams = np.array(list(itertools.product((0.0, 1.0), repeat=13)))
        capital = BettingCapital(
            np.full((len(streams), len(STREAM_BETS)), -np.inf), np.zeros(len(streams))
        )
        chance = np.prod(np.where(streams == 1, bound, 1 - bound), axis=1)

        peak = update_capital(capital, streams, bound=np.full(len(streams), bound), seen=0).peak

        for alpha in (0.5, 0.2, 0.1, 0.05):
            alarmed = chance[peak >= math.log(1 / alpha)].sum()
            assert 0 < alarmed <= alpha

    def test_nothing_new(self):
        """No new unit leaves the stream as it is."""
        stream = update_sequence(ConfidenceSequence(), [1.0, 0.0], bound=0.5)

        assert update_sequence(stream, [], bound=0.5) is stream

    @pytest.mark.parametrize("bound", [0.0, -0.1, 1.1, math.nan])
    def test_bound(self, bound):
        """A bound that no mean can have is refused, with its value."""
        with pytest.raises(ValueError, match=f"bound={bound}"):
            update_sequence(ConfidenceSequence(), [1.0], bound=bound)

    def test_values(self):
        """A value outside of 0 to 1 is refused, with its place."""
        with pytest.raises(ValueError, match=r"values\[1\]=2.0"):
            update_sequence(ConfidenceSequence(), [1.0, 2.0], bound=0.5)

    def test_bound_of_one(self):
        """Where the gate's sample leaves every rate possible, nothing is evidence."""
        assert update_sequence(ConfidenceSequence(), [1.0] * 1000, bound=1.0).peak == pytest.approx(
            0.0, abs=1e-12
        )


def weeks(rates, *, n, alpha, calls, count, seed):
    """Return when each of many simulated streams raises an alarm, in calls; inf if never.

    The gate's figure is drawn again for each of them.

    Args:
        rates: Gate's rate, and the stream's.
        n: Cases of the gate.
        alpha: Error of the alarm, half of it for each of the two samples.
        calls: Calls a stream.
        count: Streams.
        seed: Of the generator.
    """
    rng = np.random.default_rng(seed)
    seen = rng.binomial(n, rates[0], size=count)
    bound = np.array([worst_rate(int(k), n, alpha=alpha / 2) for k in seen])
    capital = BettingCapital(np.full((count, len(STREAM_BETS)), -np.inf), np.zeros(count))
    when = np.full(count, np.inf)
    for start in range(0, calls, BLOCK):
        values = (rng.random((count, BLOCK)) < rates[1]).astype(float)
        capital = update_capital(capital, values, bound=bound, seen=start)
        alarmed = capital.peak >= math.log(2 / alpha)
        when = np.where(alarmed & np.isinf(when), start + BLOCK, when)
    return when


class TestError:
    """What the alarm promises, on simulated weeks."""

    @pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
    def test_false_alarms(self, rate):
        """Of 200 streams of 500 weeks with 20 calls, no more raise a false alarm than stated."""
        alpha = 0.05

        when = weeks((rate, rate), n=250, alpha=alpha, calls=10_000, count=200, seed=1)

        assert np.isfinite(when).mean() <= alpha

    def test_would_be_false_without_the_uncertainty_of_the_gate(self):
        rng = np.random.default_rng(1)
        bound = rng.binomial(250, 0.1, size=100) / 250
        capital = BettingCapital(np.full((100, len(STREAM_BETS)), -np.inf), np.zeros(100))
        for start in range(0, 10_000, BLOCK):
            values = (rng.random((100, BLOCK)) < 0.1).astype(float)
            capital = update_capital(capital, values, bound=bound, seen=start)

        assert (capital.peak >= math.log(20)).mean() > 0.2

    def test_a_drop_after_a_long_quiet_time(self):
        """From 98 % to 88 % after 10,000 quiet calls nine streams in ten alarm within 1,000."""
        rng = np.random.default_rng(2)
        alpha, quiet, count = 0.01, 10_000, 100
        bound = np.full(count, worst_rate(5, 250, alpha=alpha / 2))
        capital = BettingCapital(np.full((count, len(STREAM_BETS)), -np.inf), np.zeros(count))
        for start in range(0, quiet + 1000, BLOCK):
            rate = 0.02 if start < quiet else 0.12
            values = (rng.random((count, BLOCK)) < rate).astype(float)
            capital = update_capital(capital, values, bound=bound, seen=start)

        assert (capital.peak >= math.log(2 / alpha)).mean() >= 0.9


class TestUnitsNeeded:
    """units_needed."""

    def test_simulated(self):
        """About half of the streams have raised an alarm by then."""
        alpha = 0.005
        bound = worst_rate(5, 250, alpha=alpha)
        needed = units_needed(0.12, bound=bound, alpha=alpha)
        rng = np.random.default_rng(4)
        values = (rng.random((400, needed)) < 0.12).astype(float)

        share = np.mean(
            [
                update_sequence(ConfidenceSequence(), v, bound=bound).peak >= math.log(200)
                for v in values
            ]
        )

        assert 0.4 < share < 0.65

    def test_definition(self):
        """It is the first number of units at which average growth suffices."""
        needed = units_needed(1.0, bound=0.5, alpha=0.05)
        capital = [sum((1 + c) ** n for c in STREAM_BETS) / 40 for n in (needed - 1, needed)]

        assert capital[0] < 20 <= capital[1]

    def test_never(self):
        """A rate that the bound allows is never found, one just above it not within the limit."""
        assert units_needed(0.2, bound=0.2, alpha=0.05) is None
        assert units_needed(0.2001, bound=0.2, alpha=0.05) is None

    def test_bad(self):
        """Numbers that make no sense are refused."""
        with pytest.raises(ValueError, match="rate=2"):
            units_needed(2, bound=0.2, alpha=0.05)
        with pytest.raises(ValueError, match="alpha=0"):
            units_needed(0.5, bound=0.2, alpha=0)
        with pytest.raises(ValueError, match="bound=0"):
            units_needed(0.5, bound=0, alpha=0.05)
