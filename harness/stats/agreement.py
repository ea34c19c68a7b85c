"""Yes-or-no verdicts of a judge beside people's: which errors it makes, and for whom.

One 2 x 2 table for each arm, for a judge may err more for one of them; what that does to a
difference is the differential error.

Example:
    >>> round(balanced_accuracy([[45, 5], [10, 40]]).estimate, 3)
    0.85
"""

import math

from numpy.typing import ArrayLike

from harness.stats import validation
from harness.stats.binary import clopper_pearson
from harness.stats.judge import Table, counts_of
from harness.stats.paired import mean_interval
from harness.stats.result import Interval


def sensitivity(table: Table, *, confidence: float = 0.90) -> Interval:
    """Exact interval for the share of people's "yes" that the judge says "yes" to.

    Args:
        table: 2 x 2 counts, rows by people, columns by the judge, "yes" first.
        confidence: Two-sided level.

    Raises:
        ValueError: If the table is no 2 x 2 table of counts, people said "yes" to none, or
            `confidence` is outside (0, 1).

    Source: Clopper-Pearson.

    Trap: of one arm; pooled over two arms it hides a judge that is kinder to one of them.
    """
    (hits, misses), _ = counts_of(table, square=2).tolist()
    validation.count("human yes in table", hits + misses, least=1)
    return clopper_pearson(hits, hits + misses, confidence=confidence)


def specificity(table: Table, *, confidence: float = 0.90) -> Interval:
    """Exact interval for the share of people's "no" that the judge says "no" to.

    Args:
        table: 2 x 2 counts, rows by people, columns by the judge, "yes" first.
        confidence: Two-sided level.

    Raises:
        ValueError: If the table is no 2 x 2 table of counts, people said "no" to none, or
            `confidence` is outside (0, 1).

    Source: Clopper-Pearson.

    Trap: as of `sensitivity`.
    """
    _, (alarms, passes) = counts_of(table, square=2).tolist()
    validation.count("human no in table", alarms + passes, least=1)
    return clopper_pearson(passes, alarms + passes, confidence=confidence)


def accuracy(table: Table, *, confidence: float = 0.90) -> Interval:
    """Exact interval for the share of cases on which judge and people say the same.

    Args:
        table: Square counts, rows by people, columns by the judge, same order of labels.
        confidence: Two-sided level.

    Raises:
        ValueError: If the table is not square, of size 2 or more, with whole counts of at least
            one case, or `confidence` is outside (0, 1).

    Source: Clopper-Pearson.

    Trap: high for a judge that always says the commonest label; see `constant_baseline`.
    """
    counts = counts_of(table)
    agreed, total = int(counts.trace()), int(counts.sum())
    return clopper_pearson(agreed, total, confidence=confidence)


def balanced_accuracy(table: Table, *, confidence: float = 0.90) -> Interval:
    """Interval for the mean of sensitivity and specificity: 0.5 is guessing.

    Args:
        table: 2 x 2 counts, rows by people, columns by the judge, "yes" first.
        confidence: Two-sided level.

    Raises:
        ValueError: As `sensitivity` and `specificity`.

    Source: the two exact intervals joined by recovering their variances (MOVER; Zou and Donner
    2008, Statistics in Medicine 27:1693-1702).

    Trap: conservative where a row is small, as the exact intervals are.
    """
    yes, no = (rate(table, confidence=confidence) for rate in (sensitivity, specificity))
    estimate = (yes.estimate + no.estimate) / 2
    below = math.hypot(yes.estimate - yes.low, no.estimate - no.low) / 2
    above = math.hypot(yes.high - yes.estimate, no.high - no.estimate) / 2
    low, high = max(0.0, estimate - below), min(1.0, estimate + above)
    return Interval(estimate, low, high, confidence, "Clopper-Pearson joined by MOVER")


def constant_baseline(table: Table) -> float:
    """Agreement of a judge that always says people's commonest label.

    Args:
        table: Square counts, rows by people, columns by the judge, same order of labels.

    Raises:
        ValueError: As `accuracy`.

    Source: the majority-class baseline.

    Trap: an accuracy that does not beat it says nothing for the judge.
    """
    counts = counts_of(table)
    return float(counts.sum(axis=1).max() / counts.sum())


def differential_error(
    human: ArrayLike, judge: ArrayLike, *, confidence: float = 0.90, bound: float | None = None
) -> Interval:
    """Interval for how far the judge's mean difference lies from that of people.

    Args:
        human: Paired differences (tuned minus base) by people, one per labelled case.
        judge: Paired differences by the judge for the same cases.
        confidence: Two-sided level.
        bound: Largest possible absolute difference of two scores, if there is one.

    Returns:
        The interval of mean(judge - human): positive means the judge favours tuned.

    Raises:
        ValueError: If lengths differ, a value is not finite or beyond `bound`, or `confidence` is
            outside (0, 1).

    Source: `paired.mean_interval` on the differences of the differences.

    Trap: no error in a small sample is no proof of none; the interval keeps a width.
    """
    limit = math.inf if bound is None else validation.positive("bound", bound) * (1 + 1e-9)
    truth = validation.ranged("human", human, -limit, limit)
    seen = validation.ranged("judge", judge, -limit, limit)
    validation.paired(truth, seen, "human, judge")
    return mean_interval(
        seen - truth, confidence=confidence, bound=None if bound is None else 2 * bound
    )
