"""Typed wrappers of scipy: distribution functions and root finding.

scipy ships no type information; keeping its calls here keeps `Any` out of the other modules.
`scipy.special` is used rather than `scipy.stats` and `scipy.optimize`: it loads faster, in every
run, and never warns.
"""

import math
import sys
from collections.abc import Callable

import numpy as np
from scipy import special  # type: ignore[import-untyped]  # scipy ships no types

from tunegate.harness.stats.validation import Floats, Ints


def normal_tail(x: float) -> float:
    """Probability that a standard normal variable exceeds `x`."""
    return float(special.ndtr(-x))


def normal_tails(x: Floats) -> Floats:
    """The same for each element of an array."""
    return np.asarray(special.ndtr(-x))


def normal_upper(alpha: float) -> float:
    """Point that a standard normal variable exceeds with probability `alpha`."""
    return -float(special.ndtri(alpha))


def normal_quantiles(probabilities: Floats) -> Floats:
    """Standard normal quantiles of the given probabilities."""
    return np.asarray(special.ndtri(probabilities))


def normal_critical(confidence: float) -> float:
    """Half-width factor of a two-sided normal interval: 1.645 at 0.90."""
    return normal_upper((1 - confidence) / 2)


def t_tail(x: float, degrees: float) -> float:
    """Probability that a t variable with `degrees` of freedom exceeds `x`."""
    return float(special.stdtr(degrees, -x))


def t_upper(alpha: float, degrees: float) -> float:
    """Point that a t variable with `degrees` of freedom exceeds with probability `alpha`."""
    return -float(special.stdtrit(degrees, alpha))


def t_critical(confidence: float, degrees: float) -> float:
    """Half-width factor of a two-sided t interval."""
    return t_upper((1 - confidence) / 2, degrees)


def deviation_quantiles(probabilities: Floats | float, degrees: float) -> Floats:
    """Quantiles of a normal sample's standard deviation, as shares of the true one."""
    return np.asarray(np.sqrt(2 * special.gammaincinv(degrees / 2, probabilities) / degrees))


def binomial_tail(k: Ints, n: Ints, p: Floats) -> Floats:
    """Probability of at least `k` successes in `n` trials; arrays broadcast."""
    inside = (k >= 1) & (k <= n)
    tail = special.betainc(np.where(inside, k, 1), np.where(inside, n - k + 1, 1), p)
    return np.where(inside, tail, np.where(k < 1, 1.0, 0.0))


def binomial_mass(k: Ints, n: int, p: Floats) -> Floats:
    """Probability of exactly `k` successes in `n` trials; arrays broadcast."""
    ways = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return np.asarray(np.exp(ways + special.xlogy(k, p) + special.xlog1py(n - k, -p)))


def beta_quantile(probability: float, a: float, b: float) -> float:
    """Quantile of the beta distribution with shapes `a` and `b`."""
    return float(special.betaincinv(a, b, probability))


def beta_steps(edges: Floats, a: float, b: float) -> Floats:
    """Beta probability of each interval between neighbouring `edges`."""
    return np.diff(special.betainc(a, b, edges))


def exponential_sum_tail(weights: Floats, counts: Floats) -> float:
    """Probability that a weighted sum of independent exponential variables is above 0.

    Args:
        weights: One of each group of terms, of either sign.
        counts: Terms of each group, at least 1.

    Source: inversion of the moment generating function M(s) = prod (1 - s w)^-count along the
    vertical line through the saddle point of M(s)/s, where the integrand does not oscillate; the
    trapezoidal rule in sinh coordinates is then accurate to 1e-8 of the result.
    """
    largest = float(weights.max())
    if largest <= 0:
        return 0.0
    if weights.min() >= 0:
        return 1.0
    if float(weights @ counts) > 0:  # the smaller of the two tails keeps its digits
        return 1 - exponential_sum_tail(-weights, counts)
    scaled = weights / largest
    low, high = 0.0, 1.0  # M is finite below 1 / the largest weight, which is scaled to 1
    while high - low > 1e-9 * high:
        saddle = (low + high) / 2
        rising = float(counts @ (scaled / (1 - saddle * scaled))) > 1 / saddle
        low, high = (low, saddle) if rising else (saddle, high)
    curvature = float(counts @ (scaled / (1 - saddle * scaled)) ** 2) + 1 / saddle**2
    width = 1 / math.sqrt(curvature)
    heights = saddle + 1j * width * np.sinh(_SINH)
    log_m = -(counts @ np.log(1 - np.multiply.outer(scaled, heights)))
    values = (np.exp(log_m) / heights).real * width * np.cosh(_SINH)
    return float((values.sum() - values[0] / 2) * _SINH[1] / math.pi)


_SINH = np.linspace(0, 12, 361)
"""Points of the trapezoidal rule; sinh(12) is 80,000 times the width of the integrand."""
_MOST_STEPS = 4000
"""More than any bracket of floats takes by bisection alone, which is 2,100."""


def find_root(function: Callable[[float], float], low: float, high: float) -> float:
    """Zero of a function that changes sign between `low` and `high`, to within 1e-13.

    Source: Chandrupatla (1997), Advances in Engineering Software 28:145-149. Written here because
    importing scipy.optimize takes longer than a gate's whole arithmetic.
    """
    new, old = float(high), float(low)
    f_new, f_old = function(new), function(old)
    for end, value in ((old, f_old), (new, f_new)):
        if value == 0:
            return end
    if math.isnan(f_new) or math.isnan(f_old) or (f_new > 0) == (f_old > 0):
        raise ValueError(f"function must change sign between {low} and {high}: {f_old}, {f_new}")
    step = 0.5
    for _ in range(_MOST_STEPS):
        last, f_last = new, f_new
        new = last + step * (old - last)
        f_new = function(new)
        if (f_new > 0) == (f_last > 0):
            before, f_before = last, f_last
        else:
            before, f_before, old, f_old = old, f_old, last, f_last
        best, f_best = (new, f_new) if abs(f_new) < abs(f_old) else (old, f_old)
        nearest = (4 * sys.float_info.epsilon * abs(best) + 1e-13) / (2 * abs(old - new) or 1.0)
        if nearest > 0.5 or f_best == 0:
            return best
        if math.isnan(f_new):
            raise ValueError(f"function must be a number at {new}")
        step = _next_step((new, f_new), (old, f_old), (before, f_before))
        step = min(1 - nearest, max(nearest, step))
    raise ValueError(f"function has no zero that {_MOST_STEPS} steps find between {low} and {high}")


def _next_step(
    new: tuple[float, float], old: tuple[float, float], before: tuple[float, float]
) -> float:
    """Return where between `new` and `old` to look next, as a share of their distance.

    By inverse quadratic interpolation where it is safe, else in the middle.
    """
    (x_new, f_new), (x_old, f_old), (x_before, f_before) = new, old, before
    if f_before in (f_new, f_old):
        return 0.5
    place = (x_new - x_old) / (x_before - x_old)
    value = (f_new - f_old) / (f_before - f_old)
    if not (1 - math.sqrt(1 - place) < value < math.sqrt(place)):
        return 0.5
    first = f_new / (f_old - f_new) * f_before / (f_old - f_before)
    ratio = (x_before - x_new) / (x_old - x_new)
    return first + ratio * f_new / (f_before - f_new) * f_old / (f_before - f_old)
