"""The rules under test: the gate's own, and the paired t test that it is not.

A rule says whether the oriented difference of a sample is proven to exceed a margin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import special  # type: ignore[import-untyped]  # scipy ships no types

from tunegate.harness.comparison.delta import Delta, compare_scores, is_proven
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.gates.contract.outcome import DecisionContext
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.errors import Undecided
from tunegate.harness.records.gate_results import GateReason
from tunegate.harness.records.manifest import Gate, MetricRecord

Rule = Callable[[Pairs, float, float], bool]
"""(pairs, margin, two-sided confidence) → whether the margin is proven to be exceeded."""

gate: Rule = is_proven
"""What a gain and a tolerance rest on."""


def refuted(pairs: Pairs, margin: float, confidence: float) -> bool:
    """Return whether `delta.holds(within=margin)` of a user's test is False, for exchanged arms.

    That is a claim too: tuned is proven worse by more than the margin. With the arms exchanged it
    reads as the others do: the difference is proven to exceed the margin.
    """
    exchanged = replace(pairs, base=pairs.tuned, tuned=pairs.base)
    try:
        return not Delta(exchanged, confidence).holds(margin)
    except Undecided:
        return False


def held(pairs: Pairs, margin: float, confidence: float) -> bool:
    """Return whether a gain worth having is ruled out (HOLD), for exchanged arms.

    With the arms exchanged it reads as the others do: the difference exceeds minus that gain.
    """
    exchanged = replace(pairs, base=pairs.tuned, tuned=pairs.base)
    rule = Gate(
        metric="m", kind="gain", margin=-margin, expected_gain=-margin, confidence=confidence
    )
    outcome = gate_kind("gain").decide(rule, exchanged, DecisionContext())
    return outcome.reason is GateReason.NO_WORTHWHILE_GAIN


MONOTONE = (gate, refuted, held)
"""Rules that never turn back to "not proven" as wins are added."""


def paired_t(pairs: Pairs, margin: float, confidence: float) -> bool:
    """The textbook's rule: the lower end of the t interval of the differences clears the margin.

    Without spread the interval has no width, and that is what is wrong with it.
    """
    values = np.asarray(pairs.differences)
    error = float(values.std(ddof=1)) / float(np.sqrt(values.size))
    critical = -float(special.stdtrit(values.size - 1, (1 - confidence) / 2))
    return bool(values.mean() - critical * error > margin)


def metric(
    *, range: tuple[float, float] | None = (0.0, 1.0), binary: bool = False, name: str = "m"
) -> MetricRecord:
    """Return what the gate knows of a metric; higher is better."""
    return MetricRecord(
        name=name,
        use=name,
        needs=CellKind.GENERATE,
        higher_is_better=True,
        range=range,
        binary=binary,
    )


ZERO_ONE = metric(binary=True)
"""Pass or fail."""
SCORE = metric()
"""A score between 0 and 1."""
UNBOUNDED = metric(range=None)
"""A log-probability and the like."""


def counts(wins: int, losses: int, n: int) -> Pairs:
    """Return pairs of 0/1 scores with this many wins and losses, the other cases failed by both."""
    rest = n - wins - losses
    base = [0.0] * wins + [1.0] * losses + [0.0] * rest
    tuned = [1.0] * wins + [0.0] * losses + [0.0] * rest
    return compare_scores(base, tuned, metric=ZERO_ONE).pairs


def pairs_of(
    base: Sequence[float],
    tuned: Sequence[float],
    of: MetricRecord,
    clusters: Sequence[str] | None = None,
) -> Pairs:
    """Return the pairs of two columns of scores."""
    return compare_scores(base, tuned, metric=of, clusters=clusters).pairs
