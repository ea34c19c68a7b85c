"""Spread of paired scores, assumed or measured in a pilot run, and what n cases can prove.

Beside the number of cases, one number decides: the discordance ψ (the share of cases that only one
arm gets right) for 0/1 scores, the standard deviation σ of the paired differences for others. It
comes from an earlier run or is assumed.

What an earlier run tells about a suite: its pairs of scores, and the seconds a case takes. The run
may have judged other models and other cases under the suite's name: how far apart two arms score is
a property of the suite and the metric first.

Example:
    >>> comparison = Comparison(n=200, margin=0.0, confidence=0.90, spread=Spread(0.3, binary=True))
    >>> round(comparison.detectable() or 0, 4)
    0.0958
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunegate.harness.comparison.pairs import Pairs, by_unit
from tunegate.harness.comparison.sample_size import LIMIT, POWER, deviation
from tunegate.harness.comparison.score_table import Table
from tunegate.harness.errors import UsageError
from tunegate.harness.lookup import unknown
from tunegate.harness.metric import Metric
from tunegate.harness.records.cases import StoredCell
from tunegate.harness.records.manifest import Gate, SuiteRecord
from tunegate.harness.records.run_folder import Run

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
    from tunegate.harness.stats import clusters

    if isinstance(gate.margin, str):
        pairs = pairs.relative(float(gate.margin.rstrip("%")) / 100)
    grouped = pairs.clusters if (pairs.n_clusters or 0) > 1 else None
    # Beyond 1 there is no difference of 0/1 scores; only an undeclared range gets here.
    beyond = not isinstance(gate.margin, str) and (
        gate.margin >= 1 or (gate.expected_gain or 0) > 1
    )
    if pairs.binary and not beyond:
        signs = [round(d) for d in pairs.differences]
        deff = clusters.design_effect(signs, grouped) if grouped else 1.0
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
    is the planning function of `tunegate.harness.stats.power` for the spread's kind.
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
        from tunegate.harness.stats import power

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
        from tunegate.harness.stats import power

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
        from tunegate.harness.stats import power

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
        from tunegate.harness.stats import distributions

        if not self.spread.binary:
            level = Comparison(self.n, 0.0, self.confidence, self.spread, self.limit)
            return level.detectable()

        def excess(tolerance: float) -> float:
            wider = Comparison(self.n, -tolerance, self.confidence, self.spread)
            return wider.chance(0.0) - POWER

        # Without a discordant pair nothing below z²/(n + z²) is proven, whatever the power.
        z2 = distributions.normal_critical(self.confidence) ** 2
        least = z2 / (self.n / self.spread.deff + z2)
        if excess(least) >= 0:
            return least
        return distributions.root(excess, least, 1 - 1e-9) if excess(1 - 1e-9) > 0 else None


ARMS = ("base", "tuned")


@dataclass(frozen=True)
class Observed:
    """What an earlier run tells about one suite."""

    pairs: Mapping[str, Pairs] = field(repr=False)
    """Metric → its complete pairs, at least two."""
    seconds: Mapping[str, float]
    """Arm → seconds that a case took; an arm whose answers were not timed is left out."""


def observe(run: Run, suite: str, metrics: Sequence[str]) -> Observed:
    """Return what a run tells about the metrics of a suite.

    Raises:
        UsageError: the run has no suite of that name, not all of the metrics, or fewer than two
            complete pairs of one.
    """
    records = {record.name: record for record in run.manifest.suites}
    if suite not in records:
        raise UsageError(f"{run.folder}: {unknown(suite, tuple(records), what='suite')}")
    table = _table(run, records[suite])
    pairs = {name: _pairs(run, table, name) for name in metrics}
    return Observed(pairs, _seconds(run, suite))


def _table(run: Run, suite: SuiteRecord) -> Table:
    cases = {name: row.case for (where, name), row in run.cases.items() if where == suite.name}
    values = {
        (metric, case, arm): row
        for (where, metric, case, arm), row in run.score_table.items()
        if where == suite.name
    }
    return Table(suite, cases, values)


def _pairs(run: Run, table: Table, name: str) -> Pairs:
    records = {record.name: record for record in table.suite.metrics}
    place = f"{run.folder}: suite {table.suite.name!r}"
    if name not in records:
        raise UsageError(f"{place}: {unknown(name, tuple(records), what='metric')}")
    pairs = table.pairs(records[name])
    if pairs.n < 2:
        raise UsageError(
            f"{place}: metric {name!r} has {pairs.n} complete pairs, and a plan takes 2; name "
            "another run, or plan without --from"
        )
    return pairs


def _seconds(run: Run, suite: str) -> dict[str, float]:
    """Return arm → seconds a case: each batch's time is shared by its cells, whatever suite's."""
    batches: dict[tuple[str, float], list[StoredCell]] = defaultdict(list)
    for stored in run.cells:
        if stored.started_s is not None and _latency(stored) is not None:
            batches[stored.cell.arm, stored.started_s].append(stored)
    totals: dict[str, float] = defaultdict(float)
    for (arm, _), cells in batches.items():
        mine = sum(stored.cell.suite == suite for stored in cells)
        totals[arm] += max(_latency(stored) or 0.0 for stored in cells) * mine / len(cells)
    n = sum(where == suite for where, _ in run.cases)
    return {arm: totals[arm] / n for arm in ARMS if arm in totals}


def _latency(stored: StoredCell) -> float | None:
    return stored.completion.latency_s if stored.completion else None
