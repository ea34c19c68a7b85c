"""A stream that is watched for as long as it runs: evidence that its mean has risen above a bound.

The evidence is that of bets against "the mean is at most the bound", begun anew at every block, so
that a change after a long quiet time is found about as fast as one at the start. What has to be
kept between two looks is one number a bet, however long the stream.

Example:
    >>> quiet = follow(Stream(), [0, 0, 1, 0] * 50, bound=0.3)
    >>> loud = follow(Stream(), [1, 0, 1, 0] * 50, bound=0.3)
    >>> quiet.peak < math.log(20) < loud.peak
    True
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from harness.stats import validation
from harness.stats.validation import Floats

BETS: tuple[float, ...] = tuple(float(bet) for bet in np.geomspace(0.005, 0.7, 20))
"""Shares of the capital that the bets put at stake; each has a twentieth of it."""
BLOCK = 100
"""Units after which bets are begun anew."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What is known of a stream after so many units; the empty one is its beginning."""

    units: int = 0
    wealth: tuple[float, ...] = (-math.inf,) * len(BETS)
    """Log capital of each bet, all its beginnings together."""
    peak: float = 0.0
    """Largest log evidence so far; reaching log(1/alpha) rejects at level alpha."""


@dataclass(frozen=True, slots=True)
class Capital:
    """The same of many streams at once, as arrays."""

    wealth: Floats
    """Log capital, streams by bets."""
    peak: Floats
    """Log evidence so far, of each stream."""


def follow(stream: Stream, values: ArrayLike, *, bound: float) -> Stream:
    """Return the stream after more values; how they are cut into calls changes nothing.

    Args:
        stream: What is known so far.
        values: One a unit, from 0 to 1, in order of arrival; none leaves the stream as it is.
        bound: Largest mean of a unit, given all before it, that is no reason for an alarm; above 0
            and at most 1, and the same at every call.

    Raises:
        ValueError: A value is outside of 0 to 1 or no number, or `bound` is out of range.

    Source: capital of a bet c is prod(1 - c + c y / bound), Waudby-Smith and Ramdas (2024), JRSS B
    86:1-27. Block j begins with the share 1/(j (j+1)) of the capital, which sums to 1 over all
    blocks: a mixture over the times of a change (Shin, Ramdas and Rinaldo 2023, E-detectors, NEJSDS
    2:229-260), which is itself such a process. By Ville's inequality it ever reaches 1/alpha with
    probability alpha at most, at whatever times it is looked at.

    Trap: units must not be correlated in ways that their own past does not show. Several calls of
    one conversation are one unit, their mean its value.
    """
    if not 0 < bound <= 1:
        raise ValueError(f"bound={bound} must be above 0 and at most 1")
    if np.size(values) == 0:
        return stream
    array = validation.ranged("values", values, 0.0, 1.0)
    capital = Capital(np.array(stream.wealth), np.array(stream.peak))
    seen = stream.units
    while len(array):
        part = array[: BLOCK - seen % BLOCK]
        capital = advance(capital, part, bound=np.array(bound), seen=seen)
        seen, array = seen + len(part), array[len(part) :]
    return Stream(seen, tuple(map(float, capital.wealth)), float(capital.peak))


def advance(capital: Capital, values: Floats, *, bound: Floats, seen: int) -> Capital:
    """Return many streams after values that lie in one block; as `follow`, without its checks.

    Args:
        capital: What is known so far.
        values: Streams by units.
        bound: Of each stream.
        seen: Units before, in each stream.
    """
    block, wealth = seen // BLOCK + 1, capital.wealth
    if seen % BLOCK == 0:
        wealth = np.logaddexp(wealth, -math.log(block * (block + 1)))
    stakes = np.array(BETS)[:, np.newaxis]
    gains = values[..., np.newaxis, :] / bound[..., np.newaxis, np.newaxis] - 1
    grown = wealth[..., np.newaxis] + np.log1p(stakes * gains).cumsum(axis=-1)
    top = grown.max(axis=-2, keepdims=True)
    mean = np.log(np.exp(grown - top).mean(axis=-2)) + top[..., 0, :]
    # What later blocks will begin with is capital too: 1/(j+1) is left after block j.
    evidence = np.logaddexp(mean, -math.log(block + 1))
    return Capital(grown[..., -1], np.maximum(capital.peak, evidence.max(axis=-1)))


def units_needed(rate: float, *, bound: float, alpha: float, most: int = 100_000) -> int | None:
    """Return after how many units, about, a constant mean of `rate` raises an alarm.

    Args:
        rate: Mean of the units, all of them 0 or 1.
        bound: As in `follow`.
        alpha: Error of the alarm.
        most: Where to give up.

    Returns:
        The first number at which evidence that grew as on average would suffice; half of such
        streams take longer, and None is more than `most`.

    Raises:
        ValueError: If a number is out of range.
    """
    validation.within("rate", rate, 0, 1)
    validation.between("alpha", alpha, 0, 1)
    if not 0 < bound <= 1:
        raise ValueError(f"bound={bound} must be above 0 and at most 1")
    stakes = np.array(BETS)
    growth = rate * np.log1p(stakes * (1 / bound - 1)) + (1 - rate) * np.log1p(-stakes)
    top = float(growth.max())
    if top <= 0:
        return None
    # Of the first block alone, which has half of the capital: the change is there from the start.
    needed = math.log(2 / alpha)
    units = int(needed / top)
    while units <= most and units * top + math.log(np.exp(units * (growth - top)).mean()) < needed:
        units += 1
    return units if units <= most else None
