"""How differently two arms score the same cases, and what n cases can prove under it.

Beside the number of cases, one number decides: the discordance ψ (the share of cases that only one
arm gets right) for 0/1 scores, the standard deviation σ of the paired differences for others. It
comes from an earlier run or is assumed.

Example:
    >>> comparison = Comparison(n=200, margin=0.0, confidence=0.90, spread=Spread(0.3, binary=True))
    >>> round(comparison.detectable() or 0, 4)
    0.0958
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from harness.manifest import Gate
from harness.metric import Metric
from harness.verdict.needed import LIMIT, POWER, deviation
from harness.verdict.pairs import Pairs, by_unit

GRID = (0.1, 0.2, 0.3)
"""Assumed discordance, or σ as a share of the metric's range."""
GUARDED = 50
"""Below this many independent cases the interval of a bounded continuous metric is widened."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How differently the arms score the same cases."""

    value: float
    """Discordance ψ, or σ in the metric's unit."""
    binary: bool
    """Which of the two it is."""
    deff: float = 1.0
    """Design effect of cases that belong together, at least 1."""


def assumed(metric: Metric, *, binary: bool) -> tuple[Spread, ...]:
    """Return the grid of a metric that no run has shown; nothing if its range is unknown."""
    if binary:
        return tuple(Spread(share, binary=True) for share in GRID)
    return tuple(Spread(share * metric.bound, binary=False) for share in GRID if metric.bound)


def seen(pairs: Pairs, gate: Gate) -> tuple[Spread, ...]:
    """Return the spread that a run showed, by the scale on which the gate judges it.

    Args:
        pairs: The run's complete pairs of the gate's metric, at least two.
        gate: A gain or a tolerance.

    Returns:
        One spread; nothing if all differences of continuous scores are equal, which tells nothing
        of the next run. Of 0/1 scores without a discordant pair one is assumed.
    """
    from harness.stats import paired

    if isinstance(gate.margin, str):
        pairs = pairs.relative(float(gate.margin.rstrip("%")) / 100)
    grouped = pairs.clusters if (pairs.n_clusters or 0) > 1 else None
    # Beyond 1 there is no difference of 0/1 scores; only an undeclared range gets here.
    beyond = not isinstance(gate.margin, str) and (
        gate.margin >= 1 or (gate.expected_gain or 0) > 1
    )
    if pairs.binary and not beyond:
        signs = [round(d) for d in pairs.differences]
        deff = paired.design_effect(signs, grouped) if grouped else 1.0
        discordance = max(pairs.wins + pairs.losses, 1) / pairs.n
        return (Spread(discordance, binary=True, deff=deff),)
    if pairs.corpus is not None:
        found = pairs.independent  # of clusters, where there are some: no effect of theirs is left
        sigma = deviation(found) * math.sqrt(pairs.n / len(found)) if len(found) > 1 else 0.0
        return (Spread(sigma, binary=False),) if sigma > 0 else ()
    sigma = deviation(pairs.differences)
    if not sigma > 0:
        return ()
    independent = by_unit(pairs.differences, grouped)
    ratio = deviation(independent) / sigma
    deff = max(1.0, ratio**2 * pairs.n / len(independent))
    return (Spread(sigma, binary=False, deff=deff),)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A planned comparison: n pairs against a margin; differences are improvements.

    Effects are true differences in the metric's unit, powers probabilities of a pass. Each method
    is the planning function of `harness.stats.power` for the spread's kind.
    """

    n: int
    """Paired cases, at least 2."""
    margin: float
    """What the difference must be proven to exceed: a gain, or minus a tolerance."""
    confidence: float
    """Two-sided level of the interval that decides."""
    spread: Spread
    limit: float | None = 1.0
    """Largest difference there is; None if unbounded."""

    def chance(self, effect: float) -> float:
        """Return the probability of a pass if the true difference is `effect`."""
        from harness.stats import power

        given = {"effect": effect, "margin": self.margin, "confidence": self.confidence}
        spread, deff = self.spread.value, self.spread.deff
        if self.spread.binary:
            return power.binary_power(self.n, discordance=spread, deff=deff, **given).power
        return power.mean_power(self.n, deviation=spread, deff=deff, **given).power

    def cases(self, effect: float, wanted: float) -> int | None:
        """Return the fewest cases for a power of `wanted`; None if a million are too few.

        A bounded continuous metric takes 50 independent ones at least: with fewer its interval is
        guarded against catastrophes that were not seen.
        """
        from harness.stats import power

        size, spread = effect - self.margin, self.spread
        if not size > 0 or (not spread.binary and size / spread.value < 2 / LIMIT**0.5):
            return None
        given = {"effect": effect, "margin": self.margin, "confidence": self.confidence}
        given |= {"power": wanted, "deff": spread.deff}
        if spread.binary:
            n = power.binary_sample_size(discordance=spread.value, **given).n
            if self.margin < 0 and effect <= 0:
                least = power.smallest_provable_n(-self.margin, confidence=self.confidence)
                n = max(n, math.ceil(least * spread.deff))
        else:
            n = power.mean_sample_size(deviation=spread.value, **given).n
            n = n if self.limit is None else max(n, math.ceil(GUARDED * spread.deff))
        return n if n <= LIMIT else None

    def detectable(self) -> float | None:
        """Return the smallest true difference that passes with 80 % power; None if none does."""
        from harness.stats import power

        given = {"margin": self.margin, "confidence": self.confidence, "power": POWER}
        spread, deff = self.spread.value, self.spread.deff
        if self.spread.binary:
            plan = power.binary_detectable_effect(self.n, discordance=spread, deff=deff, **given)
        else:
            plan = power.mean_detectable_effect(self.n, deviation=spread, deff=deff, **given)
        largest = math.inf if self.limit is None else self.limit
        return plan.effect if plan.effect < math.inf and plan.effect <= largest else None

    def tolerable(self) -> float | None:
        """Return the smallest tolerance proven with 80 % power if nothing changed; None if none."""
        from harness.stats import numeric

        if not self.spread.binary:
            level = Comparison(self.n, 0.0, self.confidence, self.spread, self.limit)
            return level.detectable()

        def excess(tolerance: float) -> float:
            wider = Comparison(self.n, -tolerance, self.confidence, self.spread)
            return wider.chance(0.0) - POWER

        # Without a discordant pair nothing below z²/(n + z²) is proven, whatever the power.
        z2 = numeric.normal_critical(self.confidence) ** 2
        least = z2 / (self.n / self.spread.deff + z2)
        if excess(least) >= 0:
            return least
        return numeric.root(excess, least, 1 - 1e-9) if excess(1 - 1e-9) > 0 else None
