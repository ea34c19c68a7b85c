"""From the cells of a run to its scores, and from scores to the pairs that gates rest on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.manifest import MetricRecord, SuiteRecord
from harness.metric import Metric
from harness.records import Case, CellKind, Completion, Score, ScoreRow, StoredCell
from harness.suite import Suite
from harness.verdict.compare import Pairs


def score_suite(
    suite: Suite, cells: Iterable[StoredCell], arms: Sequence[str]
) -> Iterator[ScoreRow]:
    """Yield one row for every metric, case and arm; a failed cell leaves its case unscored."""
    found: dict[tuple[str, str, CellKind], list[StoredCell]] = {}
    for stored in cells:
        cell = stored.cell
        if cell.suite == suite.name:
            found.setdefault((cell.case, cell.arm, cell.kind), []).append(stored)
    for metric in suite.metrics:
        for case in (s.case for s in suite.cases):
            for arm in arms:
                asked = found.get((case.id, arm, metric.needs))
                if asked:
                    yield _row(suite.name, metric, case, arm, asked)


def _row(
    suite: str, metric: Metric, case: Case, arm: str, asked: Sequence[StoredCell]
) -> ScoreRow:
    """Score the samples of one case and average them: the unit of inference is the case."""
    scores = [_score(metric, case, stored) for stored in asked]
    values = [s.value for s in scores if s.value is not None]
    reasons = [s.reason for s in scores if s.reason]
    unscored = [s.reason for s in scores if s.value is None]
    return ScoreRow(
        suite=suite,
        metric=metric.name,
        case=case.id,
        arm=arm,
        value=sum(values) / len(values) if values and not unscored else None,
        reason=(unscored or reasons or [None])[0],
    )


def _score(metric: Metric, case: Case, stored: StoredCell) -> Score:
    completion: Completion | None = stored.completion
    if completion is None:
        return Score.unscored(stored.error or "there is no completion")
    return metric(case, completion)


@dataclass(frozen=True)
class Table:
    """The scores of one suite, ready to be paired."""

    suite: SuiteRecord
    cases: Mapping[str, Case]
    values: Mapping[tuple[str, str, str], ScoreRow]
    """(metric, case, arm) → score."""

    def asked(self, metric: str) -> list[str]:
        """Return the cases that the metric was asked of, in plan order."""
        return [c for c in self.cases if (metric, c, "tuned") in self.values]

    def value(self, metric: str, case: str, arm: str) -> float | None:
        """Return a score; None if unscored."""
        row = self.values.get((metric, case, arm))
        return None if row is None else row.value

    def pairs(self, metric: MetricRecord, *, arm: str = "base") -> Pairs:
        """Return the complete pairs of a metric, `arm` against tuned."""
        asked = self.asked(metric.name)
        both = [
            (case, b, t)
            for case in asked
            if (b := self.value(metric.name, case, arm)) is not None
            and (t := self.value(metric.name, case, "tuned")) is not None
        ]
        return Pairs(
            suite=self.suite.name,
            metric=metric,
            base=tuple(b for _, b, _ in both),
            tuned=tuple(t for _, _, t in both),
            clusters=self._clusters([case for case, _, _ in both]),
            n_unscored={a: len(self.unscored(metric.name, a)) for a in (arm, "tuned")},
            chance=self._chance(metric, [case for case, _, _ in both]),
        )

    def imputed(self, metric: MetricRecord) -> Pairs:
        """Return pairs in which unscored cases went worst for tuned and best for base.

        On an unbounded metric the missing difference is the worst observed one.
        """
        observed = self.pairs(metric)
        best, worst = _extremes(metric, observed)
        base, tuned = list(observed.base), list(observed.tuned)
        missing = []
        for case in self.asked(metric.name):
            b = self.value(metric.name, case, "base")
            t = self.value(metric.name, case, "tuned")
            if b is None or t is None:
                missing.append(case)
                base.append(best if b is None else b)
                tuned.append(worst if t is None else t)
        scored = [
            c for c in self.asked(metric.name)
            if self.value(metric.name, c, "base") is not None
            and self.value(metric.name, c, "tuned") is not None
        ]
        return replace(
            observed,
            base=tuple(base),
            tuned=tuple(tuned),
            clusters=self._clusters(scored + missing),
        )

    def unscored(self, metric: str, arm: str) -> list[str]:
        """Return the cases of an arm without a score."""
        return [c for c in self.asked(metric) if self.value(metric, c, arm) is None]

    def reasons(self, metrics: Iterable[str], arms: Sequence[str]) -> dict[str, int]:
        """Return why cases are unscored, with counts, the commonest first."""
        counts = Counter(
            self.values[metric, case, arm].reason or "unknown"
            for metric in metrics
            for arm in arms
            for case in self.unscored(metric, arm)
            if (metric, case, arm) in self.values
        )
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def _clusters(self, ids: Sequence[str]) -> tuple[str, ...] | None:
        """Return each case's cluster; None if no case shares one."""
        names = tuple(self.cases[i].cluster or f"\0{i}" for i in ids)
        return names if len(set(names)) < len(names) else None

    def _chance(self, metric: MetricRecord, ids: Sequence[str]) -> float | None:
        if metric.needs is not CellKind.CHOICES or not metric.binary or not ids:
            return None
        shares = [1 / len(self.cases[i].choices or ("", "")) for i in ids]
        return sum(shares) / len(shares)


def _extremes(metric: MetricRecord, observed: Pairs) -> tuple[float, float]:
    """Return the best score for base and the worst for tuned."""
    if metric.range is not None:
        low, high = metric.range
        return (high, low) if metric.higher_is_better else (low, high)
    if not observed.n:
        return 0.0, 0.0
    worst = min(range(observed.n), key=lambda i: observed.differences[i])
    return observed.base[worst], observed.tuned[worst]
