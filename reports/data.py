"""What the sections share, worked out once: every case paired, sorted into the report's lists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.lines import Indexed
from harness.manifest import MetricRecord
from harness.records import CellKind, ScoreRow
from harness.run import Run
from harness.verdict.record import GateResult
from reports.identity import Arm, arms
from reports.pairs import CasePair, MetricFacts, Outcome, PairScore

BASE, TUNED = "base", "tuned"
"""The two arms that a report compares; further ones appear under provenance."""


@dataclass(frozen=True)
class ReportData:
    """A run as its report sees it; each section gets this and nothing else."""

    run: Run = field(repr=False)
    arms: Mapping[str, Arm]
    """Name → identity, base and tuned first."""
    metrics: Mapping[tuple[str, str], MetricFacts]
    """(suite, metric) → what is known of it; gated metrics first, in the gates' order."""
    pairs: tuple[CasePair, ...] = field(repr=False)
    """Every case, in plan order."""
    regressions: tuple[CasePair, ...] = field(repr=False)
    """Newly failing first, then the largest drop."""
    improvements: tuple[CasePair, ...] = field(repr=False)
    """Newly passing first, then the largest gain."""
    changed: tuple[CasePair, ...] = field(repr=False)
    """Equal scores, other completions, in plan order."""

    outcomes: Mapping[Outcome, int]
    """Outcome → how many cases changed in this way."""

    def with_outcome(self, outcome: Outcome) -> int:
        """Return how many cases changed in this way."""
        return self.outcomes.get(outcome, 0)


def prepare(run: Run) -> ReportData:
    """Return everything that the sections of `run`'s report share."""
    metrics = {(m.suite, m.name): m for m in _metrics(run)}
    pairs = tuple(_pairs(run, metrics))
    lists: dict[Outcome, list[CasePair]] = defaultdict(list)
    for pair in pairs:
        lists[pair.outcome].append(pair)
    return ReportData(
        run=run,
        arms=arms(run),
        metrics=metrics,
        pairs=pairs,
        regressions=_sorted(lists[Outcome.BROKE]) + _sorted(lists[Outcome.WORSE]),
        improvements=_sorted(lists[Outcome.FIXED]) + _sorted(lists[Outcome.BETTER]),
        changed=tuple(lists[Outcome.CHANGED]),
        outcomes={outcome: len(found) for outcome, found in lists.items()},
    )


def _sorted(pairs: Iterable[CasePair]) -> tuple[CasePair, ...]:
    """Sort by the size of the deciding change, largest first; ties keep the plan's order."""

    def size(pair: CasePair) -> float:
        return abs(pair.deciding.change or 0) if pair.deciding else 0.0

    return tuple(sorted(pairs, key=size, reverse=True))


def _metrics(run: Run) -> Iterable[MetricFacts]:
    """Yield the metrics of every suite, the gated ones first."""
    values: dict[tuple[str, str], set[float]] = defaultdict(set)
    for row in run.scores:
        if row.arm in (BASE, TUNED) and row.value is not None:
            values[row.suite, row.metric].add(row.value)
    gates = {suite.name: suite.gates for suite in run.verdict.suites}
    for suite in run.manifest.suites:
        facts = [
            _facts(suite.name, metric, values[suite.name, metric.name], gates.get(suite.name, ()))
            for metric in suite.metrics
        ]
        yield from sorted(facts, key=lambda metric: not metric.gated)


def _facts(
    suite: str, metric: MetricRecord, seen: set[float], gates: Sequence[GateResult]
) -> MetricFacts:
    own = [gate for gate in gates if gate.metric == metric.name]
    return MetricFacts(
        suite=suite,
        name=metric.name,
        higher_is_better=metric.higher_is_better,
        gated=bool(own),
        timed=metric.needs is CellKind.LATENCY,
        binary=metric.binary and seen <= {0.0, 1.0},
        picks=metric.picks,
        span=metric.bound or (max(seen) - min(seen) if seen else 0) or 1.0,
    )


def _pairs(run: Run, metrics: Mapping[tuple[str, str], MetricFacts]) -> Iterable[CasePair]:
    places: dict[tuple[str, str], dict[tuple[str, CellKind], int]] = defaultdict(dict)
    decided = set()
    for place, stored in enumerate(run.cells):
        key = stored.cell.suite, stored.cell.case
        if stored.status == "skipped":
            decided.add(key)
        elif stored.cell.sample == 0:
            places[key][stored.cell.arm, stored.cell.kind] = place
    known = run.manifest.leakage
    touched, left_out = (known.touched, known.left_out) if known else ({}, {})
    of_suite: dict[str, list[MetricFacts]] = defaultdict(list)
    for facts in metrics.values():
        of_suite[facts.suite].append(facts)
    for suite, case in run.cases:
        if (suite, case) in decided:
            continue
        scores = (_score(run, facts, case) for facts in of_suite[suite])
        yield CasePair(
            suite=suite,
            name=case,
            cases=run.cases,
            scores=tuple(s for s in scores if s.base or s.tuned),
            cells=Indexed(run.cells, places[suite, case]),
            touched=touched.get((suite, case)),
            left_out=case in left_out.get(suite, ()),
        )


def _score(run: Run, facts: MetricFacts, case: str) -> PairScore:
    def of(arm: str) -> ScoreRow | None:
        return run.score_table.get((facts.suite, facts.name, case, arm))

    return PairScore(metric=facts, base=of(BASE), tuned=of(TUNED))
