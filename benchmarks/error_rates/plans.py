"""Plans: how far the planned chance of a pass is from the true one; and suites that are extended.

What `tunegate plan` says is compared with the enumeration of all samples where the gate is asked
about each of them. Limit: 3 points.

A candidate that a suite leaves undecided is judged again once cases were added: the rate at which
one of the two calls a candidate at the margin proven is exact for 0/1 scores. Limit: .06.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from scipy import stats  # type: ignore[import-untyped]  # scipy ships no types

from benchmarks.error_rates import binary, looks, rules
from benchmarks.error_rates.table import Row, Settings
from tunegate.harness.comparison.delta import is_proven
from tunegate.harness.comparison.estimator import ScoreSpread
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.comparison.planned_comparison import GateTest, PlannedComparison
from tunegate.harness.decision.gating.attempts import EXTENDED
from tunegate.harness.gates.contract.outcome import DecisionContext
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.defaults import POWER
from tunegate.harness.records.manifest import Gate

POINTS = 0.03
"""How far a planned chance may be off."""
LEVEL = 0.6
"""Base's level."""
SIZES = (30, 60, 100, 200)
SHARES = (0.05, 0.1, 0.2, 0.4)
CELLS = ((0.0, 0.05), (0.0, 0.1), (0.02, 0.05), (0.02, 0.1), (-0.02, 0.0), (-0.05, 0.0),
         (-0.05, -0.02))  # fmt: skip
"""(margin, true difference)."""
EXTENSIONS = ((50, 100), (100, 200), (100, 150), (60, 240))
"""Cases of a suite that left a candidate undecided, and after cases were added."""


def rows(settings: Settings) -> list[Row]:
    """Return by how much plans are off, and the error of extended suites."""
    return [*_enumerated(settings), *_seen_losses(settings), *_extended(settings)]


def _planned(n: int, margin: float, effect: float, share: float) -> float:
    """Return the chance of a pass that a plan gives."""

    def proves(base: Sequence[float], tuned: Sequence[float], confidence: float) -> bool:
        pairs = Pairs("", rules.ZERO_ONE, tuple(base), tuple(tuned))
        return is_proven(pairs, margin, confidence)

    spread = ScoreSpread(share, binary=True)
    test = GateTest(proves, base_level=LEVEL)
    return PlannedComparison(n, margin, binary.CONFIDENCE, spread, test=test).chance(effect)


def _enumerated(settings: Settings) -> Iterator[Row]:
    """Yield the worst plan of a gate on 0/1 scores, over the shares of discordant pairs."""
    for n in SIZES[:2] if settings.fast else SIZES:
        for margin, effect in CELLS:
            table = binary.proofs(n, margin, binary.CONFIDENCE)
            plans = []
            for share in (share for share in SHARES if share >= abs(effect)):
                true = binary.proof(table, effect, share)
                plan = _planned(n, margin, effect, share)
                plans.append((abs(plan - true), plan, true, share))
            off, plan, true, share = max(plans)
            what = f"0/1, margin {margin:+g}, true difference {effect:+g}"
            note = f"planned {plan:.3f}, true {true:.3f}, worst with {100 * share:g} % discordant"
            yield Row("plans", what, str(n), off, limit=POINTS, note=note)


def _seen_losses(settings: Settings) -> Iterator[Row]:
    """Yield how far the cases planned at a loss that was seen are from proving it in 4 of 5 runs.

    The loss is within the tolerance, proven, and taken for the true one; nothing is won.
    """
    for losses, n, tolerance in ((4, 150, 0.05), (5, 150, 0.06), (8, 300, 0.04), (10, 200, 0.08)):
        gate = Gate(metric="m", kind="tolerance", margin=tolerance)
        context = DecisionContext(regressed=True, planned_confidence=binary.CONFIDENCE)
        needed = gate_kind("tolerance").decide(gate, rules.counts(0, losses, n), context).needed_n
        if needed is None:
            raise ValueError(f"{losses} of {n} lost at {tolerance}: nothing is planned")
        power = sum(
            float(stats.binom.pmf(lost, needed, losses / n))
            for lost in range(needed + 1)
            if is_proven(rules.counts(0, lost, needed), -tolerance, binary.CONFIDENCE)
        )
        what = f"0/1, tolerance {tolerance:g}, {losses} of {n} lost, planned cases from 4 in 5"
        note = f"{needed} cases prove it in {power:.3f}"
        yield Row("plans", what, str(n), abs(power - POWER), limit=POINTS, note=note)


def _extended(settings: Settings) -> Iterator[Row]:
    """Yield how often a candidate at the margin is called proven, at once or on more cases."""
    for sizes in EXTENSIONS[:1] if settings.fast else EXTENSIONS:
        for margin, name in binary.MARGINS.items():
            levels = (binary.CONFIDENCE, 1 - (1 - binary.CONFIDENCE) / EXTENDED)
            tables = (binary.proofs(n, margin, k) for n, k in zip(sizes, levels, strict=True))
            plan = looks.LookPlan(sizes, tuple(tables))
            least = max(abs(margin), 1e-9)
            rate, share = binary.worst(partial(looks.ever, plan, margin), least, step=0.05)
            what = f"0/1, {name}, true difference {margin:+g}, extended once"
            note = f"worst with {100 * share:.3g} % discordant"
            yield Row("plans", what, f"{sizes[0]}+{sizes[1] - sizes[0]}", rate, note=note)
