"""Typed doors to the few scipy functions that the package needs.

scipy ships no type information; keeping its calls here keeps `Any` out of the other modules.
`scipy.special` is used rather than `scipy.stats`: it loads faster and never warns.
"""

from collections.abc import Callable

import numpy as np
from scipy import optimize, special  # type: ignore[import-untyped]  # scipy ships no types

from harness.stats.validation import Floats, Ints


def normal_tail(x: float) -> float:
    """Probability that a standard normal variable exceeds `x`."""
    return float(special.ndtr(-x))


def normal_tails(x: Floats) -> Floats:
    """The same for each element of an array."""
    return np.asarray(special.ndtr(-x))


def normal_upper(alpha: float) -> float:
    """Point that a standard normal variable exceeds with probability `alpha`."""
    return -float(special.ndtri(alpha))


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


def root(function: Callable[[float], float], low: float, high: float) -> float:
    """Zero of a function that changes sign between `low` and `high` (Brent's method)."""
    return float(optimize.brentq(function, low, high, xtol=1e-13))
