"""Feasibility: gates that the suite's cases cannot prove are refused before a token is spent."""

from __future__ import annotations

from collections.abc import Iterator

from tunegate.harness.comparison.corpus_level import LEAST
from tunegate.harness.comparison.sample_size import fewest
from tunegate.harness.defaults import CONFIDENCE, EARLY_STOP_CASES
from tunegate.harness.gates.sentences import few_for_corpus, judged_once
from tunegate.harness.metric import Metric
from tunegate.harness.records.cases import CellKind
from tunegate.harness.records.manifest import Gate, GateKind
from tunegate.harness.suite import Suite


def unreachable(suite: Suite) -> list[str]:
    """Return a sentence for every gate that a flawless result could not pass."""
    return [f"{gate.where}: {problem}" for gate in suite.gates for problem in refusals(suite, gate)]


def refusals(suite: Suite, gate: Gate) -> Iterator[str]:
    """Yield why a flawless result could not pass the gate; nothing if it could."""
    metric = suite.metric(gate.metric)
    if gate.kind is GateKind.SEVERE_DROP:
        yield from _severe(gate, asked(suite, metric))
        return
    if not metric.binary or isinstance(gate.margin, str):
        return
    n, rule = asked(suite, metric), f"{gate.kind.value}={gate.margin:g} on {gate.metric!r}"
    if gate.kind is GateKind.TOLERANCE and not _wins_count(suite, gate):
        least = _tolerates(gate)
        if n < least:
            yield (
                f"{rule} cannot be proven with {n} cases even if no answer changes: it takes "
                f"{least}; add cases, or widen the tolerance"
            )
    if gate.kind.is_level and gate.floor_mode == "certified":
        needed = certifying_cases(gate)
        if needed is None:
            yield f"{rule} cannot be certified with any number of cases; leave room for an error"
        elif n < needed:
            yield (
                f"{rule} cannot be certified with {n} cases even if all are right: it takes "
                f'{needed}; add cases, or use floor_mode = "observed"'
            )


def advisory(suite: Suite, gate: Gate) -> bool:
    """Return whether the gate has no say: on a corpus value, with few cases."""
    metric = suite.metric(gate.metric)
    over_all = metric.corpus is not None and gate.kind is not GateKind.SEVERE_DROP
    return over_all and asked(suite, metric) < LEAST


def silent_goals(suite: Suite) -> Iterator[str]:
    """Yield the goals of a suite that needs one of them, where none of them has a say."""
    goals = [gate for gate in suite.gates if gate.kind is GateKind.GAIN]
    needed = goals[:1] if suite.goal_rule == "primary" else goals
    if all(advisory(suite, gate) for gate in needed):
        for gate in needed:
            too_few = few_for_corpus(gate.metric, len(suite.cases))
            yield f"{gate.where}: gain={gate.margin} has no say; {too_few}"


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


def _wins_count(suite: Suite, gate: Gate) -> bool:
    """Return whether a gain is asked of the metric too: wins prove a tolerance with fewer cases."""
    return any(g.metric == gate.metric and g.kind is GateKind.GAIN for g in suite.gates)


def _tolerates(gate: Gate) -> int:
    """Return the fewest cases that prove the tolerance where no answer changes."""
    from tunegate.harness.stats.power import smallest_provable_n

    assert not isinstance(gate.margin, str)
    return smallest_provable_n(gate.margin, confidence=gate.confidence)


TOLERANCES = (0.02, 0.05, 0.10, 0.15, 0.20, 0.30)
"""Losses of a share that a suite may allow; beyond the last it would guard nothing."""


def provable_tolerance(count: int) -> float:
    """Return the narrowest of a few tolerances that `count` independent cases can prove.

    Of too few cases for any of them, the widest: the check of the suite then says what it takes.
    """
    from tunegate.harness.stats.power import smallest_provable_n

    proven = (t for t in TOLERANCES if smallest_provable_n(t, confidence=CONFIDENCE) <= count)
    return next(proven, TOLERANCES[-1])


def certifying_cases(gate: Gate) -> int | None:
    """Return the fewest cases, all of them right, that certify a floor or ceiling of 0/1 scores."""
    return fewest(lambda n: _certifies(gate, n))


def _certifies(gate: Gate, n: int) -> bool:
    """Return whether n cases, all of them right, certify the bound (Clopper and Pearson 1934)."""
    from tunegate.harness.stats.binary import clopper_pearson

    assert not isinstance(gate.margin, str)
    if gate.kind is GateKind.FLOOR:
        return clopper_pearson(n, n, confidence=gate.confidence).low >= gate.margin
    return clopper_pearson(0, n, confidence=gate.confidence).high <= gate.margin


def _severe(gate: Gate, n: int) -> Iterator[str]:
    """Refuse a limit that these cases cannot prove even if none of them drops."""
    from tunegate.harness.stats.binary import clopper_pearson

    assert not isinstance(gate.margin, str)
    limit, confidence = gate.margin, gate.confidence
    needed = fewest(lambda n: clopper_pearson(0, n, confidence=confidence).high <= limit)
    if needed is not None and n < needed:
        yield (
            f"severe_drop={limit:g} on {gate.metric!r} cannot be proven with {n} cases even if "
            f"none drops: it takes {needed}; add cases, or allow a larger share"
        )
