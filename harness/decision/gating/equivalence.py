"""Equivalence of two arms within a margin: two one-sided tests.

Arms are equivalent if the difference is proven to be smaller than the margin either way, each at 5
%: the 90 % interval is within ±margin. They are not equivalent if it is proven to be beyond it on
one side, else undecided. The tests are those of the gates.

Source: the two one-sided tests procedure (Schuirmann 1987); its level is that of each test (Berger
and Hsu 1996).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from tunegate.harness.comparison.delta import (
    interval_around,
    is_proven,
    one_sided,
    plannable_effect,
)
from tunegate.harness.comparison.noise_floor import NoiseFloor
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.gates.contract.outcome import EquivalenceMargin
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.records.manifest import MetricRecord, SuiteRecord
from tunegate.harness.records.parity import ParityStatus

DEFAULT = 0.05
"""Default margin: share of the metric's range, or of tuned's level without a range."""


def margin_of(
    suite: SuiteRecord, metric: MetricRecord, tag: str | None = None
) -> EquivalenceMargin:
    """Return the margin that the gates on a metric and tag imply: guardrails first, then goals."""
    default = None if metric.bound is None else DEFAULT * metric.bound
    wanted = (metric.name, tag, None)
    gates = [g for g in suite.gates if (g.metric, g.tag, g.against) == wanted]
    for gate in sorted(gates, key=lambda gate: gate_kind(gate.kind).is_goal):
        margin = gate_kind(gate.kind).equivalence_margin(gate, default)
        if margin is not None:
            return margin
    return EquivalenceMargin(f"{100 * DEFAULT:g}%" if default is None else default, "the default")


@dataclass(frozen=True)
class EquivalencePairs:
    """The pairs of tuned and shipped, in the places of base and tuned, with their margin."""

    pairs: Pairs
    margin: EquivalenceMargin
    confidence: float = CONFIDENCE

    @property
    def interval(self) -> tuple[float, float]:
        """The interval of shipped − tuned that decides, on its side of either margin."""
        margin = self.margin.value
        bounds = () if isinstance(margin, str) else (-margin, margin)
        interval = interval_around(self.pairs, bounds, self.confidence)
        if self.pairs.metric.higher_is_better:
            return interval.low, interval.high
        return -interval.high, -interval.low

    @property
    def within(self) -> bool:
        """Whether the difference is proven to be within the margin."""
        if isinstance(self.margin.value, str) and not self.pairs.knows_base_sign(self.confidence):
            return False
        return all(is_proven(side, -margin, self.confidence) for side, margin in self._sides())

    @property
    def beyond(self) -> float | None:
        """The p-value of "the difference is within the margin"; None if it cannot be tested."""
        if self.pairs.too_few:
            return None
        return min(side.exchanged().test(margin).p_value for side, margin in self._sides())

    def clears(self, noise: NoiseFloor | None) -> bool:
        """Return whether the difference is beyond the margin by more than inexact arithmetic."""
        # Which pass of base stands for which arm is arbitrary, so both must clear.
        return noise is None or any(
            all(n.clears(side.exchanged(), m, self.confidence) for n in (noise, noise.exchanged()))
            for side, m in self._sides()
        )

    def status(self, *, beyond: bool) -> ParityStatus:
        """Return the status, given whether a difference beyond the margin is proven."""
        if not self.pairs.too_few and self.within:
            return ParityStatus.EQUIVALENT
        return ParityStatus.NOT_EQUIVALENT if beyond else ParityStatus.UNDECIDED

    @property
    def needed(self) -> int | None:
        """Cases that prove equivalence in 4 of 5 runs, if no more than the proven differs."""
        if self.pairs.too_few:
            return None
        equal = (side.estimate for side, _ in self._sides(self.pairs.unchanged()))
        plans = [
            side.estimator.plan(
                plannable_effect(side, effect, self.confidence), -margin, self.confidence
            )
            for (side, margin), effect in zip(self._sides(), equal, strict=True)
        ]
        return None if None in plans else max(planned.n for planned in plans if planned)

    def _sides(self, pairs: Pairs | None = None) -> Iterator[tuple[Pairs, float]]:
        """Yield the pairs either way round, with the margin that their difference must clear."""
        pairs = self.pairs if pairs is None else pairs
        for side in (pairs, pairs.exchanged()):
            if isinstance(self.margin.value, str):
                yield side.relative(float(self.margin.value.rstrip("%")) / 100), 0.0
            else:
                yield side, self.margin.value


Key = TypeVar("Key")


def proven_beyond(comparisons: Mapping[Key, EquivalencePairs]) -> set[Key]:
    """Return the metrics whose difference is proven to be beyond the margin.

    Source: Holm (1979) over all compared metrics, as for regressions.
    """
    from tunegate.harness.stats.multiplicity import holm

    tested = {key: p for key, e in comparisons.items() if (p := e.beyond) is not None}
    if not tested:
        return set()
    adjusted = dict(zip(tested, map(float, holm(list(tested.values()))), strict=True))
    return {
        key for key, p in adjusted.items() if p <= one_sided(comparisons[key].confidence) + 1e-12
    }
