"""Baseline: each indicator on the run's own answers, and the worst rate they allow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tunegate.harness.contracts.further_arm import SHIPPED
from tunegate.harness.production.watch.answered_case import AnsweredCase
from tunegate.harness.production.watch.indicators import QUANTILE, LossKind, MonitoredFigure
from tunegate.harness.records.answers import CellKind, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.manifest import SuiteRecord
from tunegate.harness.records.run_folder import Run


@dataclass(frozen=True, slots=True)
class ProductionBaseline:
    """What production shows if it is as good as the gate's model."""

    n: int
    """Cases."""
    level: float
    """Share of them that was lost in the gate."""
    threshold: float | None
    """Cut of figures without a range; None for the others."""
    bound: float
    """Largest share that the gate's sample leaves possible."""


def arm_of(run: Run) -> str:
    """Return the arm that went to production: the shipped artifact's, or tuned."""
    return SHIPPED if SHIPPED in run.manifest.arms else "tuned"


def suite_of(run: Run, name: str | None) -> SuiteRecord:
    """Return the suite of a run whose answers production is compared with."""
    written = {cell.suite for cell in run.manifest.plan if cell.kind is CellKind.GENERATE}
    suites = {suite.name: suite for suite in run.manifest.suites if suite.name in written}
    if not suites:
        raise UsageError(f"{run.folder}: no suite of this run has generated answers")
    names = ", ".join(suites)
    if name is None and len(suites) > 1:
        raise UsageError(f"{run.folder}: has the suites {names}; choose one with --suite DIR")
    if name is not None and name not in suites:
        raise UsageError(f"{run.folder}: has no suite {name!r} with answers; it has {names}")
    return suites[name or names]


class BaselineAnswers:
    """The answers of one suite and arm of a run."""

    def __init__(self, run: Run, suite: str, arm: str) -> None:
        self._run, self._suite, self._arm = run, suite, arm
        cases = run.cases_of[suite]
        self._cases: Mapping[str, Case] = {c.id: c for c in cases if c.variant_of is None}
        self._written: dict[str, StoredAnswer] = {}
        self._timed: dict[str, StoredAnswer] = {}
        for stored in run.cells:
            cell = stored.cell
            of_arm = cell.suite == suite and cell.arm == arm and not cell.sample
            if of_arm and cell.case in self._cases:
                if cell.kind is CellKind.GENERATE and stored.status in ("ok", "error"):
                    self._written[cell.case] = stored
                if _alone(stored):
                    self._timed[cell.case] = stored

    def scores(self, figure: MonitoredFigure) -> dict[str, float]:
        """Return the figure's value on every case that has one.

        Metrics are computed again from the stored answers, so that gate and production are measured
        alike; a judge's scores come from the run.
        """
        if figure.metric is not None and figure.metric.judge is not None:
            rows = self._run.score_table
            keys = ((self._suite, figure.metric.name, case, self._arm) for case in self._cases)
            values = [(key[2], rows[key].value) for key in keys if key in rows]
        else:
            values = list(self._measured(figure))
        return {case: value for case, value in values if value is not None}

    def _measured(self, figure: MonitoredFigure) -> Iterator[tuple[str, float | None]]:
        for case, stored in (self._timed if figure.times else self._written).items():
            score = figure.measure(AnsweredCase(self._cases[case], stored.completion))
            yield case, score.value

    def units(self, figure: MonitoredFigure) -> list[list[float]]:
        """Return the figure's values, grouped by cluster.

        A cluster counts with as many calls as a conversation of production, drawn by the hash of
        their names.
        """
        from tunegate.harness.stats.confidence_sequences import MOST_CALLS

        clusters: dict[str, list[float]] = {}
        for case, value in sorted(self.scores(figure).items(), key=lambda item: sha256(item[0])):
            clusters.setdefault(self._cases[case].cluster or f"case {case}", []).append(value)
        return [values[:MOST_CALLS] for values in clusters.values()]


def _alone(stored: StoredAnswer) -> bool:
    """Return whether an answer was timed alone, not in a batch."""
    done = stored.completion
    if done is None or done.latency_s is None:
        return False
    kind = stored.cell.kind
    return kind is CellKind.LATENCY or (kind is CellKind.GENERATE and done.batch_size == 1)


def production_baseline(
    figure: MonitoredFigure, units: Iterable[Iterable[float]], alpha: float
) -> ProductionBaseline:
    """Return the baseline of a figure by its values on the gate's cases, grouped by cluster.

    `alpha` is the probability that the bound is too low.
    """
    from tunegate.harness.stats.tolerance_bounds import order_statistic

    groups = [list(values) for values in units]
    limit = None
    if figure.cuts:
        values = [figure.value(value) for cluster in groups for value in cluster]
        limit = order_statistic(values, QUANTILE).value
    losses = [[figure.loss(value, limit) for value in cluster] for cluster in groups]
    flat = [loss for cluster in losses for loss in cluster]
    bound = _worst_mean(losses, binary=figure.kind is not LossKind.MEAN, alpha=alpha)
    return ProductionBaseline(len(flat), sum(flat) / len(flat), limit, bound)


def _worst_mean(losses: Sequence[Sequence[float]], *, binary: bool, alpha: float) -> float:
    """Return the largest mean of all calls that these losses of clusters leave possible."""
    from tunegate.harness.stats import tolerance_bounds

    if len(losses) == 1:
        losses = [losses[0][:1]]  # one cluster says no more than one case
    flat = [loss for cluster in losses for loss in cluster]
    if len(flat) > len(losses):
        labels = [number for number, cluster in enumerate(losses) for _ in cluster]
        return tolerance_bounds.worst_clustered_mean(flat, labels, alpha=alpha)
    if binary:
        return tolerance_bounds.worst_rate(round(sum(flat)), len(flat), alpha=alpha)
    return tolerance_bounds.worst_mean(flat, alpha=alpha)
