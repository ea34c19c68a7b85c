"""Feasibility: gates that the suite's cases cannot prove are refused before a token is spent."""

from __future__ import annotations

from collections.abc import Iterator

from tunegate.harness.comparison.corpus_level import LEAST
from tunegate.harness.defaults import CONFIDENCE, EARLY_STOP_CASES
from tunegate.harness.gate_kind import gate_kind
from tunegate.harness.gating.sentences import few_for_corpus, judged_once
from tunegate.harness.metric import Metric
from tunegate.harness.records.cases import CellKind
from tunegate.harness.records.manifest import Gate
from tunegate.harness.suite import Suite


def unreachable(suite: Suite) -> list[str]:
    """Return a sentence for every gate that a flawless result could not pass."""
    return [f"{gate.where}: {problem}" for gate in suite.gates for problem in refusals(suite, gate)]


def refusals(suite: Suite, gate: Gate) -> Iterator[str]:
    """Yield why a flawless result could not pass the gate; nothing if it could."""
    metric = suite.metric(gate.metric)
    yield from gate_kind(gate.kind).refusals(gate, metric, asked(suite, metric), suite.gates)


def advisory(suite: Suite, gate: Gate) -> bool:
    """Return whether the gate has no say: on a corpus value, with few cases."""
    metric = suite.metric(gate.metric)
    over_all = metric.corpus is not None and not gate_kind(gate.kind).counts_cases
    return over_all and asked(suite, metric) < LEAST


def silent_goals(suite: Suite) -> Iterator[str]:
    """Yield the goals of a suite that needs one of them, where none of them has a say."""
    goals = [gate for gate in suite.gates if gate_kind(gate.kind).is_goal]
    needed = goals[:1] if suite.goal_rule == "primary" else goals
    if all(advisory(suite, gate) for gate in needed):
        for gate in needed:
            too_few = few_for_corpus(gate.metric, len(suite.cases))
            yield f"{gate.where}: {gate.kind}={gate.margin} has no say; {too_few}"


def corpus_notes(suite: Suite) -> Iterator[str]:
    """Yield what a reader of the plan must know of metrics that are one value over all cases."""
    gated = [m for m in suite.gated_metrics if m.corpus is not None]
    for metric in gated:
        if asked(suite, metric) < LEAST:
            yield few_for_corpus(metric.name, asked(suite, metric))
    if gated and len(suite.cases) >= EARLY_STOP_CASES:
        yield judged_once([metric.name for metric in gated])


def asked(suite: Suite, metric: Metric) -> int:
    """Return the number of cases (the timed ones for latency) that the metric is asked of."""
    cases = len(suite.cases)
    return min(cases, suite.generation.latency_cases) if metric.needs is CellKind.LATENCY else cases


TOLERANCES = (0.02, 0.05, 0.10, 0.15, 0.20, 0.30)
"""Losses of a share that a suite may allow; beyond the last it would guard nothing."""


def provable_tolerance(count: int) -> float:
    """Return the narrowest of a few tolerances that `count` independent cases can prove.

    Of too few cases for any of them, the widest: the check of the suite then says what it takes.
    """
    from tunegate.harness.stats.power import smallest_provable_n

    proven = (t for t in TOLERANCES if smallest_provable_n(t, confidence=CONFIDENCE) <= count)
    return next(proven, TOLERANCES[-1])
