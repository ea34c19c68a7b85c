"""A tolerance that is a share of base's level, on 0/1 scores: exact and simulated error rates.

Tuned's level is exactly `1 - share` of base's (`1 + share` where a lower score is better). The
cases that neither arm gets right say nothing of a ratio: given the number of the others, wins and
losses are trinomial with one nuisance parameter, whatever base's level. What is enumerated for so
many cases bounds the rate of every suite, for it is an average of such rates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.error_rates import binary, looks, rules, whole
from benchmarks.error_rates.runs import Gated, flips
from benchmarks.error_rates.table import ALPHA, Row, Settings, simulated
from tunegate.harness.comparison.delta import is_proven
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.stats.group_sequential import look_sizes

SHARES = (0.01, 0.02, 0.05, 0.10)
SIZES = (20, 50, 100, 200)
"""Cases that at least one arm gets right."""
EVERY = (10, 100)
"""First and last of a range of cases of which each is enumerated."""
LEVELS = (0.6, 0.95)
"""Levels of base."""
LOST_POWER = 0.08
"""Power that may be missing to the oracle."""
UNCHANGED = (0.02, 0.1, 0.3)
"""Shares of discordant pairs at which the power is compared, wins as frequent as losses."""
LOOKED = 400
FIRST = 20
"""Cases before which a growing sample of 0/1 scores is not looked at."""
FALLING = rules.ZERO_ONE.model_copy(update={"higher_is_better": False})
"""Pass or fail where 1 is bad."""


def rows(settings: Settings) -> list[Row]:
    """Return the error rates of relative tolerances and the power that they cost."""
    return [
        *_exact(settings),
        *_every(settings),
        *_power(settings),
        *_simulated(settings),
        *_looks(settings),
        *_clusters(settings),
        *_runs(settings),
    ]


@lru_cache(maxsize=400_000)
def proves(
    wins: int, losses: int, both: int, share: float, confidence: float, *, falling: bool = False
) -> bool:
    """Return whether the gate's rule proves a tolerance of a share of base's level.

    Args:
        wins: Cases that only tuned gets right (or only base gets wrong).
        losses: Cases that only base gets right.
        both: Cases on which both arms score 1.
        share: The tolerance.
        confidence: Two-sided.
        falling: Whether 1 is bad.
    """
    more, fewer = (losses, wins) if falling else (wins, losses)
    tuned = [1.0] * (more + both) + [0.0] * fewer
    base = [0.0] * more + [1.0] * (both + fewer)
    pairs = rules.pairs_of(base, tuned, FALLING if falling else rules.ZERO_ONE)
    return is_proven(pairs.relative(share), 0.0, confidence)


@cache
def proofs(n: int, share: float, *, falling: bool = False) -> binary.Flags:
    """Return which [losses, wins] of n cases with a 1 prove the tolerance."""

    def rule(losses: int) -> Callable[[int], bool]:
        return lambda wins: proves(
            wins, losses, n - wins - losses, share, binary.CONFIDENCE, falling=falling
        )

    return binary.monotone_table(n, rule)


def size(table: binary.Flags, share: float, *, falling: bool = False) -> tuple[float, float]:
    """Return the largest probability of a proof at the limit, and the discordance it needs."""
    ratio = 1 / (1 + share) if falling else 1 - share
    # Losses are `1 - ratio` and `ratio` times the wins.
    return binary.worst(
        lambda discordant: binary.proof(table, _difference(ratio, discordant), discordant),
        1 - ratio,
    )


def _difference(ratio: float, discordant: float) -> float:
    """Return wins - losses at the limit."""
    wins = (discordant - (1 - ratio)) / (1 + ratio)
    return 2 * wins - discordant


def _exact(settings: Settings) -> list[Row]:
    found = []
    for falling in (False, True):
        for share in SHARES[2:] if settings.fast or falling else SHARES:
            for n in SIZES[:2] if settings.fast or falling else SIZES:
                rate, discordant = size(proofs(n, share, falling=falling), share, falling=falling)
                note = f"worst with {100 * discordant:.3g} % discordant"
                found.append(Row("relative", _what(share, falling), str(n), rate, note=note))
    return found


def _what(share: float, falling: bool) -> str:
    text = f"tolerance {100 * share:g} % of base, tuned at it, any base"
    return f"{text}, 1 is bad" if falling else text


def _every(settings: Settings) -> list[Row]:
    first, last = EVERY
    found = []
    for share in SHARES[3:] if settings.fast else SHARES[2:]:
        rate, n = max(
            (size(proofs(n, share), share)[0], n)
            for n in range(first, (30 if settings.fast else last) + 1)
        )
        what = f"tolerance {100 * share:g} % of base, every number of cases"
        found.append(Row("relative", what, f"{first}-{last}", rate, note=f"worst at n = {n}"))
    return found


def oracle(n: int, share: float) -> binary.Flags:
    """Return what the score statistic proves at the level at which its largest error is 5 %.

    That test knows the worst case for this number of cases, and rejects as often as it may.
    """
    from tunegate.harness.stats.binary import tango_z

    losses, wins = np.arange(n + 1)[:, np.newaxis], np.arange(n + 1)[np.newaxis, :]
    z = tango_z(wins, losses, n, -share, 1 - share)
    z = np.where(wins + losses <= n, z, -np.inf)
    candidates = np.unique(z[(z > 1.2) & (z < 2.6)].round(9))
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        kept = size(z >= candidates[middle] - 1e-9, share)[0] <= ALPHA
        low, high = (low, middle) if kept else (middle + 1, high)
    return np.asarray(z >= candidates[low] - 1e-9)


def _power(settings: Settings) -> list[Row]:
    found = []
    for share, n in ((0.05, 100), (0.10, 100), (0.05, 200)):
        if settings.fast and n > SIZES[2]:
            continue
        ours, best = proofs(n, share), oracle(n, share)
        pairs = [
            (binary.proof(ours, 0.0, discordant), binary.proof(best, 0.0, discordant))
            for discordant in UNCHANGED
        ]
        what = f"tolerance {100 * share:g} % of base, no change: power lost to an exact oracle"
        note = "power " + ", ".join(
            f"{mine:.3f} of {theirs:.3f} at {100 * discordant:g} % discordant"
            for (mine, theirs), discordant in zip(pairs, UNCHANGED, strict=True)
        )
        lost = max(0.0, *(theirs - mine for mine, theirs in pairs))
        found.append(Row("relative", what, str(n), lost, limit=LOST_POWER, note=note))
    return found


Counts = NDArray[np.int64]


def at_limit(
    rng: np.random.Generator, n: int, level: float, share: float, wins: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scores of base and tuned where tuned's level is `1 - share` of base's.

    Args:
        rng: Generator.
        n: Cases.
        level: Base's.
        share: The tolerance.
        wins: Share of the cases that only tuned gets right.
    """
    place = rng.random(n)
    losses = share * level + wins
    base = (place < level).astype(np.float64)
    tuned = ((place >= losses) & (place < level + wins)).astype(np.float64)
    return base, tuned


def _simulated(settings: Settings) -> list[Row]:
    """Return the rates of whole suites with base at some level, most of them cases with a 1."""
    found = []
    cells = [
        (n, level, share, wins)
        for n, share in ((400, 0.02), (1000, 0.01))
        for level in LEVELS
        for wins in (0.0, 0.03)
    ]
    for n, level, share, wins in cells[:2] if settings.fast else cells:
        rng = settings.rng(f"relative {n} {level} {share} {wins}")
        hits = 0
        for _ in range(settings.reps):
            counts = rng.multinomial(n, _chances(level, share, wins)).tolist()
            hits += proves(*counts[:3], share, binary.CONFIDENCE)
        what = f"tolerance {100 * share:g} % of base {level:g}, tuned at it, {100 * wins:g} % wins"
        found.append(Row("relative", what, str(n), *simulated(hits, settings.reps)))
    return found


def _chances(level: float, share: float, wins: float) -> list[float]:
    """Return the chances of a win, of a loss, of a 1 in both arms and of one in none."""
    losses = share * level + wins
    return [wins, losses, level - losses, 1 - level - wins]


def _looks(settings: Settings) -> list[Row]:
    """Return how often the limit is "proven" at any look of a growing sample."""
    found = []
    sizes = tuple(look_sizes(LOOKED))
    steps = np.diff([0, *sizes])
    for share in (0.02, 0.10):
        for level, wins in ((0.6, 0.0), (0.6, 0.1), (0.95, 0.0)):
            rng = settings.rng(f"relative looks {share} {level} {wins}")
            hits = 0
            for _ in range(settings.reps):
                parts = [rng.multinomial(step, _chances(level, share, wins)) for step in steps]
                seen = np.cumsum(parts, axis=0)[:, :3].tolist()
                hits += any(
                    proves(*counts, share, confidence)
                    for counts, confidence in zip(seen, looks.confidences(sizes), strict=True)
                )
            what = (
                f"tolerance {100 * share:g} % of base {level:g}, tuned at it, "
                f"{100 * wins:g} % wins, {len(sizes)} looks"
            )
            found.append(Row("relative", what, str(LOOKED), *simulated(hits, settings.reps)))
    return found


def _clusters(settings: Settings) -> list[Row]:
    """Return the rates where cases of a cluster win and lose together."""
    found = []
    cells = (
        (40, 5, 0.8, 0.10, 0.0, 1.0),
        (60, 5, 0.9, 0.05, 0.03, 0.3),
        (40, 10, 0.95, 0.1, 0, 0.9),
    )
    for count, of, level, share, wins, icc in cells[:1] if settings.fast else cells:
        rng = settings.rng(f"relative clusters {count} {of} {share}")
        reps = max(30, settings.reps // 10)
        names = [str(i) for i in range(count) for _ in range(of)]
        hits = 0
        for _ in range(reps):
            base, tuned = _alike(rng, (count, of), _chances(level, share, wins), icc)
            pairs = rules.pairs_of(base.tolist(), tuned.tolist(), rules.ZERO_ONE, names)
            hits += is_proven(pairs.relative(share), 0.0, binary.CONFIDENCE)
        what = f"tolerance {100 * share:g} % of base {level:g}, tuned at it, clusters, icc {icc:g}"
        found.append(Row("relative", what, f"{count}*{of}", *simulated(hits, reps)))
    return found


def _alike(
    rng: np.random.Generator, shape: tuple[int, int], chances: list[float], icc: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scores of clusters whose cases take the cluster's own outcome with chance `icc`."""
    own = rng.choice(4, size=shape, p=chances)
    shared = rng.choice(4, size=(shape[0], 1), p=chances)
    kind = np.where(rng.random(shape) < icc, shared, own).ravel()
    # Outcomes: a win, a loss, a 1 in both arms, one in none.
    return np.isin(kind, (1, 2)).astype(np.float64), np.isin(kind, (0, 2)).astype(np.float64)


def _runs(settings: Settings) -> list[Row]:
    """Return false SHIPs of whole runs whose gain is large and whose guardrail is at its limit."""
    found = []
    for n, looked, share in ((200, False, "10%"), (LOOKED, True, "2%")):
        rng = settings.rng(f"relative runs {n}")
        reps = max(30, settings.reps // (50 if looked else 10))
        shipped = 0
        for _ in range(reps):
            scores = at_limit(rng, n, LEVELS[0], float(share.rstrip("%")) / 100, 0.0)
            metric = rules.ZERO_ONE.model_copy(update={"name": "guard", "use": "guard"})
            guard = Gated(metric, Gate(metric="guard", kind="tolerance", margin=share), scores)
            goal = whole.gated("goal", "gain", 0.0, flips(rng, n, 0.5, 0.05), rules.ZERO_ONE)
            found_verdict = (
                whole.looked_verdict([goal, guard], "primary", first=FIRST)
                if looked
                else whole.verdict({"s": [goal, guard]})
            )
            shipped += found_verdict is Verdict.SHIP
        how = " with looks" if looked else ""
        what = f"false SHIP{how}, gain = 0, losses only to {share} of base {LEVELS[0]:g}"
        found.append(Row("relative", what, str(n), *simulated(shipped, reps)))
    return found
