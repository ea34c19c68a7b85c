"""The base model alone on a suite, compared with the suite's floors and ceilings.

Answers come from the gate's engine and store, so a later gate does not ask base again.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tunegate.harness.checks import comparability
from tunegate.harness.comparison.delta import Delta
from tunegate.harness.contracts.model import Arm
from tunegate.harness.decision.score_table import tables_of
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.errors import BackendError
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.run import STORE
from tunegate.harness.run.prepare import prepare
from tunegate.harness.suite import Suite
from tunegate.trainers.checkpoint_evaluation import ranking_metric


@dataclass(frozen=True)
class MetricLevel:
    """Base's level on one metric, with the floors and ceilings that the suite sets on it."""

    metric: str
    value: float | None
    gates: tuple[GateResult, ...]

    @property
    def sentence(self) -> str:
        """The level and its bounds in words."""
        shown = "no scores" if self.value is None else f"{self.value:.3g}"
        bounds = [
            f"{g.kind} {g.margin} {'held' if g.status is GateStatus.PASS else 'broken'}"
            for g in self.gates
        ]
        return f"{self.metric} {shown}" + (f" ({', '.join(bounds)})" if bounds else "")


@dataclass(frozen=True)
class BaseMeasurement:
    """A suite, asked of base alone."""

    levels: tuple[MetricLevel, ...]
    goal: str
    """The metric that the suite wants to gain on."""
    complete: bool
    """Whether every floor of the suite was measured; those of a judge's metric are not."""

    @property
    def base(self) -> str:
        """`passes`, `fails` or `unknown`, where no floor defines what is good enough."""
        statuses = [gate.status for level in self.levels for gate in level.gates]
        if any(status is GateStatus.FAIL for status in statuses):
            return "fails"
        held = statuses and all(status is GateStatus.PASS for status in statuses)
        return "passes" if held and self.complete else "unknown"

    @property
    def succeeds(self) -> bool:
        """Whether base gets anything right on the goal's metric."""
        found = next((level.value for level in self.levels if level.metric == self.goal), None)
        return found is None or found != 0


def measure_base(suite: Suite, spec: str, *, dtype: str = "auto") -> BaseMeasurement:
    """Ask base every case and compare its levels with the suite's floors and ceilings."""
    arm = open_arms({"base": spec, "tuned": spec}, dtype=dtype)["base"]
    comparability.check_answerable([suite], {"base": arm})
    return _measure_suite(suite, arm)


def _measure_suite(suite: Suite, arm: Arm) -> BaseMeasurement:
    with prepare([suite], {"base": arm}, STORE) as run:
        run.answer(sys.stderr)
        scores = tuple(run.score(run.answers()))
    # A level is asked of tuned; what is asked here is whether base could be shipped as it is.
    both_arms = [*scores, *(dataclasses.replace(row, arm="tuned") for row in scores)]
    record = suite.record()
    judged = {m.name for m in record.metrics if m.judge is not None}
    levels = [gate for gate in record.gates if gate_kind(gate.kind).reads_level]
    bounds = tuple(gate for gate in levels if gate.metric not in judged)
    manifest = run.manifest("base", [record.model_copy(update={"gates": bounds})])
    (result,) = run.decide(run.with_scores(manifest, both_arms)).suites
    if any(gate.status is GateStatus.ERROR for gate in result.gates):
        reasons = ", ".join(f"{n} times: {why}" for why, n in result.unscored_reasons.items())
        raise BackendError(f"{suite.name}: too much of base is unscored ({reasons})")
    (table,) = tables_of(manifest, run.cases, both_arms, {})
    return BaseMeasurement(
        levels=tuple(_levels(table, result.gates)),
        goal=ranking_metric(suite),
        complete=len(bounds) == len(levels),
    )


def _levels(table: Any, gates: tuple[GateResult, ...]) -> Iterator[MetricLevel]:
    for metric in table.suite.metrics:
        if metric.judge is None:
            value = Delta(table.pairs(metric)).base
            level = value if math.isfinite(value) else None
            yield MetricLevel(
                metric.name, level, tuple(g for g in gates if g.metric == metric.name)
            )
