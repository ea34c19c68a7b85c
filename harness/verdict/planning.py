"""Before anything is spent: gates that these cases can never pass are refused at load."""

from __future__ import annotations

from harness.manifest import Gate, GateKind
from harness.metric import Metric
from harness.records import CellKind
from harness.suite import Suite

_SEARCH_LIMIT = 10_000_000
"""Cases beyond which a margin is called unprovable rather than given a number."""


def unreachable(suite: Suite) -> list[str]:
    """Return a sentence for every gate that even a perfect result could not pass."""
    problems = []
    for gate in suite.gates:
        metric = suite.metric(gate.metric)
        n = _asked(suite, metric)
        needed = _needed(gate, metric)
        if needed is not None and n < needed:
            problems.append(
                f"{gate.where}: {gate.kind.value}={gate.margin} on {gate.metric!r} can never be "
                f"proven with {n} cases: it takes at least {needed}; add cases, or widen the margin"
            )
    return problems


def _asked(suite: Suite, metric: Metric) -> int:
    """Return the number of cases (the timed ones for latency) that the metric is asked of."""
    cases = len(suite.cases)
    return min(cases, suite.generation.latency_cases) if metric.needs is CellKind.LATENCY else cases


def _needed(gate: Gate, metric: Metric) -> int | None:
    """Return the fewest cases with which the best possible result passes; None if any will do."""
    from harness.stats import power

    if gate.kind is GateKind.TOLERANCE and metric.binary and not isinstance(gate.margin, str):
        return power.smallest_provable_n(gate.margin, confidence=gate.confidence)
    if gate.floor_mode == "certified" and metric.binary and gate.kind.is_level:
        return _certified(gate)
    return 2 if not gate.kind.is_level else None


def _certified(gate: Gate) -> int | None:
    """Return the fewest all-passing cases that certify a floor (Clopper and Pearson 1934)."""
    n = 1
    while n < _SEARCH_LIMIT and not _certifies(gate, n):
        n *= 2
    low = n // 2
    while low + 1 < n:
        middle = (low + n) // 2
        low, n = (low, middle) if _certifies(gate, middle) else (middle, n)
    return n


def _certifies(gate: Gate, n: int) -> bool:
    from harness.stats.binary import clopper_pearson

    assert not isinstance(gate.margin, str)
    if gate.kind is GateKind.FLOOR:
        return clopper_pearson(n, n, confidence=gate.confidence).low >= gate.margin
    return clopper_pearson(0, n, confidence=gate.confidence).high <= gate.margin
