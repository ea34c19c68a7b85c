"""What an earlier run tells about a suite: its pairs of scores, and the seconds a case takes.

The run may have judged other models and other cases under the suite's name: how far apart two arms
score is a property of the suite and the metric first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import UsageError
from harness.lookup import unknown
from harness.manifest import SuiteRecord
from harness.records import StoredCell
from harness.run import Run
from harness.verdict.pairs import Pairs
from harness.verdict.scores import Table

ARMS = ("base", "tuned")


@dataclass(frozen=True)
class Observed:
    """What an earlier run tells about one suite."""

    pairs: Mapping[str, Pairs] = field(repr=False)
    """Metric → its complete pairs, at least two."""
    seconds: Mapping[str, float]
    """Arm → seconds that a case took; an arm whose answers were not timed is left out."""


def observe(run: Run, suite: str, metrics: Sequence[str]) -> Observed:
    """Return what a run tells about the metrics of a suite.

    Raises:
        UsageError: the run has no suite of that name, not all of the metrics, or fewer than two
            complete pairs of one.
    """
    records = {record.name: record for record in run.manifest.suites}
    if suite not in records:
        raise UsageError(f"{run.folder}: {unknown(suite, tuple(records), what='suite')}")
    table = _table(run, records[suite])
    pairs = {name: _pairs(run, table, name) for name in metrics}
    return Observed(pairs, _seconds(run, suite))


def _table(run: Run, suite: SuiteRecord) -> Table:
    cases = {name: row.case for (where, name), row in run.cases.items() if where == suite.name}
    values = {
        (metric, case, arm): row
        for (where, metric, case, arm), row in run.score_table.items()
        if where == suite.name
    }
    return Table(suite, cases, values)


def _pairs(run: Run, table: Table, name: str) -> Pairs:
    records = {record.name: record for record in table.suite.metrics}
    place = f"{run.folder}: suite {table.suite.name!r}"
    if name not in records:
        raise UsageError(f"{place}: {unknown(name, tuple(records), what='metric')}")
    pairs = table.pairs(records[name])
    if pairs.n < 2:
        raise UsageError(
            f"{place}: metric {name!r} has {pairs.n} complete pairs, and a plan takes 2; name "
            "another run, or plan without --from"
        )
    return pairs


def _seconds(run: Run, suite: str) -> dict[str, float]:
    """Return arm → seconds a case: each batch's time is shared by its cells, whatever suite's."""
    batches: dict[tuple[str, float], list[StoredCell]] = defaultdict(list)
    for stored in run.cells:
        if stored.started_s is not None and _latency(stored) is not None:
            batches[stored.cell.arm, stored.started_s].append(stored)
    totals: dict[str, float] = defaultdict(float)
    for (arm, _), cells in batches.items():
        mine = sum(stored.cell.suite == suite for stored in cells)
        totals[arm] += max(_latency(stored) or 0.0 for stored in cells) * mine / len(cells)
    n = sum(where == suite for where, _ in run.cases)
    return {arm: totals[arm] / n for arm in ARMS if arm in totals}


def _latency(stored: StoredCell) -> float | None:
    return stored.completion.latency_s if stored.completion else None
