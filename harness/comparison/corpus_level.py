"""Corpus metrics: an arm's level is a function of summed counts, such as BLEU.

Level, difference, interval and test come from the sums, by the jackknife over cases or clusters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from tunegate.harness.comparison.estimator import (
    Estimator,
    ScoreSpread,
    few_without_range,
    interval_centre,
    shift_interval,
)
from tunegate.harness.comparison.sample_size import cases_for_mean, sample_deviation, within_limit
from tunegate.harness.contracts.metric_loading import corpus_function, heaviest_case
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.records.wording import count_noun
from tunegate.harness.stats.types import Interval, OneSidedTest

if TYPE_CHECKING:
    from tunegate.harness.stats.corpus_jackknife import JackknifeReplicates

LEAST = 50
"""Cases below which a gate on a corpus metric is advisory."""

Row = tuple[float, ...]
Level = Callable[[Iterable[float]], float]
"""Summed counts → an arm's level."""


@dataclass(frozen=True)
class ArmCounts:
    """One arm's counts, and the function of their sums."""

    rows: tuple[Row, ...] = field(repr=False)
    """Counts of each independent unit: a case, or a cluster."""
    level: Level = field(repr=False)
    factor: float = 1.0
    """Factor of the level."""

    @cached_property
    def replicates(self) -> JackknifeReplicates:
        """The level on all units and with each left out, times the factor."""
        from tunegate.harness.stats.corpus_jackknife import jackknife_replicates

        return jackknife_replicates(self.rows, self.level).scaled(self.factor)


@dataclass(frozen=True)
class PairedCounts:
    """Both arms' counts of the same cases."""

    base: ArmCounts
    tuned: ArmCounts
    higher_is_better: bool = True
    heaviest: float = 6.0
    """How many average cases an unseen answer may weigh: a case counts with its length, and rare
    failures of a fine-tune are endless answers."""

    @classmethod
    def of(
        cls,
        metric: MetricRecord,
        base: Sequence[Row | None],
        tuned: Sequence[Row | None],
        clusters: Sequence[str] | None,
    ) -> PairedCounts | None:
        """Return the counts of pairs, summed within clusters; None if an arm has none at all.

        Missing counts are imputed by those of the arm's own that lower tuned's level most, or
        improve base's, as heavy as one answer may be.

        Raises:
            UsageError: cases differ in the number of their counts, or the function fails.
            UnknownName: the metric's corpus function is not found.
        """
        lengths = sorted({len(row) for row in (*base, *tuned) if row is not None})
        if len(lengths) > 1:
            raise UsageError(
                f"metric {metric.name!r} counts {lengths[0]} things on one case and {lengths[-1]} "
                "on another; sums need the same on every case"
            )
        level = level_of(metric)
        sign = 1.0 if metric.higher_is_better else -1.0
        heaviest = heaviest_case(metric.use)
        columns = [
            _impute_counts(rows, level, toward, heaviest)
            for rows, toward in ((base, -sign), (tuned, sign))
        ]
        if not all(columns):
            return None
        base_sums, tuned_sums = (
            ArmCounts(_sum_clusters(rows, clusters), level) for rows in columns
        )
        sums = ([sum(column) for column in zip(*rows, strict=True)] for rows in columns)
        weight = heaviest_case(metric.use, *sums)
        return cls(base_sums, tuned_sums, metric.higher_is_better, weight)

    @cached_property
    def difference(self) -> JackknifeReplicates:
        """The oriented difference: positive means tuned is better."""
        sign = 1.0 if self.higher_is_better else -1.0
        return self.tuned.replicates.combined(self.base.replicates, -1.0).scaled(sign)

    def exchanged(self) -> PairedCounts:
        """Return the counts with the arms exchanged."""
        return replace(self, base=self.tuned, tuned=self.base)

    def with_base(self, factor: float) -> PairedCounts:
        """Return the comparison of tuned with `factor` times base."""
        return replace(self, base=replace(self.base, factor=factor))


@dataclass(frozen=True)
class CorpusEstimator(Estimator):
    """One value over all cases, by the jackknife over cases or clusters."""

    counts: PairedCounts = field(kw_only=True, repr=False)

    @property
    def base_level(self) -> float:
        """Base's corpus value; NaN if there are no pairs."""
        return self.counts.base.replicates.value if self.n else math.nan

    @property
    def tuned_level(self) -> float:
        """Tuned's corpus value; NaN if there are no pairs."""
        return self.counts.tuned.replicates.value if self.n else math.nan

    @property
    def estimate(self) -> float:
        """The oriented difference of the corpus values."""
        return self.counts.difference.value

    @property
    def why_advisory(self) -> str:
        """Why a gate is advisory: few cases, more so without a range."""
        if self.n < LEAST:
            return few_for_corpus(self.n)
        bounded = self.metric.bound is not None
        return "" if bounded else few_without_range(self.n_clusters or self.n)

    @property
    def skewed(self) -> bool:
        """Whether the pseudo-values are so skewed that the interval may err on one side."""
        from tunegate.harness.stats.paired_mean import skewness_warning

        return skewness_warning(_pseudo_values(self.counts.difference))

    def spread(self, *, beyond_counts: bool = False) -> ScoreSpread | None:
        """Return σ per case; clusters are in it already, so there is no design effect."""
        found = _pseudo_values(self.counts.difference)
        sigma = sample_deviation(found) * math.sqrt(self.n / len(found)) if len(found) > 1 else 0.0
        return ScoreSpread(sigma, binary=False) if sigma > 0 else None

    def _lost(self, arm: ArmCounts) -> float:
        """Return what an unseen total failure takes from an arm's level, times the cases."""
        least, most = self.metric.range or (-math.inf, math.inf)
        worst = least if self.metric.higher_is_better else most
        return self.counts.heaviest * abs(arm.replicates.value - arm.factor * worst)

    @property
    def _reach(self) -> tuple[float, float] | None:
        """Differences of an unseen case if tuned fails, and if base fails; at least the range."""
        bound = self.metric.bound
        if bound is None:
            return None
        low = self._lost(self.counts.tuned) - self.estimate
        high = self._lost(self.counts.base) + self.estimate
        return max(bound, low), max(bound, high)

    def _interval(self, confidence: float) -> Interval:
        return self.counts.difference.interval(
            confidence=confidence, bound=self.metric.bound, reach=self._reach
        )

    def _test(self, margin: float) -> OneSidedTest:
        return self.counts.difference.test(
            margin=margin, bound=self.metric.bound, reach=self._reach
        )

    def _level(self, confidence: float) -> Interval:
        middle, bound = interval_centre(self.metric)
        moved = self.counts.tuned.replicates.scaled(1.0, shift=-middle)
        reach = None
        if bound is not None:
            # Tuned's failure is on the side of its worst value.
            far = max(bound, self._lost(self.counts.tuned) - self.sign * moved.value)
            reach = (far, bound) if self.metric.higher_is_better else (bound, far)
        interval = moved.interval(confidence=confidence, bound=bound, reach=reach)
        return shift_interval(interval, middle)

    def _plan(self, effect: float, margin: float, confidence: float, share: float) -> int | None:
        from tunegate.harness.stats.paired_mean import unseen_loss_units

        independent = _pseudo_values(self.counts.difference)
        cases = cases_for_mean(
            independent, self.n, effect=effect, margin=margin, confidence=confidence, share=share
        )
        if cases is None or self._reach is None:
            return cases
        units = unseen_loss_units(
            margin, bound=self._reach[0], effect=effect, confidence=confidence
        )
        return within_limit(max(cases, -(-units * self.n // len(independent))))

    def _plan_level(self, bound: float, confidence: float, sign: float) -> int | None:
        independent = _pseudo_values(self.counts.tuned.replicates)
        effect, margin = sign * self.tuned_level, sign * bound
        return cases_for_mean(
            independent, self.n, effect=effect, margin=margin, confidence=confidence
        )


def _pseudo_values(found: JackknifeReplicates) -> list[float]:
    """Return the values whose mean and its error are those of a corpus value."""
    return list(map(float, found.pseudo_values))


def level_of(metric: MetricRecord) -> Level:
    """Return a corpus metric's level as a function of sums, within the metric's range.

    Raises:
        UnknownName: the metric's corpus function is not found.
    """
    function = corpus_function(metric.use, metric.corpus or {})

    def level(sums: Iterable[float]) -> float:
        counts = [float(count) for count in sums]
        try:
            value = float(function(counts))
        except Exception as error:
            raise UsageError(
                _failure_message(metric, counts, f"{type(error).__name__}: {error}")
            ) from error
        low, high = metric.range or (float("-inf"), float("inf"))
        slack = 1e-9 * (high - low) if metric.range else 0.0
        if not low - slack <= value <= high + slack or abs(value) == float("inf"):
            raise UsageError(_failure_message(metric, counts, f"it returned {value!r}"))
        return max(low, min(high, value))

    return level


def _impute_counts(
    rows: Sequence[Row | None], level: Level, sign: float, heaviest: float
) -> list[Row]:
    """Return an arm's counts, the missing ones replaced by those that lower `sign` · level most."""
    present = [row for row in rows if row is not None]
    if len(present) in (0, len(rows)):
        return present
    total = [sum(column) for column in zip(*present, strict=True)]
    worst = min(
        (tuple(heaviest * count for count in row) for row in dict.fromkeys(present)),
        key=lambda row: sign * level(t + c for t, c in zip(total, row, strict=True)),
    )
    return [worst if row is None else row for row in rows]


def _failure_message(metric: MetricRecord, counts: Sequence[float], why: str) -> str:
    shown = ", ".join(f"{count:g}" for count in counts[:12]) + (", …" if len(counts) > 12 else "")
    return (
        f"metric {metric.name!r}: its corpus function fails on the sums ({shown}): {why[:200]}; it "
        "must return a number within the metric's range for any sums of cases"
    )


def _sum_clusters(rows: Sequence[Row], clusters: Sequence[str] | None) -> tuple[Row, ...]:
    if clusters is None:
        return tuple(rows)
    grouped: dict[str, list[Row]] = {}
    for row, name in zip(rows, clusters, strict=True):
        grouped.setdefault(name, []).append(row)
    return tuple(tuple(map(sum, zip(*members, strict=True))) for members in grouped.values())


def few_for_corpus(cases: int) -> str:
    """Return why gates on a corpus value are advisory."""
    return (
        f"one value over all cases gates from {LEAST} of them on; with "
        f'{count_noun(cases, "case")} its gates are advisory: add cases, or set aggregate = "mean"'
    )


def judged_once(metrics: Sequence[str]) -> str:
    """Return why a suite with such metrics has no interim looks."""
    names = " and ".join(metrics)
    return f"{names}: one value over all cases is judged once, so the suite cannot end early"
