"""Guardrails at their bounds: floors, and a metric that declares no range.

Rates of floors are exact: tuned's level is exactly the floor, and the right answers are binomial.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # scipy ships no types

from benchmarks.error_rates import looks, rules, runs
from benchmarks.error_rates.table import Row, Settings, simulated
from tunegate.harness.comparison.delta import one_sided
from tunegate.harness.gates.contract.outcome import DecisionContext
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.gate_results import GateStatus
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.stats.group_sequential import look_sizes

LEVELS = (0.6, 0.9, 0.95)


def rows(settings: Settings) -> list[Row]:
    """Return how often floors and metrics without a range decide wrongly."""
    return [*_certified(settings), *_looked_at(settings), _odd_score(settings)]


def _status(
    right: int, n: int, floor: float, mode: str, *, confidence: float = 0.90, remaining: int = 0
) -> GateStatus:
    """Return how a run's only floor ends with this many right answers of n."""
    gate = Gate(metric="m", kind="floor", margin=floor, floor_mode=mode, confidence=confidence)
    scores = [1.0] * right + [0.0] * (n - right)
    pairs = rules.pairs_of(scores, scores, rules.ZERO_ONE)
    kind = gate_kind("floor")
    broken = kind.refutes(gate) and kind.refutation(gate, pairs) <= one_sided(confidence)
    return kind.decide(gate, pairs, DecisionContext(regressed=broken, remaining=remaining)).status


def _certified(settings: Settings) -> Iterator[Row]:
    """Yield how often a certified floor passes or blocks a level of exactly the floor."""
    for floor in LEVELS:
        for n in (20, 59, 100) if settings.fast else (20, 59, 100, 200, 400):
            mass = stats.binom.pmf(np.arange(n + 1), n, floor)
            statuses = [_status(right, n, floor, "certified") for right in range(n + 1)]
            for status in (GateStatus.PASS, GateStatus.FAIL):
                rate = float(sum(m for m, s in zip(mass, statuses, strict=True) if s is status))
                what = f"certified floor {floor:g} is tuned's level: {status}"
                yield Row("guardrails", what, str(n), rate)


def _looked_at(settings: Settings) -> Iterator[Row]:
    """Yield how often looks block an observed floor that all cases would have reached."""
    for floor in LEVELS:
        for n in (100,) if settings.fast else (100, 200):
            sizes = tuple(look_sizes(n))
            alive, wrong = {0: 1.0}, 0.0
            for before, size, confidence in zip(
                (0, *sizes[:-2]), sizes[:-1], looks.confidences(sizes)[:-1], strict=True
            ):
                mass: dict[int, float] = {}
                step = stats.binom.pmf(np.arange(size - before + 1), size - before, floor)
                for right, chance in alive.items():
                    for more, share in enumerate(step):
                        mass[right + more] = mass.get(right + more, 0.0) + chance * float(share)
                alive = {}
                for right, chance in mass.items():
                    status = _status(
                        right, size, floor, "observed", confidence=confidence, remaining=n - size
                    )
                    if status is GateStatus.FAIL:
                        # All cases reach the floor from this many further right answers on.
                        needed = int(np.ceil(floor * n - 1e-9)) - right
                        wrong += chance * float(stats.binom.sf(needed - 1, n - size, floor))
                    else:
                        alive[right] = chance
            what = f"observed floor {floor:g} is tuned's level: blocked early, reached by all"
            yield Row("guardrails", what, str(n), wrong, note=f"{len(sizes)} looks")


def _odd_score(settings: Settings) -> Row:
    """Return how often a guardrail is passed over because one of its scores is not 0 or 1."""
    rng = settings.rng("odd score")
    reps, hits = max(1, settings.reps // 10), 0
    for _ in range(reps):
        base, tuned = runs.flips(rng, 100, 0.0, 0.05)
        tuned[int(rng.integers(100))] = 0.99
        parts = [
            runs.gated("goal", "gain", 0.0, runs.flips(rng, 100, 0.4, 0.0), rules.ZERO_ONE),
            runs.gated("own", "tolerance", 0.05, (base, tuned), rules.UNBOUNDED),
        ]
        hits += runs.verdict(parts) is Verdict.SHIP
    what = "SHIP, tolerance .05 lost by a metric without a range, one score .99"
    return Row("guardrails", what, "100", *simulated(hits, reps))
