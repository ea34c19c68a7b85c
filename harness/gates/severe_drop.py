"""Severe-drop gate: counts cases that collapse while the mean holds.

With twenty cases or less no interval of the mean sees a catastrophe that strikes one case in
twelve; the count of severe drops has an exact interval.

Source: Clopper and Pearson (1934); with clusters, the score interval on counts divided by the
design effect.
"""

from __future__ import annotations

from dataclasses import replace

from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.comparison.sample_size import fewest, often_certified
from tunegate.harness.gates.rule import Outcome
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.verdict import GateReason, GateStatus


def severe_size(gate: Gate, pairs: Pairs) -> float:
    """Return the loss from which a drop is severe: half the metric's range unless told."""
    bound = pairs.metric.bound
    return gate.drop if gate.drop is not None else (1.0 if bound is None else bound) / 2


def severe(gate: Gate, pairs: Pairs) -> Outcome:
    """Decide a gate on the share of cases that lose at least `drop`.

    It passes when the upper end of the share's interval is within the limit, fails when the lower
    end is above it, and is undecided between.
    """
    assert not isinstance(gate.margin, str)
    if pairs.too_few:
        return Outcome(
            GateStatus.UNDECIDED, GateReason.UNDERPOWERED, None, 0.0, 1.0, pairs.why_too_few
        )
    size = severe_size(gate, pairs)
    # Rounding must not spare a drop of exactly that size.
    dropped = [int(d <= -size * (1 - 1e-12)) for d in pairs.differences]
    share = sum(dropped) / pairs.n
    low, high, method = _interval(gate, pairs, dropped)
    open_ = Outcome(
        GateStatus.UNDECIDED, GateReason.UNDERPOWERED, None, low, high, method, share=share
    )
    if high <= gate.margin:
        return replace(open_, status=GateStatus.PASS, reason=None)
    if low > gate.margin:
        return replace(open_, status=GateStatus.FAIL, reason=GateReason.SEVERE_DROPS)
    if share >= gate.margin:
        return open_
    limit = gate.margin
    needed = fewest(lambda n: often_certified(n, 1 - share, 1 - limit, gate.confidence))
    return replace(open_, needed_n=needed)


def _interval(gate: Gate, pairs: Pairs, dropped: list[int]) -> tuple[float, float, str]:
    from tunegate.harness.stats import binary, clusters

    if pairs.clusters is None:
        found = binary.clopper_pearson(sum(dropped), pairs.n, confidence=gate.confidence)
    else:
        found = clusters.clustered_binary_interval(
            dropped, pairs.clusters, confidence=gate.confidence
        )
    return max(found.low, 0.0), min(found.high, 1.0), found.method
