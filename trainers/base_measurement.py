"""The base model alone on a suite, compared with the suite's floors and ceilings.

Answers come from the gate's engine and store, so a later gate does not ask base again.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tunegate.harness.checks import comparability
from tunegate.harness.contracts.model import Arm, LocalArm
from tunegate.harness.decision.score_table import ScoreTable, tables_of
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.answers import CellKind, StoredAnswer
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.records.errors import BackendError
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.run import STORE
from tunegate.harness.run.prepare import prepare
from tunegate.harness.stats.types import Interval
from tunegate.harness.suite import Suite
from tunegate.harness.suite.arm_prompt import ArmPrompt
from tunegate.trainers.checkpoint_evaluation import ranking_metric


@dataclass(frozen=True)
class MetricLevel:
    """Base's level on one metric, with the floors and ceilings that the suite sets on it."""

    metric: str
    level: Interval | None
    """The level and its interval; None without scores."""
    gates: tuple[GateResult, ...]

    @property
    def sentence(self) -> str:
        """The level and its bounds in words."""
        shown = "no scores" if self.level is None else f"{self.level.estimate:.3g}"
        bounds = [
            f"{g.kind} {g.margin} {'held' if g.status is GateStatus.PASS else 'broken'}"
            for g in self.gates
        ]
        return f"{self.metric} {shown}" + (f" ({', '.join(bounds)})" if bounds else "")

    @property
    def cell(self) -> str:
        """The level and its interval, for a table."""
        if self.level is None:
            return "no scores"
        return f"{self.level.estimate:.3g} [{self.level.low:.3g}, {self.level.high:.3g}]"


@dataclass(frozen=True)
class CallCost:
    """What a call takes on average; None is unknown."""

    input_tokens: float | None
    output_tokens: float | None
    dollars: float | None

    @classmethod
    def of(cls, answers: Iterable[StoredAnswer], prices: Sequence[float]) -> CallCost:
        """Return the means over written answers; `prices` are scores of the metric `cost`."""
        written = [
            answer.completion
            for answer in answers
            if answer.completion is not None and answer.cell.kind is CellKind.GENERATE
        ]
        return cls(
            _mean(completion.input_tokens for completion in written),
            _mean(completion.output_tokens for completion in written),
            _mean(prices or [completion.cost for completion in written]),
        )

    @property
    def tokens(self) -> str:
        """Tokens of prompt and answer, for a table."""
        both = (self.input_tokens, self.output_tokens)
        return " + ".join("?" if count is None else f"{count:,.0f}" for count in both)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


@dataclass(frozen=True)
class BaseMeasurement:
    """A suite, asked of base alone."""

    levels: tuple[MetricLevel, ...]
    goal: str
    """The metric that the suite wants to gain on."""
    complete: bool
    """Whether every floor of the suite was measured; those of a judge's metric are not."""
    cost: CallCost

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
        found = next((level.level for level in self.levels if level.metric == self.goal), None)
        return found is None or found.estimate != 0

    @property
    def shown(self) -> tuple[MetricLevel, ...]:
        """The levels that say what is good enough: with a floor or ceiling, or to gain on."""
        return tuple(level for level in self.levels if level.gates or level.metric == self.goal)


def open_base(suite: Suite, spec: str, *, dtype: str = "auto") -> Arm:
    """Open base alone, to be asked the suite's cases."""
    arm = open_arms({"base": spec, "tuned": spec}, dtype=dtype)["base"]
    comparability.check_answerable([suite], {"base": arm})
    return arm


def measure_base(suite: Suite, arm: Arm, prompt: ArmPrompt | None = None) -> BaseMeasurement:
    """Ask base every case and compare its levels with the suite's floors and ceilings.

    Args:
        suite: The suite.
        arm: Base.
        prompt: What it gets instead of the suite's prompt; None is the suite's own.

    Raises:
        BackendError: too many answers are unscored, or base's context is too short for a prompt.
    """
    suite = replace(suite, arm_prompts={} if prompt is None else {"base": prompt})
    with prepare([suite], {"base": arm}, STORE) as run:
        if prompt is not None and isinstance(arm, LocalArm):
            limits = {"base": arm.context_length}
            for problem, _ in comparability.long_prompts(run.plan.requests.values(), limits):
                raise BackendError(problem)
        run.answer(sys.stderr)
        answers = list(run.answers())
        scores = tuple(run.score(answers))
    # A level is asked of tuned; what is asked here is whether base could be shipped as it is.
    both_arms = [*scores, *(replace(row, arm="tuned") for row in scores)]
    record = suite.record()
    priced = {metric.name for metric in record.metrics if metric.use == "cost"}
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
        cost=CallCost.of(
            answers, [r.value for r in scores if r.metric in priced and r.value is not None]
        ),
    )


def _levels(table: ScoreTable, gates: tuple[GateResult, ...]) -> Iterator[MetricLevel]:
    for metric in table.suite.metrics:
        if metric.judge is None:
            pairs = table.pairs(metric)
            level = pairs.estimator.level(CONFIDENCE) if pairs.n else None
            yield MetricLevel(
                metric.name, level, tuple(g for g in gates if g.metric == metric.name)
            )
