"""Plans for the mean of paired differences, by the t approximation."""

import math
from collections.abc import Callable

from harness.stats import numeric, validation
from harness.stats.result import Design

_SLACK = 1e-9
"""Rounding allowed before a sample size is raised to the next whole number."""
_METHOD = "t approximation"


def mean_power(
    n: int,
    *,
    effect: float,
    deviation: float,
    margin: float = 0.0,
    confidence: float = 0.90,
    deff: float = 1.0,
) -> Design:
    """Power of the t test with `n` paired differences.

    Args:
        n: Paired cases, at least 2.
        effect: True mean difference.
        deviation: Standard deviation of the differences, same unit.
        margin: Null value, same unit.
        confidence: Two-sided level of the interval that decides.
        deff: Design effect of clustered cases, at least 1.

    Raises:
        ValueError: If an argument is out of range.

    Source: T((effect - margin) sqrt(n) / deviation - t_alpha) with n - 1 degrees of freedom, the
    formula n = ((t_alpha + t_beta) deviation / (effect - margin))^2 solved for the power.

    Trap: the guard for fewer than 50 bounded differences widens the interval; plan for 50 or more.
    """
    validation.count("n", n, least=2)
    validation.between("confidence", confidence, 0, 1)
    validation.finite("effect", effect)
    validation.finite("margin", margin)
    validation.positive("deviation", deviation)
    power = _mean_power(
        n / validation.design_effect(deff), (effect - margin) / deviation, confidence
    )
    return Design(n, effect, margin, power, confidence, _METHOD)


def mean_sample_size(
    *,
    effect: float,
    deviation: float,
    margin: float = 0.0,
    confidence: float = 0.90,
    power: float = 0.80,
    deff: float = 1.0,
) -> Design:
    """Fewest paired differences that reach the wanted power, with the power they reach.

    Args:
        effect: True mean difference; must exceed `margin`.
        deviation: Standard deviation of the differences, same unit.
        margin: Null value, same unit.
        confidence: Two-sided level of the interval that decides.
        power: Probability of a pass that is wanted, in (0, 1).
        deff: Design effect of clustered cases, at least 1.

    Raises:
        ValueError: If an argument is out of range or `effect` does not exceed `margin`.

    Source: the inversion of `mean_power`; agrees with statsmodels' TTestPower.
    """
    validation.finite("margin", margin)
    validation.positive("deviation", deviation)
    validation.exceeds(validation.finite("effect", effect), margin)
    validation.design_effect(deff)
    validation.between("confidence", confidence, 0, 1)
    validation.between("power", power, 0, 1)
    ratio = (effect - margin) / deviation

    def reached(n: int) -> float:
        return _mean_power(n / deff, ratio, confidence)

    n = _smallest(lambda n: reached(n) >= power - _SLACK)
    return Design(n, effect, margin, reached(n), confidence, _METHOD)


def mean_detectable_effect(
    n: int,
    *,
    deviation: float,
    margin: float = 0.0,
    confidence: float = 0.90,
    power: float = 0.80,
    deff: float = 1.0,
) -> Design:
    """Smallest true mean difference that `n` paired differences find with the wanted power.

    Args:
        n: Paired cases, at least 2.
        deviation: Standard deviation of the differences.
        margin: Null value, same unit.
        confidence: Two-sided level of the interval that decides.
        power: Probability of a pass that is wanted, in (0, 1).
        deff: Design effect of clustered cases, at least 1.

    Raises:
        ValueError: If an argument is out of range.

    Source: margin + (t_alpha + t_beta) * deviation / sqrt(n).
    """
    validation.count("n", n, least=2)
    validation.finite("margin", margin)
    validation.positive("deviation", deviation)
    validation.between("confidence", confidence, 0, 1)
    validation.between("power", power, 0, 1)
    size = n / validation.design_effect(deff)
    degrees = _degrees(size)
    quantiles = numeric.t_critical(confidence, degrees)
    quantiles += numeric.t_upper(1 - power, degrees)
    effect = margin + max(0.0, quantiles) * deviation / math.sqrt(size)
    return Design(n, effect, margin, power, confidence, _METHOD)


def _mean_power(n: float, ratio: float, confidence: float) -> float:
    degrees = _degrees(n)
    shift = ratio * math.sqrt(n) - numeric.t_critical(confidence, degrees)
    return numeric.t_tail(-shift, degrees)


def _degrees(n: float) -> float:
    """Degrees of freedom of `n` effective cases; at least 1, below which t has no meaning."""
    return max(n - 1, 1.0)


def _smallest(enough: Callable[[int], bool]) -> int:
    """Smallest n >= 2 with `enough(n)`, by doubling and bisection."""
    high = 2
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
