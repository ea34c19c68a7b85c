"""Designs that need fewer cases because they measure more of each case."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from tunegate.harness.comparison.estimator import ScoreSpread
from tunegate.harness.comparison.planned_comparison import PlannedComparison
from tunegate.harness.comparison.sample_size import sample_deviation
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.defaults import POWER
from tunegate.harness.records.manifest import Gate
from tunegate.harness.suite.suite import Suite

AVERAGED = {2: 0.52, 4: 0.27, 8: 0.15}
"""Samples per case → variance of the difference of their means, relative to one sample.

Measured on pairs of real models at a temperature.
"""
CONTINUOUS = 39
"""Largest ratio of the variance of a right answer's flips to that of its probability, measured
likewise."""


def cheaper_designs(
    suite: Suite,
    gate: Gate,
    plan: PlannedComparison,
    effect: float,
    table: ScoreTable | None,
) -> Iterator[str]:
    """Yield how many cases and answers a gate on 0/1 scores takes with such a design."""
    metric = suite.metric(gate.metric)
    if not plan.spread.binary or isinstance(gate.margin, str):
        return

    def cases(variance: float) -> int | None:
        spread = ScoreSpread(math.sqrt(variance), binary=False, deff=plan.spread.deff)
        return replace(plan, spread=spread).cases(effect, POWER)

    if metric.needs is CellKind.CHOICES and metric.binary:
        measured = _measured_variance(table)
        best = cases(plan.spread.value / CONTINUOUS if measured is None else measured)
        if best is not None:
            how = "at best (39 times less variance, the most seen on real models)"
            how = how if measured is None else "(as in the run)"
            yield (
                f"{gate.subject}: choice_probability with the same margin takes {best} cases {how}"
            )
    elif metric.needs is CellKind.GENERATE and suite.generation.samples == 1:
        fewer = {k: cases(share * plan.spread.value) for k, share in AVERAGED.items()}
        if all(n is not None for n in fewer.values()):
            counts = " / ".join(str(n) for n in fewer.values())
            answers = " / ".join(str(k * (n or 0)) for k, n in fewer.items())
            yield (
                f"{gate.subject}: samples = 2 / 4 / 8, with a temperature, take {counts} cases and "
                f"{answers} answers an arm (spread assumed as on real models)"
            )


def _measured_variance(table: ScoreTable | None) -> float | None:
    """Return the variance of `choice_probability` in a run; None if it was not measured."""
    metrics = () if table is None else table.suite.metrics
    for metric in metrics:
        pairs = table.pairs(metric) if table and metric.use == "choice_probability" else None
        if pairs is not None and pairs.n > 1:
            return sample_deviation(pairs.differences) ** 2 or None
    return None
