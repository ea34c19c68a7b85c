"""A judge's difference set right by people's labels on some of the run's own pairs (PPI++).

Levels and difference are corrected at one weight, so that tuned's level less base's is the
difference shown. Where people labelled every pair the judge is not needed: their labels are all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.stats.result import Interval, Test

if TYPE_CHECKING:
    from harness.verdict.pairs import Pairs

Column = list[float]


@dataclass(frozen=True, slots=True)
class Columns:
    """Values by people and by the judge on the labelled pairs, and by the judge on the others."""

    human: Column
    judge: Column
    rest: Column


@dataclass(frozen=True, slots=True)
class Levels:
    """What people would see of each arm."""

    base: float
    tuned: float


def difference(pairs: Pairs, confidence: float) -> Interval:
    """Return the interval of the oriented difference that people would see."""
    from harness.stats.ppi import ppi_interval

    alone = labelled_alone(pairs)
    if alone is not None:
        return alone.interval(confidence)
    found = _differences(pairs)
    return ppi_interval(
        found.human, found.judge, found.rest, confidence=confidence, bound=pairs.metric.bound
    )


def difference_test(pairs: Pairs, margin: float) -> Test:
    """Return the one-sided test of "people would see a difference of at most `margin`"."""
    from harness.stats.ppi import ppi_test

    alone = labelled_alone(pairs)
    if alone is not None:
        return alone.test(margin)
    found = _differences(pairs)
    bound = pairs.metric.bound
    return ppi_test(found.human, found.judge, found.rest, margin=margin, bound=bound)


def levels(pairs: Pairs) -> Levels:
    """Return both arms' levels as people would see them."""
    from harness.stats.ppi import corrected_mean

    alone = labelled_alone(pairs)
    if alone is not None:
        return Levels(alone.base_level, alone.tuned_level)
    weight = _weight(pairs)
    base, tuned = (
        corrected_mean(side.human, side.judge, side.rest, weight=weight)
        for side in (_side(pairs, tuned=False), _side(pairs, tuned=True))
    )
    return Levels(base, tuned)


def tuned_level(pairs: Pairs, confidence: float) -> Interval:
    """Return the interval of tuned's level as people would see it, at the difference's weight."""
    from harness.stats.ppi import ppi_interval

    least, most = pairs.metric.range or (0.0, 0.0)
    middle, bound = (least + most) / 2, (most - least) / 2 or None
    side = _side(pairs, tuned=True)
    moved = [[value - middle for value in c] for c in (side.human, side.judge, side.rest)]
    weight = _weight(pairs)
    found = ppi_interval(*moved, confidence=confidence, bound=bound, weight=weight)
    return replace(
        found,
        estimate=found.estimate + middle,
        low=found.low + middle,
        high=found.high + middle,
    )


def n_labelled(pairs: Pairs) -> int:
    """Return on how many pairs people labelled both answers."""
    return sum(pair is not None for pair in pairs.labels or ())


def labelled_alone(pairs: Pairs) -> Pairs | None:
    """Return the pairs as people see them where they labelled all, or all but one; else None."""
    labels = pairs.labels or ()
    if len(labels) - n_labelled(pairs) >= 2:
        return None
    known = [pair for pair in labels if pair is not None]
    return replace(
        pairs,
        base=tuple(base for base, _ in known),
        tuned=tuple(tuned for _, tuned in known),
        labels=None,
    )


def _weight(pairs: Pairs) -> float:
    from harness.stats.ppi import ppi_weight

    found = _differences(pairs)
    return ppi_weight(found.human, found.judge, found.rest)


def _differences(pairs: Pairs) -> Columns:
    sign = 1.0 if pairs.metric.higher_is_better else -1.0
    human = [None if pair is None else sign * (pair[1] - pair[0]) for pair in pairs.labels or ()]
    return _split(human, pairs.differences)


def _side(pairs: Pairs, *, tuned: bool) -> Columns:
    human = [None if pair is None else pair[int(tuned)] for pair in pairs.labels or ()]
    return _split(human, pairs.tuned if tuned else pairs.base)


def _split(human: list[float | None], judge: tuple[float, ...]) -> Columns:
    both = [(h, j) for h, j in zip(human, judge, strict=True) if h is not None]
    rest = [j for h, j in zip(human, judge, strict=True) if h is None]
    return Columns([h for h, _ in both], [j for _, j in both], rest)
