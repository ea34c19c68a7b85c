"""Confidence sequences: anytime-valid tests by betting, for runs and for endless streams.

Only for streams whose length is not known beforehand; otherwise `efficacy_bounds` finds the same
effect with 30 to 40 points more power.

Evidence that the mean of a stream has risen above a bound comes from bets against "the mean is at
most the bound". They restart at every block, so a change after a long quiet time is found about as
fast as one at the start. Only one number per bet is kept between two looks.

Example:
    >>> quiet = update_sequence(ConfidenceSequence(), [0, 0, 1, 0] * 50, bound=0.3)
    >>> loud = update_sequence(ConfidenceSequence(), [1, 0, 1, 0] * 50, bound=0.3)
    >>> quiet.peak < math.log(20) < loud.peak
    True
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.stats import validation
from tunegate.harness.stats.types import Interval, OneSidedTest
from tunegate.harness.stats.validation import Floats

BETS: tuple[float, ...] = tuple(float(bet) for bet in np.geomspace(0.01, 0.7, 20))
"""Shares of the capital that the bets of the mixture put at stake."""


def log_e_values(
    differences: ArrayLike, *, margin: float, bound: float, bets: Sequence[float] = BETS
) -> Floats:
    """Log evidence against "mean at most `margin`" after each case.

    Args:
        differences: tuned minus base per case, within plus and minus `bound`, in order of arrival.
        margin: Null value, strictly within plus and minus `bound`.
        bound: Largest possible absolute difference.
        bets: Shares at stake, each in (0, 1).

    Returns:
        One value per case; the last does not depend on the order. Reaching log(1/alpha) at any
        time rejects at level alpha.

    Source: Waudby-Smith and Ramdas (2024), JRSS B 86:1-27: mean over c of
    prod(1 - c + c y / m), y and m the differences and the margin mapped to [0, 1].
    """
    validation.check_positive("bound", bound)
    validation.check_between("margin", margin, -bound, bound)
    values = validation.check_ranged("differences", differences, -bound, bound)
    stakes = validation.check_vector("bets", bets)[:, np.newaxis]
    if (stakes <= 0).any() or (stakes >= 1).any():
        raise ValueError(f"bets={list(bets)} must all be strictly between 0 and 1")
    gains = (values + bound) / (margin + bound)
    wealth = np.log1p(stakes * (gains - 1)).cumsum(axis=1)
    # The largest wealth is taken out before exponentiating, so that long runs do not overflow.
    top = wealth.max(axis=0)
    return np.asarray(top + np.log(np.exp(wealth - top).mean(axis=0)))


def e_process_test(differences: ArrayLike, *, margin: float = 0.0, bound: float) -> OneSidedTest:
    """Test at any time that the mean exceeds `margin`.

    Args:
        differences: tuned minus base per case, in order of arrival.
        margin: Null value, strictly within plus and minus `bound`.
        bound: Largest possible absolute difference.

    Returns:
        The largest log evidence so far and its p-value min(1, exp(-it)), valid at every stop.

    Source: Ville's inequality.

    Trap: the order of arrival must not depend on the results.
    """
    peak = float(log_e_values(differences, margin=margin, bound=bound).max())
    return OneSidedTest(peak, math.exp(min(0.0, -peak)), margin, "e-process, mixture of bets")


def e_process_interval(
    differences: ArrayLike, *, bound: float, confidence: float = CONFIDENCE
) -> Interval:
    """Interval for the mean that holds at every look at once.

    Args:
        differences: tuned minus base per case, in order of arrival.
        bound: Largest possible absolute difference.
        confidence: Two-sided level.

    Source: inversion of `e_process_test` by bisection; its evidence falls as the margin grows.
    """
    validation.check_between("confidence", confidence, 0, 1)
    values = validation.check_vector("differences", differences)
    needed = math.log(2 / (1 - confidence))
    low = _lower(values, bound, needed)
    high = -_lower(-values, bound, needed)
    estimate = max(low, min(high, float(values.mean())))
    return Interval(estimate, low, high, confidence, "e-process, mixture of bets")


def _lower(values: Floats, bound: float, needed: float) -> float:
    """Largest margin that the evidence still refutes, or -bound."""
    low, high = -bound, bound
    for _ in range(60):
        middle = (low + high) / 2
        # Inside a rounding error of the ends there is no margin left to test.
        if not -bound < middle < bound:
            break
        refuted = float(log_e_values(values, margin=middle, bound=bound).max()) >= needed
        low, high = (middle, high) if refuted else (low, middle)
    return low


STREAM_BETS: tuple[float, ...] = tuple(float(bet) for bet in np.geomspace(0.02, 0.95, 20))
"""Shares of the capital that the bets put at stake; each has a twentieth of it."""
MOST_CALLS = 10
"""Calls with which a unit counts at most; with more, a bet on a single call would be too small."""
BLOCK = 100
"""Units after which the bets start again."""


@dataclass(frozen=True, slots=True)
class ConfidenceSequence:
    """State of a stream after some units; the empty state is its beginning."""

    units: int = 0
    wealth: tuple[float, ...] = (-math.inf,) * len(STREAM_BETS)
    """Log capital of each bet, all its beginnings together."""
    peak: float = 0.0
    """Largest log evidence so far; reaching log(1/alpha) rejects at level alpha."""


@dataclass(frozen=True, slots=True)
class BettingCapital:
    """The same of many streams at once, as arrays."""

    wealth: Floats
    """Log capital, streams by bets."""
    peak: Floats
    """Log evidence so far, of each stream."""


def update_sequence(
    stream: ConfidenceSequence, values: ArrayLike, *, bound: float
) -> ConfidenceSequence:
    """Return the stream after more values, in any number of calls.

    Args:
        stream: The stream so far.
        values: One per unit, from 0 to 1, in order of arrival.
        bound: Largest mean of a unit, given all before it, that is acceptable; above 0 and at most
            1, and the same at every call.

    Source: capital of a bet c is prod(1 - c + c y / bound), Waudby-Smith and Ramdas (2024), JRSS B
    86:1-27. Block j begins with the share 1/(j (j+1)) of the capital, which sums to 1 over all
    blocks: a mixture over the times of a change (Shin, Ramdas and Rinaldo 2023, E-detectors, NEJSDS
    2:229-260). By Ville's inequality it ever reaches 1/alpha with probability alpha at most.

    Trap: units must be independent given the past. Several calls of one conversation are one unit,
    whose value is that of `filled_units`.
    """
    if not 0 < bound <= 1:
        raise ValueError(f"bound={bound} must be above 0 and at most 1")
    if np.size(values) == 0:
        return stream
    array = validation.check_ranged("values", values, 0.0, 1.0)
    capital = BettingCapital(np.array(stream.wealth), np.array(stream.peak))
    seen = stream.units
    while len(array):
        part = array[: BLOCK - seen % BLOCK]
        capital = update_capital(capital, part, bound=np.array(bound), seen=seen)
        seen, array = seen + len(part), array[len(part) :]
    return ConfidenceSequence(seen, tuple(map(float, capital.wealth)), float(capital.peak))


def filled_units(means: ArrayLike, sizes: ArrayLike, *, bound: Floats | float) -> Floats:
    """Return the value of each unit for a test of the mean of calls: filled up with `bound`.

    Args:
        means: Mean of the unit's calls, from 0 to 1.
        sizes: Its calls; those beyond `MOST_CALLS` count as that many.
        bound: That of the test.

    The mean of these values is at most the bound if the mean of all calls is. The mean of the
    units' means need not be: short conversations may fail more often than long ones.
    """
    sized = np.minimum(np.asarray(sizes, dtype=np.float64), MOST_CALLS)
    values = np.asarray(means, dtype=np.float64)
    # Rounding must not leave the range of values.
    return np.clip(bound + sized * (values - bound) / MOST_CALLS, 0.0, 1.0)


def update_capital(
    capital: BettingCapital, values: Floats, *, bound: Floats, seen: int
) -> BettingCapital:
    """Update many streams at once, like `update_sequence` within one block and without checks.

    Args:
        capital: Capital of the streams so far.
        values: Streams by units.
        bound: Bound of each stream.
        seen: Earlier units of each stream.
    """
    block, wealth = seen // BLOCK + 1, capital.wealth
    if seen % BLOCK == 0:
        wealth = np.logaddexp(wealth, -math.log(block * (block + 1)))
    stakes = np.array(STREAM_BETS)[:, np.newaxis]
    gains = values[..., np.newaxis, :] / bound[..., np.newaxis, np.newaxis] - 1
    grown = wealth[..., np.newaxis] + np.log1p(stakes * gains).cumsum(axis=-1)
    top = grown.max(axis=-2, keepdims=True)
    mean = np.log(np.exp(grown - top).mean(axis=-2)) + top[..., 0, :]
    # The share of later blocks counts, too: 1/(j+1) is left after block j.
    evidence = np.logaddexp(mean, -math.log(block + 1))
    return BettingCapital(grown[..., -1], np.maximum(capital.peak, evidence.max(axis=-1)))


def units_needed(
    rate: float, *, bound: float, alpha: float, filled: int = 1, most: int = 100_000
) -> int | None:
    """Return about how many 0/1 units, in the median, a mean of `rate` needs to raise an alarm.

    Args:
        rate: Mean of the units.
        bound: As in `update_sequence`.
        alpha: Error of the alarm.
        filled: Calls up to which each is filled (`filled_units`).
        most: Where to give up and return None.
    """
    validation.check_within("rate", rate, 0, 1)
    validation.check_between("alpha", alpha, 0, 1)
    if not 0 < bound <= 1:
        raise ValueError(f"bound={bound} must be above 0 and at most 1")
    stakes = np.array(STREAM_BETS) / filled
    growth = rate * np.log1p(stakes * (1 / bound - 1)) + (1 - rate) * np.log1p(-stakes)
    top = float(growth.max())
    if top <= 0:
        return None
    # The first block has half of the capital; the change is there from the start.
    needed = math.log(2 / alpha)
    units = int(needed / top)
    while units <= most and units * top + math.log(np.exp(units * (growth - top)).mean()) < needed:
        units += 1
    return units if units <= most else None
