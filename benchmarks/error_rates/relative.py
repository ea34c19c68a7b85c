"""A tolerance that is a share of base's level, on 0/1 scores: exact and simulated error rates.

Tuned's level is exactly `1 - share` of base's. The cases that neither arm gets right say nothing of
a ratio: given the number of the others, wins and losses are trinomial with one nuisance parameter,
whatever base's level. What is enumerated for that many cases bounds the rate of every suite, for it
is an average of such rates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from benchmarks.error_rates import binary, looks, rules
from benchmarks.error_rates.table import Row, Settings, simulated
from tunegate.harness.comparison.delta import is_proven
from tunegate.harness.comparison.estimator import LEAST_UNBOUNDED
from tunegate.harness.decision.gating.decide_all import decide_gate
from tunegate.harness.records.gate_results import GateStatus
from tunegate.harness.records.manifest import Gate
from tunegate.harness.stats.group_sequential import look_sizes

SHARES = (0.01, 0.02, 0.05, 0.10)
SIZES = (20, 50, 100, 200)
"""Cases that at least one arm gets right."""
LOOKED = 400


def rows(settings: Settings) -> list[Row]:
    """Return the error rates of relative tolerances."""
    return [*_exact(settings), *_looks(settings), *_near_zero(settings)]


def _near_zero(settings: Settings) -> list[Row]:
    """Return the rates of scores of either sign, such as a reward model's, around a level near 0.

    The scores have a deviation of 1, and tuned's are lower by exactly the tolerance.
    """
    table = []
    for share, level in ((0.1, 0.0), (0.5, 0.0), (0.5, 0.05)):
        rng = settings.rng(f"near zero {share} {level}")
        gate = Gate(metric="m", kind="tolerance", margin=f"{100 * share:g}%")
        reps, hits = max(60, settings.reps // 10), 0
        for _ in range(reps):
            base = rng.normal(level, 1, LEAST_UNBOUNDED)
            tuned = base + rng.normal(-share * abs(level), 0.02, LEAST_UNBOUNDED)
            pairs = rules.pairs_of(base.tolist(), tuned.tolist(), rules.UNBOUNDED)
            hits += decide_gate(gate, pairs, regressed=False).status is GateStatus.PASS
        what = f"tolerance {100 * share:g} % of a level of {level:g}, scores of either sign"
        table.append(Row("relative", what, str(LEAST_UNBOUNDED), *simulated(hits, reps)))
    return table


@lru_cache(maxsize=400_000)
def _proves(wins: int, losses: int, both_right: int, share: float, confidence: float) -> bool:
    """Return whether a tolerance of a share of base's level is proven; `both` arms are right."""
    tuned = [1.0] * (wins + both_right) + [0.0] * losses
    base = [0.0] * wins + [1.0] * (both_right + losses)
    pairs = rules.pairs_of(base, tuned, rules.ZERO_ONE)
    return is_proven(pairs.relative(share), 0.0, confidence)


def _proofs(n: int, share: float) -> binary.Flags:
    """Return which [losses, wins] of n cases with a 1 prove the tolerance."""

    def rule(losses: int) -> Callable[[int], bool]:
        return lambda wins: _proves(wins, losses, n - wins - losses, share, binary.CONFIDENCE)

    return binary.monotone_table(n, rule)


def _exact(settings: Settings) -> list[Row]:
    found = []
    for share in SHARES[2:] if settings.fast else SHARES:
        for n in SIZES[:2] if settings.fast else SIZES:
            table = _proofs(n, share)

            def chance(
                discordant: float, table: binary.Flags = table, share: float = share
            ) -> float:
                wins = (discordant - share) / (2 - share)
                return binary.proof(table, 2 * wins - discordant, discordant)

            rate, discordant = binary.worst(chance, share)
            what = f"tolerance {100 * share:g} % of base, tuned at it, any base"
            note = f"worst with {100 * discordant:.3g} % discordant"
            found.append(Row("relative", what, str(n), rate, note=note))
    return found


def _looks(settings: Settings) -> list[Row]:
    """Return how often the limit is "proven" at any look of a growing sample."""
    table = []
    sizes = tuple(look_sizes(LOOKED))
    steps = np.diff([0, *sizes])
    for share in (0.02, 0.10):
        for level, wins in ((0.6, 0.0), (0.6, 0.1), (0.95, 0.0)):
            rng = settings.rng(f"relative looks {share} {level} {wins}")
            losses = share * level + wins
            # A win, a loss, a 1 in both arms, one in none.
            chances = [wins, losses, level - losses, 1 - level - wins]
            hits = 0
            for _ in range(settings.reps):
                parts = [rng.multinomial(step, chances) for step in steps]
                seen = np.cumsum(parts, axis=0)[:, :3].tolist()
                hits += any(
                    _proves(*counts, share, confidence)
                    for counts, confidence in zip(seen, looks.confidences(sizes), strict=True)
                )
            what = (
                f"tolerance {100 * share:g} % of base {level:g}, tuned at it, "
                f"{100 * wins:g} % wins, {len(sizes)} looks"
            )
            table.append(Row("relative", what, str(LOOKED), *simulated(hits, settings.reps)))
    return table
