"""From pairs of a person's label and a judge's score to the numbers of a calibration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.calibration import ArmErrors, Rate
from harness.labels import Label
from harness.stats import agreement, length
from harness.stats.judge import cohens_kappa
from harness.stats.result import Interval

ALL = "all"
"""Name of the arm of labels that name none."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A label with what the judge said of the same answer."""

    label: Label
    score: float


def rate(interval: Interval, n: int) -> Rate:
    """Return an interval of the statistics as a record."""
    return Rate(estimate=interval.estimate, low=interval.low, high=interval.high, n=n)


def table(rows: Sequence[Judged], good_from: float) -> list[list[int]]:
    """Return counts: rows by people, columns by the judge, good before bad."""
    counts = [[0, 0], [0, 0]]
    for row in rows:
        counts[int(row.label.label < good_from)][int(row.score < good_from)] += 1
    return counts


def kappa(counts: Sequence[Sequence[int]]) -> Rate:
    """Return the agreement beyond chance."""
    return rate(cohens_kappa(counts), _size(counts))


def balanced(counts: Sequence[Sequence[int]]) -> Rate | None:
    """Return the mean of sensitivity and specificity; None if people used one label only."""
    if not all(map(sum, counts)):
        return None
    return rate(agreement.balanced_accuracy(counts), _size(counts))


def errors(rows: Sequence[Judged], good_from: float) -> dict[str, ArmErrors]:
    """Return the judge's errors on each arm."""
    arms: dict[str, list[Judged]] = {}
    for row in rows:
        arms.setdefault(row.label.arm or ALL, []).append(row)
    return {arm: _errors(table(own, good_from)) for arm, own in sorted(arms.items())}


def _errors(counts: Sequence[Sequence[int]]) -> ArmErrors:
    good, bad = map(sum, counts)
    return ArmErrors(
        n=good + bad,
        sensitivity=rate(agreement.sensitivity(counts), good) if good else None,
        specificity=rate(agreement.specificity(counts), bad) if bad else None,
    )


@dataclass(frozen=True, slots=True)
class Paired:
    """What people and judge see as the difference tuned − base on one case."""

    human: float
    judge: float
    log_ratio: float
    """Logarithm of the lengths' ratio, tuned's to base's."""


def paired(rows: Sequence[Judged]) -> list[Paired]:
    """Return the cases on which both arms' answers have a label and a score."""
    found: dict[str, dict[str, Judged]] = {}
    for row in rows:
        if row.label.arm:
            found.setdefault(row.label.id, {})[row.label.arm] = row
    return [
        Paired(
            human=pair["tuned"].label.label - pair["base"].label.label,
            judge=pair["tuned"].score - pair["base"].score,
            log_ratio=log_ratio(pair["base"].label.completion, pair["tuned"].label.completion),
        )
        for pair in found.values()
        if {"base", "tuned"} <= pair.keys()
    ]


def log_ratio(base: str, tuned: str) -> float:
    """Return the logarithm of two answers' length ratio; an empty one counts as one character."""
    return math.log((len(tuned.strip()) + 1) / (len(base.strip()) + 1))


def differential(pairs: Sequence[Paired], bound: float | None) -> Rate | None:
    """Return how far the judge's mean difference lies from people's; None below two pairs."""
    if len(pairs) < 2:
        return None
    human, judge = [p.human for p in pairs], [p.judge for p in pairs]
    return rate(agreement.differential_error(human, judge, bound=bound), len(pairs))


def length_slope(pairs: Sequence[Paired]) -> Rate | None:
    """Return how the judged difference goes with length; None where lengths say nothing."""
    ratios = [p.log_ratio for p in pairs]
    if len(pairs) < 4 or max(ratios) - min(ratios) < 1e-9:
        return None
    fitted = length.length_fit([p.judge for p in pairs], ratios)
    return rate(fitted.slope, len(pairs))


def by_key(rows: Mapping[str, Sequence[float]]) -> list[Sequence[float]]:
    """Return the repeats that came, for answers asked at least twice."""
    return [values for values in rows.values() if len(values) > 1]


def _size(counts: Sequence[Sequence[int]]) -> int:
    return sum(map(sum, counts))
