"""Gates that cannot pass with a suite's cases, however good tuned is."""

from __future__ import annotations

from collections.abc import Iterator

from tunegate.harness.comparison.estimator import FEW_CLUSTERS
from tunegate.harness.decision.planning.gate_cases import (
    cluster_count,
    count_asked,
    independent_share,
    prompts_on,
)
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.wording import count_noun
from tunegate.harness.suite.suite import Suite


def unreachable_gates(suite: Suite) -> list[str]:
    """Return a sentence for every gate that a flawless result could not pass."""
    return [
        f"{gate.where}: {problem}"
        for gate in suite.gates
        for problem in unreachable_reasons(suite, gate)
    ]


def unreachable_reasons(suite: Suite, gate: Gate, cases: int | None = None) -> Iterator[str]:
    """Yield why a flawless result could not pass the gate."""
    n = count_asked(suite, suite.metric(gate.metric), gate.tag)
    if cases is not None:
        n = round(cases * n / len(suite.plain_cases))
    if gate.tag is None:
        yield from _refusals(suite, gate, n)
        return
    found = [_too_few_of_slice(suite, gate, n) or "", *_refusals(suite, gate, n)]
    yield from (f"tag={gate.tag!r}: {problem}" for problem in filter(None, found))


def _refusals(suite: Suite, gate: Gate, n: int) -> Iterator[str]:
    """Yield why the gate's kind cannot pass with `n` cases."""
    metric, cases = suite.metric(gate.metric), prompts_on(suite, gate.tag)
    if metric.corpus is not None and not gate_kind(gate.kind).counts_cases:
        # An unseen cluster weighs several times as much as the others in any case.
        units = min(n, cluster_count(cases) or n)
    else:
        units = int(n * independent_share(cases) + 1e-9)
    others = [other for other in suite.gates if gate.tag in (None, other.tag)]
    hint = ""
    if units < n:
        hint = f"; the {n} cases come in clusters that count as {count_noun(units, 'case')}"
    for problem in gate_kind(gate.kind).refusals(gate, metric, units, others):
        yield f"{problem}{hint}"


def _too_few_of_slice(suite: Suite, gate: Gate, n: int) -> str | None:
    """Return why the cases of a tag are too few for any interval; None if they are enough."""
    rule = f"{gate_kind(gate.kind).margin_key(gate)}={gate.margin} on {gate.metric!r}"
    if n < 2:
        return f"{rule} stays undecided: the tag has {count_noun(n, 'case')}, and it takes 2"
    clusters = cluster_count(prompts_on(suite, gate.tag))
    if gate_kind(gate.kind).rests_on_interval(gate) and (clusters or FEW_CLUSTERS) < FEW_CLUSTERS:
        come = f"the {n} cases of the tag come in {count_noun(clusters or 0, 'cluster')}"
        return f"{rule} stays undecided: {come}, and it takes {FEW_CLUSTERS}"
    return None


def undecidable_gates(suite: Suite, n_clusters: int | None) -> Iterator[str]:
    """Yield the gates that stay undecided for lack of cases or clusters, whatever the scores."""
    few = n_clusters is not None and n_clusters < FEW_CLUSTERS
    for gate in suite.gates:
        if gate.tag is not None:
            continue  # covered by `unreachable_gates`
        key = gate_kind(gate.kind).margin_key(gate)
        open_ = f"{gate.where}: {key}={gate.margin} on {gate.metric!r} stays undecided"
        if count_asked(suite, suite.metric(gate.metric)) < 2:
            yield f"{open_} with 1 case: it takes 2; add cases"
        elif few and gate_kind(gate.kind).rests_on_interval(gate):
            yield (
                f"{open_} with {n_clusters} clusters: it takes {FEW_CLUSTERS}; add cases of other "
                "clusters"
            )


TOLERANCES = (0.02, 0.05, 0.10, 0.15, 0.20, 0.30)
"""Tolerances that `tunegate init` suggests for a rate; a wider one would guard nothing."""


def provable_tolerance(count: int) -> float:
    """Return the narrowest of `TOLERANCES` that this many independent cases can prove.

    With too few cases for any of them it is the widest; checking the suite reports what it takes.
    """
    from tunegate.harness.stats.power import smallest_provable_n

    proven = (t for t in TOLERANCES if smallest_provable_n(t, confidence=CONFIDENCE) <= count)
    return next(proven, TOLERANCES[-1])
