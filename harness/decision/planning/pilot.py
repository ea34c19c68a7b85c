"""A pilot: what an earlier run shows about a suite, to plan the next one.

It may have evaluated other models and other cases under the suite's name: how far apart two arms
score depends mostly on the suite and the metric.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunegate.harness.comparison.estimator import ScoreSpread
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.contracts.further_arm import ARMS
from tunegate.harness.decision.answer_facts.answer_counts import AnswerCounts, count_answers
from tunegate.harness.decision.score_table import ScoreTable, split_variants
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.errors import UsageError, unknown_name_message
from tunegate.harness.records.manifest import Gate, SuiteRecord
from tunegate.harness.records.run_folder import Run


def pilot_spread(pairs: Pairs, gate: Gate) -> tuple[ScoreSpread, ...]:
    """Return the spread of a run's pairs, on the scale on which the gate judges them.

    It is empty if all differences of continuous scores are equal: that says nothing about the next
    run.
    """
    judged = gate_kind(gate.kind).judged_pairs(gate, pairs)
    # Differences of 0/1 scores end at 1; a metric that declares no range may ask for more.
    beyond = abs(judged.margin) >= 1 or (gate.expected_gain or 0) > 1
    found = judged.pairs.estimator.spread(beyond_counts=beyond)
    return () if found is None else (found,)


@dataclass(frozen=True)
class PilotRun:
    """What a run shows about one suite."""

    pairs: Mapping[str, Pairs] = field(repr=False)
    """Metric → its complete pairs, at least two."""
    seconds: Mapping[str, float]
    """Timed arm → seconds per case."""
    table: ScoreTable | None = field(default=None, repr=False)
    """The run's scores, for gates on a tag; without them all cases are used."""
    unchanged: float | None = None
    """Share of tuned's greedy answers that equal base's; None without such answers."""

    def of_gate(self, gate: Gate) -> Pairs:
        """Return the gate's pairs, or those of base and tuned on all cases if fewer than two."""
        pairs = self.pairs[gate.metric]
        if self.table is None or (gate.tag is None and gate.against is None):
            return pairs
        part = self.table.of_gate(gate).pairs(pairs.metric)
        return part if part.n > 1 else pairs


def read_pilot(run: Run, suite: str, metrics: Sequence[str]) -> PilotRun:
    """Read what a run shows about the metrics of a suite."""
    records = {record.name: record for record in run.manifest.suites}
    if suite not in records:
        raise UsageError(
            f"{run.folder}: {unknown_name_message(suite, tuple(records), what='suite')}"
        )
    table = _table(run, records[suite])
    pairs = {name: _pairs(run, table, name) for name in metrics}
    counts = count_answers(run.cells).get(suite, AnswerCounts())
    unchanged = None if records[suite].generation.get("temperature") else counts.same_share
    return PilotRun(pairs, seconds_per_case(run).get(suite, {}), table, unchanged)


def _table(run: Run, suite: SuiteRecord) -> ScoreTable:
    cases = (row.case for (where, _), row in run.cases.items() if where == suite.name)
    plain, variants = split_variants(cases)
    values = {
        (metric, case, arm): row
        for (where, metric, case, arm), row in run.score_table.items()
        if where == suite.name
    }
    return ScoreTable(suite, plain, values, variants=variants)


def _pairs(run: Run, table: ScoreTable, name: str) -> Pairs:
    records = {record.name: record for record in table.suite.metrics}
    where = f"{run.folder}: suite {table.suite.name!r}"
    if name not in records:
        raise UsageError(f"{where}: {unknown_name_message(name, tuple(records), what='metric')}")
    pairs = table.pairs(records[name])
    if pairs.n < 2:
        raise UsageError(
            f"{where}: metric {name!r} has {pairs.n} complete pairs, and a plan takes 2; name "
            "another run, or plan without --from"
        )
    return pairs


def seconds_per_case(run: Run) -> dict[str, dict[str, float]]:
    """Return suite → arm → seconds per case that was asked; a batch's answers share its time."""
    batches: dict[tuple[str, float], list[StoredAnswer]] = defaultdict(list)
    for stored in run.cells:
        if stored.started_s is not None and _latency(stored) is not None:
            batches[stored.cell.arm, stored.started_s].append(stored)
    totals: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for (arm, _), answers in batches.items():
        longest = max(_latency(stored) or 0.0 for stored in answers)
        for stored in answers:
            totals[stored.cell.suite][arm] += longest / len(answers)
    asked = Counter(suite for suite, _ in run.cases)
    asked.subtract({s.name: s.n_skipped_decided for s in run.verdict.suites})
    return {
        suite: {arm: times[arm] / asked[suite] for arm in ARMS if arm in times}
        for suite, times in totals.items()
    }


def _latency(stored: StoredAnswer) -> float | None:
    return stored.completion.latency_s if stored.completion else None
