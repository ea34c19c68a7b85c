"""Spread of paired scores: assumed, or measured in an earlier run.

What an earlier run shows of a suite: its pairs of scores, and the seconds a case takes. The run may
have judged other models and other cases under the suite's name: how far apart two arms score is a
property of the suite and the metric first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.comparison.sample_size import ScoreSpread
from tunegate.harness.comparison.score_table import ScoreTable
from tunegate.harness.errors import UsageError
from tunegate.harness.gate_kind import gate_kind
from tunegate.harness.lookup import unknown_name_message
from tunegate.harness.metric import Metric
from tunegate.harness.records.cases import StoredAnswer
from tunegate.harness.records.manifest import Gate, SuiteRecord
from tunegate.harness.records.run_folder import Run

GRID = (0.1, 0.2, 0.3)
"""Assumed discordance, or σ as a share of the metric's range."""


def assumed_spreads(metric: Metric, *, binary: bool) -> tuple[ScoreSpread, ...]:
    """Return the grid of a metric that no run has shown; nothing if its range is unknown."""
    if binary:
        return tuple(ScoreSpread(share, binary=True) for share in GRID)
    return tuple(ScoreSpread(share * metric.bound, binary=False) for share in GRID if metric.bound)


def pilot_spread(pairs: Pairs, gate: Gate) -> tuple[ScoreSpread, ...]:
    """Return the spread that a run showed, by the scale on which the gate judges it.

    Args:
        pairs: The run's complete pairs of the gate's metric, at least two.
        gate: A gate that compares tuned with base.

    Returns:
        One spread; nothing if all differences of continuous scores are equal, which says nothing
        of the next run.
    """
    judged = gate_kind(gate.kind).judged_pairs(gate, pairs)
    # Beyond 1 there is no difference of 0/1 scores; only an undeclared range gets here.
    beyond = abs(judged.margin) >= 1 or (gate.expected_gain or 0) > 1
    found = judged.pairs.estimator.spread(beyond_counts=beyond)
    return () if found is None else (found,)


ARMS = ("base", "tuned")


@dataclass(frozen=True)
class PilotRun:
    """What an earlier run tells about one suite."""

    pairs: Mapping[str, Pairs] = field(repr=False)
    """Metric → its complete pairs, at least two."""
    seconds: Mapping[str, float]
    """Arm → seconds that a case took; an arm whose answers were not timed is left out."""


def read_pilot(run: Run, suite: str, metrics: Sequence[str]) -> PilotRun:
    """Return what a run tells about the metrics of a suite.

    Raises:
        UsageError: the run has no suite of that name, not all of the metrics, or fewer than two
            complete pairs of one.
    """
    records = {record.name: record for record in run.manifest.suites}
    if suite not in records:
        raise UsageError(
            f"{run.folder}: {unknown_name_message(suite, tuple(records), what='suite')}"
        )
    table = _table(run, records[suite])
    pairs = {name: _pairs(run, table, name) for name in metrics}
    return PilotRun(pairs, _seconds(run, suite))


def _table(run: Run, suite: SuiteRecord) -> ScoreTable:
    cases = {name: row.case for (where, name), row in run.cases.items() if where == suite.name}
    values = {
        (metric, case, arm): row
        for (where, metric, case, arm), row in run.score_table.items()
        if where == suite.name
    }
    return ScoreTable(suite, cases, values)


def _pairs(run: Run, table: ScoreTable, name: str) -> Pairs:
    records = {record.name: record for record in table.suite.metrics}
    place = f"{run.folder}: suite {table.suite.name!r}"
    if name not in records:
        raise UsageError(f"{place}: {unknown_name_message(name, tuple(records), what='metric')}")
    pairs = table.pairs(records[name])
    if pairs.n < 2:
        raise UsageError(
            f"{place}: metric {name!r} has {pairs.n} complete pairs, and a plan takes 2; name "
            "another run, or plan without --from"
        )
    return pairs


def _seconds(run: Run, suite: str) -> dict[str, float]:
    """Return arm → seconds a case: each batch's time is shared by its cells, whatever suite's."""
    batches: dict[tuple[str, float], list[StoredAnswer]] = defaultdict(list)
    for stored in run.cells:
        if stored.started_s is not None and _latency(stored) is not None:
            batches[stored.cell.arm, stored.started_s].append(stored)
    totals: dict[str, float] = defaultdict(float)
    for (arm, _), cells in batches.items():
        mine = sum(stored.cell.suite == suite for stored in cells)
        totals[arm] += max(_latency(stored) or 0.0 for stored in cells) * mine / len(cells)
    n = sum(where == suite for where, _ in run.cases)
    return {arm: totals[arm] / n for arm in ARMS if arm in totals}


def _latency(stored: StoredAnswer) -> float | None:
    return stored.completion.latency_s if stored.completion else None
