"""Group-sequential design: spending functions, bounds of each look, conditional power.

Statistics at the looks are z-values of the growing sample; `fractions` are which share of the
planned cases each look has seen. The e-process for an unknown number of cases is in
`confidence_sequences`.

Example:
    >>> efficacy_bounds([0.5, 1.0], alpha=0.025, spending=obrien_fleming).round(4).tolist()
    [2.9626, 1.9686]
"""

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from tunegate.harness.stats import distributions, validation
from tunegate.harness.stats.validation import Floats

Spending = Callable[[float, float], float]
"""Maps the share of cases seen and alpha to the error that may be spent until then."""

LOOK = 32
"""Fewest cases between two looks: what a decoder computes together at the price of a few."""
MOST_LOOKS = 20
"""Looks at most; more save nothing and cost accuracy."""

_NODES = 200
"""Quadrature nodes; looks .05 apart need about 100 for four decimals."""
_FAR = 8.0
"""Standard deviations at which the density is cut off."""


def kim_demets(fraction: float, alpha: float) -> float:
    """Spend alpha * fraction^3: little at first, most at the end.

    Source: Kim and DeMets (1987), Biometrika 74:149-154, power family with rho = 3.
    """
    return alpha * fraction**3


def obrien_fleming(fraction: float, alpha: float) -> float:
    """Spend 2 - 2 Phi(z / sqrt(fraction)), z the upper alpha/2 point.

    Source: Lan and DeMets (1983), Biometrika 70:659-663, one-sided.
    """
    return 2 * distributions.normal_tail(
        distributions.normal_upper(alpha / 2) / math.sqrt(fraction)
    )


def look_sizes(n: int, *, first: int = 20, most: int = MOST_LOOKS) -> list[int]:
    """Cases seen at each look: every 5 % of the plan or 32 cases, whichever is more, and all.

    Args:
        n: Planned units (cases, or clusters), at least 1.
        first: Fewest units at the first look: 20 for 0/1 scores, 50 for continuous ones.
        most: Looks at most: 20 come every 5 % of the plan, 4 every quarter.

    Returns:
        Growing counts that end with `n`. A last step of less than half is merged into the one
        before.

    Source: simulated with `kim_demets` at 200 cases and a true gain of 0.2: stops after .42 of the
    cases, against .37 with looks every 10.
    """
    validation.check_count("n", n, least=1)
    validation.check_count("first", first, least=1)
    validation.check_count("most", most, least=1)
    step = max(LOOK, -(-n // most))
    sizes = [size for size in range(step, n, step) if size >= first and n - size >= step / 2]
    return [*sizes, n]


def efficacy_bounds(
    fractions: Sequence[float], *, alpha: float = 0.05, spending: Spending = kim_demets
) -> Floats:
    """Bounds that z must exceed at each look, spending `alpha` in all.

    Args:
        fractions: Share of the planned cases seen at each look, growing, in (0, 1].
        alpha: One-sided error to spend until fraction 1, in (0, 0.5).
        spending: How much may be spent until a fraction; must grow with it.

    Returns:
        One bound per look; `inf` where nothing may be spent.

    Source: Armitage, McPherson and Rowe (1969), JRSS A 132:235-244: the density of the score
    process below the earlier bounds, carried from look to look by quadrature.

    Traps: at most 20 or so looks; looks closer than .01 apart lose accuracy. Futility stops are
    not counted on (non-binding), so ignoring them is safe.
    """
    times = validation.check_vector("fractions", fractions)
    validation.check_between("alpha", alpha, 0, 0.5)
    if times[0] <= 0 or times[-1] > 1 or (np.diff(times) <= 0).any():
        raise ValueError(f"fractions={times.tolist()} must grow within (0, 1]")
    spent = np.array([spending(float(time), alpha) for time in times])
    rises = np.diff(spent, prepend=0.0)
    steps = np.diff(times, prepend=0.0)
    process = _ScoreProcess()
    bounds = []
    for time, step, rise in zip(times.tolist(), steps.tolist(), rises.tolist(), strict=True):
        cut = process.cut(step, rise, time)
        bounds.append(cut / math.sqrt(time))
        process.advance(step, min(cut, _FAR * math.sqrt(time)), time)
    return np.array(bounds)


def crossing_probability(
    fractions: Sequence[float],
    bounds: Sequence[float],
    *,
    drift: float,
    floors: Sequence[float] | None = None,
) -> float:
    """Probability that z exceeds its bound at some look.

    Args:
        fractions: Share of the planned cases seen at each look, growing, in (0, 1].
        bounds: Bound of each look, as `efficacy_bounds` returns them.
        drift: Expected z with all cases.
        floors: z of each look below which the run is given up; None if it never is.

    Source: the recursion of `efficacy_bounds` with the likelihood ratio of the drift
    (Armitage, McPherson and Rowe 1969; Jennison and Turnbull 2000, section 19.2).
    """
    process, before, total = _ScoreProcess(), 0.0, 0.0
    lowest = floors if floors is not None else [-math.inf] * len(fractions)
    for time, bound, floor in zip(fractions, bounds, lowest, strict=True):
        root, step = math.sqrt(time), time - before
        total += process.drifted_crossing(bound * root, step, drift, before)
        process.advance(step, min(bound, _FAR) * root, time, floor * root)
        before = time
    return min(1.0, total)


@cache
def _rule() -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights on [-1, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return np.asarray(nodes), np.asarray(weights)


class _ScoreProcess:
    """Density of the score process on the paths that have crossed no bound yet."""

    def __init__(self) -> None:
        self._points = np.zeros(1)
        self._mass = np.ones(1)

    def crossing(self, cut: float, step: float) -> float:
        """Probability of exceeding `cut` after a further `step` of information."""
        return float(
            self._mass @ distributions.normal_tails((cut - self._points) / math.sqrt(step))
        )

    def cut(self, step: float, rise: float, time: float) -> float:
        """Score whose crossing probability equals `rise`."""
        far = 40 * math.sqrt(time)
        if rise <= self.crossing(far, step):
            return math.inf
        return distributions.find_root(lambda cut: self.crossing(cut, step) - rise, -far, far)

    def drifted_crossing(self, cut: float, step: float, drift: float, before: float) -> float:
        """Probability of exceeding `cut` after a further `step`, if the score drifts.

        The density is kept without drift; the likelihood ratio of a path that has reached a score
        at the time `before` turns it into the one with drift.
        """
        ratio = np.exp(drift * self._points - drift**2 * before / 2)
        tails = distributions.normal_tails((cut - self._points - drift * step) / math.sqrt(step))
        return float((self._mass * ratio) @ tails)

    def advance(self, step: float, cut: float, time: float, floor: float = -math.inf) -> None:
        """Carry the density over `step` and drop what is above `cut` or below `floor`."""
        nodes, weights = _rule()
        low = min(max(-_FAR * math.sqrt(time), floor), cut)
        points = low + (nodes + 1) / 2 * (cut - low)
        scaled = (points[:, np.newaxis] - self._points) / math.sqrt(step)
        density = np.exp(-(scaled**2) / 2) @ self._mass / math.sqrt(2 * math.pi * step)
        self._points, self._mass = points, density * weights * (cut - low) / 2


def repeated_confidence(bound: float) -> float:
    """Two-sided confidence whose normal quantile is `bound`: 2 Phi(bound) - 1.

    Give it as `confidence` to any interval of this package to get the repeated confidence
    interval of that look: it excludes the margin exactly if the statistic has crossed the bound.

    Args:
        bound: Efficacy bound of the look, positive.

    Source: Jennison and Turnbull (1989), JRSS B 51:305-361.
    """
    validation.check_positive("bound", bound)
    # Beyond 8.2 the difference to 1 is below the resolution of a float.
    return min(1 - 2 * distributions.normal_tail(bound), math.nextafter(1, 0))


def conditional_power(z: float, fraction: float, *, bound: float, drift: float) -> float:
    """Probability that the final z reaches `bound`, given the z of now.

    Args:
        z: Statistic at this look.
        fraction: Share of the planned cases seen, in (0, 1).
        bound: Efficacy bound of the last look.
        drift: Expected final z if the effect hoped for is true: (effect - margin) over the
            standard error with all cases.

    Source: Lan, Simon and Halperin (1982), Sequential Analysis 1:207-219:
    Phi((z sqrt(t) + drift (1 - t) - bound) / sqrt(1 - t)).

    Trap: stop below .10 at the earliest from a quarter of the cases; earlier the noise decides.
    """
    validation.check_between("fraction", fraction, 0, 1)
    for name, value in (("z", z), ("bound", bound), ("drift", drift)):
        validation.check_finite(name, value)
    expected = z * math.sqrt(fraction) + drift * (1 - fraction)
    return distributions.normal_tail((bound - expected) / math.sqrt(1 - fraction))
