"""0/1 scores: the exact error rate of the rule, the worst over the share of discordant pairs.

`wins` and `losses` are trinomial; every sample is enumerated.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special  # type: ignore[import-untyped]  # scipy ships no types

from benchmarks.error_rates import rules
from benchmarks.error_rates.table import Row, Settings

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

CONFIDENCE = 0.90
SIZES = (10, 20, 50, 100, 200)
MARGINS = {
    0.0: "gain 0",
    0.05: "gain .05",
    -0.05: "tolerance .05",
    -0.02: "tolerance .02",
}


def rows(settings: Settings, *, rule: rules.Rule = rules.gate) -> list[Row]:
    """Return the size of a rule at every margin and number of cases."""
    sizes = SIZES[:3] if settings.fast else SIZES
    table = []
    for margin, name in MARGINS.items():
        for n in sizes:
            rate, share = size(proofs(n, margin, CONFIDENCE, rule), margin)
            what = f"{name}, true difference {margin:+g}"
            note = f"worst with {100 * share:.3g} % discordant"
            table.append(Row("binary", what, str(n), rate, note=note))
    return table


def refutations(settings: Settings) -> list[Row]:
    """Return how often a user's `assert delta.holds(…)` fails for good though the margin is kept.

    False there is a claim: tuned is proven worse by more than the margin.
    """
    sizes = SIZES[:3] if settings.fast else SIZES
    found = []
    for n in sizes:
        table = proofs(n, 0.05, CONFIDENCE, rules.refuted)
        rate, share = size(table, 0.05)
        note = f"worst with {100 * share:.3g} % discordant"
        found.append(Row("binary", "holds(within=.05) False, -0.05", str(n), rate, note=note))
    return found


def holds(settings: Settings) -> list[Row]:
    """Return how often a gain that is exactly the expected one is ruled out: HOLD."""
    table = []
    for gain in (0.05, 0.1, 0.3):
        for n in (16, 42, 52) if settings.fast else (16, 42, 52, 100, 200):
            rate, share = size(proofs(n, -gain, CONFIDENCE, rules.held), -gain)
            note = f"worst with {100 * share:.3g} % discordant"
            what = f"HOLD, expected gain {gain:g} is true"
            table.append(Row("binary", what, str(n), rate, note=note))
    return table


def between(settings: Settings) -> list[Row]:
    """Return the worst of *every* number of cases, which round numbers may miss.

    Once over all shares of discordant pairs, once up to half, which is more than two models of
    one family ever show.
    """
    found = []
    last = 20 if settings.fast else SIZES[-1]
    for margin, name in MARGINS.items():
        tables = {n: proofs(n, margin, CONFIDENCE) for n in range(SIZES[0], last + 1)}
        for most in (0.5, 1.0):
            _, n = max(
                (max(proof(table, margin, share) for share in _coarse(abs(margin), most)), n)
                for n, table in tables.items()
            )
            rate, share = size(tables[n], margin, most=most)
            what = f"{name}, any n, at most {100 * most:g} % discordant"
            note = f"worst at n = {n} with {100 * share:.3g} % discordant"
            cell = f"{SIZES[0]}-{last}"
            found.append(Row("binary", what, cell, rate, note=note))
    return found


def _coarse(least: float, most: float) -> list[float]:
    """Return shares of discordant pairs: dense where losses alone are seen, then even."""
    near = [least * factor for factor in (1, 1.1, 1.25, 1.5, 2, 3)] if least else []
    even = np.linspace(0.05, 1.0, 20).tolist()
    return sorted({share for share in (*near, *even) if least <= share <= most})


def proofs(n: int, margin: float, confidence: float, rule: rules.Rule = rules.gate) -> Flags:
    """Return which samples prove the margin, as a table of [losses, wins].

    A monotone rule never turns back as wins are added, so it is asked around its turn only,
    beginning where it turned with one loss less.
    """

    def proves(losses: int) -> Callable[[int], bool]:
        return lambda wins: rule(rules.counts(wins, losses, n), margin, confidence)

    if rule in rules.MONOTONE:
        return monotone_table(n, proves)
    table = np.zeros((n + 1, n + 1), dtype=bool)
    for losses in range(n + 1):
        most = n - losses
        table[losses, : most + 1] = [proves(losses)(wins) for wins in range(most + 1)]
    return table


def monotone_table(n: int, proves: Callable[[int], Callable[[int], bool]]) -> Flags:
    """Return which of [losses, wins] a rule proves that never turns back as wins are added.

    Args:
        n: Cases.
        proves: From the losses to a function of the wins.
    """
    table = np.zeros((n + 1, n + 1), dtype=bool)
    turn = 0
    for losses in range(n + 1):
        turn = _turn(proves(losses), n - losses, start=turn)
        table[losses, turn : n - losses + 1] = True
    return table


def _turn(proves: Callable[[int], bool], most: int, *, start: int) -> int:
    """Return the fewest of 0..`most` wins that prove the margin; most + 1 if no number does."""
    turn = min(start, most + 1)
    while turn <= most and not proves(turn):
        turn += 1
    while turn > 0 and proves(turn - 1):
        turn -= 1
    return turn


def size(table: Flags, difference: float, *, most: float = 1.0) -> tuple[float, float]:
    """Return the largest probability of a proof at a true difference, and the share it needs."""
    least = max(abs(difference), 1e-9)
    return worst(lambda share: proof(table, difference, share), least, most=most)


def worst(
    probability: Callable[[float], float], least: float, *, most: float = 1.0, step: float = 0.005
) -> tuple[float, float]:
    """Return the maximum of a function of the share of discordant pairs, and where it is.

    A grid up to `most`, and a finer one around its worst point.
    """
    shares: list[float] = np.linspace(least, most, round((most - least) / step) + 1).tolist()
    rate, best = max((probability(share), share) for share in shares)
    near: list[float] = np.linspace(max(least, best - step), min(most, best + step), 11).tolist()
    return max((rate, best), *((probability(share), share) for share in near))


def proof(table: Flags, difference: float, share: float) -> float:
    """Return the probability of a proof at a true difference and share of discordant pairs."""
    return float(trinomial(table.shape[0] - 1, difference, share)[table].sum())


def trinomial(n: int, difference: float, share: float) -> Floats:
    """Return the probability of every [losses, wins] of n independent pairs.

    Losses are binomial, wins binomial among the rest.
    """
    lose = min(max((share - difference) / 2, 0.0), 1.0)
    win = min(max((share + difference) / 2, 0.0), 1.0)
    conditional = min(1.0, win / (1 - lose)) if lose < 1 else 0.0
    losses, wins = np.arange(n + 1)[:, np.newaxis], np.arange(n + 1)[np.newaxis, :]
    rest = np.maximum(n - losses - wins, 0)
    ways = special.gammaln(n + 1) - _log_factorial(losses) - _log_factorial(wins)
    chances = special.xlogy(losses, lose) + special.xlog1py(n - losses, -lose)
    chances = chances + special.xlogy(wins, conditional) + special.xlog1py(rest, -conditional)
    mass = np.exp(ways - _log_factorial(rest) + chances)
    return np.asarray(np.where(losses + wins <= n, mass, 0.0))


def _log_factorial(k: NDArray[np.int64]) -> Floats:
    return np.asarray(special.gammaln(k + 1))
