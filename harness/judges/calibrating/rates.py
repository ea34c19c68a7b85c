"""Calibration rates: agreement and errors from people's labels and a judge's scores."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from tunegate.harness.records.calibration import (
    ArmErrors,
    LabelledPair,
    RateEstimate,
    answers_hash,
)
from tunegate.harness.records.cases import Case
from tunegate.harness.records.labels import Label
from tunegate.harness.stats import judge_accuracy, judge_bias
from tunegate.harness.stats.judge_accuracy import cohens_kappa
from tunegate.harness.stats.types import Interval

ALL = "all"
"""Arm of labels that name no arm."""


@dataclass(frozen=True, slots=True)
class JudgedLabel:
    """A label with the judge's score of the same answer."""

    label: Label
    score: float


def rate_estimate(interval: Interval, n: int) -> RateEstimate:
    """Return an interval as a record."""
    return RateEstimate(estimate=interval.estimate, low=interval.low, high=interval.high, n=n)


def confusion_table(rows: Sequence[JudgedLabel], good_from: float) -> list[list[int]]:
    """Return counts: rows by people, columns by the judge, good before bad."""
    counts = [[0, 0], [0, 0]]
    for row in rows:
        counts[int(row.label.label < good_from)][int(row.score < good_from)] += 1
    return counts


def cohen_kappa(counts: Sequence[Sequence[int]]) -> RateEstimate:
    """Return the agreement beyond chance."""
    return rate_estimate(cohens_kappa(counts), _size(counts))


def balanced_accuracy(counts: Sequence[Sequence[int]]) -> RateEstimate | None:
    """Return the mean of sensitivity and specificity; None if people used one label only."""
    if not all(map(sum, counts)):
        return None
    return rate_estimate(judge_accuracy.balanced_accuracy(counts), _size(counts))


def arm_errors(rows: Sequence[JudgedLabel], good_from: float) -> dict[str, ArmErrors]:
    """Return the judge's errors on each arm."""
    arms: dict[str, list[JudgedLabel]] = {}
    for row in rows:
        arms.setdefault(row.label.arm or ALL, []).append(row)
    return {
        arm: _errors(confusion_table(arm_rows, good_from)) for arm, arm_rows in sorted(arms.items())
    }


def _errors(counts: Sequence[Sequence[int]]) -> ArmErrors:
    good, bad = map(sum, counts)
    return ArmErrors(
        n=good + bad,
        sensitivity=rate_estimate(judge_accuracy.sensitivity(counts), good) if good else None,
        specificity=rate_estimate(judge_accuracy.specificity(counts), bad) if bad else None,
    )


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Difference tuned − base on one case, by people and by the judge."""

    human: float
    judge: float
    log_ratio: float
    """Logarithm of the lengths' ratio, tuned's to base's."""


def paired_differences(rows: Sequence[JudgedLabel]) -> list[PairedDifference]:
    """Return the differences on cases where both arms have a label and a score."""
    return [
        PairedDifference(
            human=tuned.label.label - base.label.label,
            judge=tuned.score - base.score,
            log_ratio=log_ratio(base.label.completion, tuned.label.completion),
        )
        for base, tuned in both_arms(rows)
    ]


def labelled_pairs(
    scored: Iterable[tuple[Label, Label, float, float]], case_of: Callable[[Label], Case]
) -> tuple[LabelledPair, ...]:
    """Count equal labelled pairs.

    Args:
        scored: Base's and tuned's label, and the judge's scores of their answers.
        case_of: Returns the case of a label.
    """
    counts = Counter(
        (base.label, tuned.label, *scores, case_of(base).cluster) for base, tuned, *scores in scored
    )
    return tuple(
        LabelledPair(
            base_label=base,
            tuned_label=tuned,
            base_score=base_score,
            tuned_score=tuned_score,
            cluster=cluster,
            n=n,
        )
        for (base, tuned, base_score, tuned_score, cluster), n in counts.items()
    )


def answer_hashes(pairs: Iterable[tuple[Label, Label]]) -> dict[str, str]:
    """Return case → hash of its labelled answers, base's and tuned's."""
    return {b.id: answers_hash(b.completion, t.completion) for b, t in pairs}


def both_arms(rows: Sequence[JudgedLabel]) -> list[tuple[JudgedLabel, JudgedLabel]]:
    """Return base's and tuned's row of each case that has both."""
    by_case: dict[str, dict[str, JudgedLabel]] = {}
    for row in rows:
        if row.label.arm:
            by_case.setdefault(row.label.id, {})[row.label.arm] = row
    return [(p["base"], p["tuned"]) for p in by_case.values() if {"base", "tuned"} <= p.keys()]


def log_ratio(base: str, tuned: str) -> float:
    """Return the logarithm of tuned's length over base's, each plus one character."""
    return math.log((len(tuned.strip()) + 1) / (len(base.strip()) + 1))


def differential_error(
    pairs: Sequence[PairedDifference], bound: float | None
) -> RateEstimate | None:
    """Return the judge's mean difference minus people's; None below two pairs."""
    if len(pairs) < 2:
        return None
    human, judge = [p.human for p in pairs], [p.judge for p in pairs]
    return rate_estimate(judge_accuracy.differential_error(human, judge, bound=bound), len(pairs))


def length_slope(pairs: Sequence[PairedDifference]) -> RateEstimate | None:
    """Return the slope of judged difference on length; None if lengths hardly vary."""
    ratios = [p.log_ratio for p in pairs]
    if len(pairs) < 4 or max(ratios) - min(ratios) < 1e-9:
        return None
    fitted = judge_bias.length_fit([p.judge for p in pairs], ratios)
    return rate_estimate(fitted.slope, len(pairs))


def _size(counts: Sequence[Sequence[int]]) -> int:
    return sum(map(sum, counts))
