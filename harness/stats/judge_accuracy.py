"""Accuracy of a judge: agreement with people, error rates, and corrected prevalence.

A judge that is kinder to one of the two models makes a naive comparison err up to always; with
labels for both models' answers the bias can be measured here, and removed by `ppi`.

Yes-or-no verdicts of a judge compared with people's: which errors it makes, and on which arm. One
2 x 2 table for each arm, for a judge may err more on one of them; what that does to a difference is
the differential error.

Example:
    >>> round(balanced_accuracy([[45, 5], [10, 40]]).estimate, 3)
    0.85
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.stats import distributions, validation
from tunegate.harness.stats.binary import clopper_pearson
from tunegate.harness.stats.paired_mean import mean_interval
from tunegate.harness.stats.ppi import guarded_estimate
from tunegate.harness.stats.types import Interval
from tunegate.harness.stats.validation import Ints

Table = Sequence[Sequence[int]] | NDArray[np.integer]
"""Counts: rows are the people's labels, columns the judge's; in a 2 x 2 table "yes" is first."""


def rogan_gladen(rate: float, *, sensitivity: float, specificity: float) -> float:
    """True rate behind a rate reported by an imperfect judge, clipped to [0, 1].

    Args:
        rate: Share of cases the judge calls positive.
        sensitivity: Probability that the judge calls a positive case positive.
        specificity: Probability that the judge calls a negative case negative.

    Source: Rogan and Gladen (1978), American Journal of Epidemiology 107:71-76:
    (rate + specificity - 1) / (sensitivity + specificity - 1).

    Trap: calibrate per model; pooled calibration errs up to always if the judge favours one.
    """
    validation.check_within("rate", rate, 0, 1)
    validation.check_within("sensitivity", sensitivity, 0, 1)
    validation.check_within("specificity", specificity, 0, 1)
    total = sensitivity + specificity
    if total < 1.1:
        raise ValueError(f"sensitivity+specificity={total:.4g} must be at least 1.1")
    return max(0.0, min(1.0, (rate + specificity - 1) / (total - 1)))


def rogan_gladen_interval(
    positives: int, n: int, table: Table, *, confidence: float = CONFIDENCE
) -> Interval:
    """Interval for the true rate behind a judged rate, calibration error included.

    Args:
        positives: Cases the judge calls positive, among those without a human label.
        n: Cases the judge saw.
        table: 2 x 2 calibration counts of this model: [[both yes, only people yes],
            [only judge yes, both no]].
        confidence: Two-sided level.

    Source: delta method with calibration variance (Lee et al., arXiv 2511.21140), each rate
    smoothed (Agresti and Coull 1998) so that a flawless calibration sample has no zero variance.

    Trap: conservative; for a difference of two models prefer `ppi.ppi_interval`.
    """
    validation.check_count("n", n, least=1)
    validation.check_within("positives", validation.check_count("positives", positives), 0, n)
    validation.check_between("confidence", confidence, 0, 1)
    counts = counts_of(table, square=2)
    (hits, misses), (alarms, passes) = counts.tolist()
    for name, size in (("positives", hits + misses), ("negatives", alarms + passes)):
        validation.check_count(f"human {name} in table", size, least=1)
    z = distributions.normal_critical(confidence)
    estimate = rogan_gladen(
        positives / n,
        sensitivity=hits / (hits + misses),
        specificity=passes / (alarms + passes),
    )
    rate, rate_n = (positives + z**2 / 2) / (n + z**2), n + z**2
    yes, yes_n = (hits + 1) / (hits + misses + 2), hits + misses + 2
    no, no_n = (passes + 1) / (alarms + passes + 2), alarms + passes + 2
    gain = yes + no - 1
    if gain <= 0:
        return Interval(estimate, 0.0, 1.0, confidence, "Rogan-Gladen")
    center = (rate + no - 1) / gain
    variance = (
        rate * (1 - rate) / rate_n
        + center**2 * yes * (1 - yes) / yes_n
        + (1 - center) ** 2 * no * (1 - no) / no_n
    )
    half = z * math.sqrt(variance) / gain
    low, high = max(0.0, center - half), min(1.0, center + half)
    return Interval(estimate, min(low, estimate), max(high, estimate), confidence, "Rogan-Gladen")


def cohens_kappa(table: Table, *, confidence: float = CONFIDENCE) -> Interval:
    """Chance-corrected agreement of judge and people, with its interval in [-1, 1].

    Args:
        table: Square counts, rows by people, columns by the judge, same order of labels.
        confidence: Two-sided level.

    Returns:
        Kappa. Where a side uses one label only, kappa is 0 whatever they think: (-1, 1). Perfect
        agreement takes its lower limit from the exact interval of the agreement.

    Source: Cohen (1960), Educational and Psychological Measurement 20:37-46; large-sample variance
    of Fleiss, Cohen and Everitt (1969), Psychological Bulletin 72:323-327:
    (sum of p_ij (d_ij - (1 - kappa) (p_.i + p_j.))^2 - (kappa - p_e (1 - kappa))^2) / (n q^2) with
    q = 1 - p_e, p_e the agreement by chance, and d_ij 1 on the diagonal.

    Trap: falls with lopsided labels at equal accuracy; read it together with the balanced accuracy.
    """
    validation.check_between("confidence", confidence, 0, 1)
    counts, method = counts_of(table), "Cohen's kappa"
    shares = counts / counts.sum()
    chance = float(shares.sum(axis=0) @ shares.sum(axis=1))
    if chance >= 1 - 1e-12:
        return Interval(0.0, -1.0, 1.0, confidence, method)
    agreed, total = int(np.trace(counts)), int(counts.sum())
    if agreed == total:
        lowest = clopper_pearson(agreed, total, confidence=confidence).low
        return Interval(1.0, (lowest - chance) / (1 - chance), 1.0, confidence, method)
    kappa = (agreed / total - chance) / (1 - chance)
    # What a pair adds to kappa: 1 if it agrees, less what its two labels add to the chance.
    adds = np.eye(len(shares)) - (1 - kappa) * np.add.outer(shares.sum(axis=0), shares.sum(axis=1))
    spread = float((shares * adds**2).sum()) - (kappa - chance * (1 - kappa)) ** 2
    variance = spread / (total * (1 - chance) ** 2)
    if not variance > 1e-15:
        return Interval(kappa, -1.0, 1.0, confidence, method)
    half = distributions.normal_critical(confidence) * math.sqrt(variance)
    return Interval(kappa, max(-1.0, kappa - half), min(1.0, kappa + half), confidence, method)


def counts_of(table: Table, *, square: int | None = None) -> Ints:
    """Return a table of agreement as whole numbers, checked.

    Args:
        table: Square counts, rows by people, columns by the judge.
        square: Size that the table must have; None takes any of 2 or more.
    """
    counts = np.asarray(table)
    size = square or max(2, len(counts))
    if counts.shape != (size, size):
        raise ValueError(f"table.shape={counts.shape} must be ({size}, {size})")
    if counts.dtype.kind not in "iu" or (counts < 0).any() or counts.sum() == 0:
        raise ValueError(f"table={counts.tolist()} must hold whole counts, not all zero")
    return counts.astype(np.int64)


def sensitivity(table: Table, *, confidence: float = CONFIDENCE) -> Interval:
    """Exact interval for the share of people's "yes" that the judge says "yes" to.

    Source: Clopper-Pearson.

    Trap: of one arm; pooled over two arms it hides a judge that is kinder to one of them.
    """
    (hits, misses), _ = counts_of(table, square=2).tolist()
    validation.check_count("human yes in table", hits + misses, least=1)
    return clopper_pearson(hits, hits + misses, confidence=confidence)


def specificity(table: Table, *, confidence: float = CONFIDENCE) -> Interval:
    """Exact interval for the share of people's "no" that the judge says "no" to.

    Source: Clopper-Pearson.

    Trap: as of `sensitivity`.
    """
    _, (alarms, passes) = counts_of(table, square=2).tolist()
    validation.check_count("human no in table", alarms + passes, least=1)
    return clopper_pearson(passes, alarms + passes, confidence=confidence)


def accuracy(table: Table, *, confidence: float = CONFIDENCE) -> Interval:
    """Exact interval for the share of cases on which judge and people agree.

    Args:
        table: Square counts, rows by people, columns by the judge, same order of labels.
        confidence: Two-sided level.

    Source: Clopper-Pearson.

    Trap: high for a judge that always gives the commonest label; see `constant_baseline`.
    """
    counts = counts_of(table)
    agreed, total = int(counts.trace()), int(counts.sum())
    return clopper_pearson(agreed, total, confidence=confidence)


def balanced_accuracy(table: Table, *, confidence: float = CONFIDENCE) -> Interval:
    """Interval for the mean of sensitivity and specificity: 0.5 is guessing.

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
    """Agreement of a judge that always gives people's commonest label.

    Args:
        table: Square counts, rows by people, columns by the judge, same order of labels.

    Source: the majority-class baseline.

    Trap: an accuracy that does not beat it says nothing for the judge.
    """
    counts = counts_of(table)
    return float(counts.sum(axis=1).max() / counts.sum())


def differential_error(
    human: ArrayLike,
    judge: ArrayLike,
    *,
    confidence: float = CONFIDENCE,
    bound: float | None = None,
) -> Interval:
    """Interval for how far the judge's mean difference is from that of people.

    Returns:
        The interval of mean(judge - human): positive means the judge favours tuned.

    Source: `ppi.GuardedEstimate` of the mean error, with one answer's error of the whole range as
    the largest; without a bound and without any spread, `paired_mean.mean_interval`.

    Trap: a small sample without an error does not prove that errors never happen; the interval
    keeps a width.
    """
    validation.check_between("confidence", confidence, 0, 1)
    limit = math.inf if bound is None else validation.check_positive("bound", bound)
    allowed = limit * (1 + 1e-9)
    truth = validation.check_ranged("human", human, -allowed, allowed)
    seen = validation.check_ranged("judge", judge, -allowed, allowed)
    validation.check_paired(truth, seen, "human, judge")
    errors = seen - truth
    if errors.size < 2 or (bound is None and np.ptp(errors) <= 1e-12):
        return mean_interval(
            errors, confidence=confidence, bound=None if bound is None else 2 * bound
        )
    alpha, estimate = (1 - confidence) / 2, float(errors.mean())
    guarded = guarded_estimate(estimate, errors - estimate, largest=limit, degrees=errors.size - 1)
    low = max(-2 * limit, estimate - guarded.below(alpha))
    high = min(2 * limit, estimate + guarded.above(alpha))
    return Interval(estimate, low, high, confidence, "t and Hall envelope, guarded")
