"""Plans for paired 0/1 scores, by the normal approximation of the score test."""

import math
from dataclasses import dataclass

from harness.stats import numeric, validation
from harness.stats.result import Design
from harness.stats.tango import null_losses

_SLACK = 1e-9
"""Rounding allowed before a sample size is raised to the next whole number."""
_METHOD = "Tango score, normal approximation"


def binary_power(
    n: int,
    *,
    effect: float,
    discordance: float,
    margin: float = 0.0,
    confidence: float = 0.90,
    deff: float = 1.0,
) -> Design:
    """Power of the score test with `n` paired 0/1 cases.

    Args:
        n: Paired cases.
        effect: True difference of the success rates, in [-1, 1].
        discordance: Share of cases on which the models differ; raised to abs(effect) if smaller.
        margin: Null value in (-1, 1).
        confidence: Two-sided level of the interval that decides.
        deff: Design effect of clustered cases, at least 1.

    Raises:
        ValueError: If an argument is out of range.

    Source: Tango (1998) and Nam (1997), Biometrics 53:1422-1430:
    Phi(((effect - margin) sqrt(n) - z sqrt(v0)) / sqrt(v1)), v0 the variance under the null
    nearest to the true cells, v1 = discordance - effect^2.

    Trap: normal approximation, within .01 of the exact power at 100 cases, .06 at 30.
    """
    validation.count("n", n, least=1)
    validation.between("confidence", confidence, 0, 1)
    spread = _spread(effect, discordance, margin)
    power = _binary_power(n / validation.design_effect(deff), effect - margin, spread, confidence)
    return Design(n, effect, margin, power, confidence, _METHOD)


def binary_sample_size(
    *,
    effect: float,
    discordance: float,
    margin: float = 0.0,
    confidence: float = 0.90,
    power: float = 0.80,
    deff: float = 1.0,
) -> Design:
    """Fewest paired 0/1 cases that reach the wanted power, with the power they reach.

    Args:
        effect: True difference of the success rates; must exceed `margin`.
        discordance: Share of cases on which the models differ; raised to abs(effect) if smaller.
        margin: Null value in (-1, 1).
        confidence: Two-sided level of the interval that decides.
        power: Probability of a pass that is wanted, in (0, 1).
        deff: Design effect of clustered cases, at least 1.

    Raises:
        ValueError: If an argument is out of range or `effect` does not exceed `margin`.

    Source: the inversion of `binary_power`.

    Trap: the discordance decides; take it from an earlier run, not from hope.
    """
    _wanted(confidence, power)
    validation.design_effect(deff)
    spread = _spread(effect, discordance, margin)
    validation.exceeds(effect, margin)
    z_alpha = numeric.normal_critical(confidence)
    z_beta = numeric.normal_upper(1 - power)
    root = (z_alpha * math.sqrt(spread.null) + z_beta * math.sqrt(spread.true)) / (effect - margin)
    # A wanted power below one half may make the root negative; one case is the least there is.
    n = max(1, math.ceil(max(root, 0) ** 2 * deff - _SLACK))
    reached = _binary_power(n / deff, effect - margin, spread, confidence)
    return Design(n, effect, margin, reached, confidence, _METHOD)


def binary_detectable_effect(
    n: int,
    *,
    discordance: float,
    margin: float = 0.0,
    confidence: float = 0.90,
    power: float = 0.80,
    deff: float = 1.0,
) -> Design:
    """Smallest true difference that `n` paired 0/1 cases find with the wanted power.

    Args:
        n: Paired cases.
        discordance: Share of cases on which the models differ; raised with the effect.
        margin: Null value in (-1, 1).
        confidence: Two-sided level of the interval that decides.
        power: Probability of a pass that is wanted, in (0, 1).
        deff: Design effect of clustered cases, at least 1.

    Returns:
        The design; its effect is `inf` if even a difference of 1 would not be found.

    Raises:
        ValueError: If an argument is out of range.

    Source: the inversion of `binary_power` by root finding.
    """
    validation.count("n", n, least=1)
    _wanted(confidence, power)
    validation.within("discordance", discordance, 0, 1)
    validation.between("margin", margin, -1, 1)
    size = n / validation.design_effect(deff)

    def excess(effect: float) -> float:
        spread = _spread(effect, discordance, margin)
        return _binary_power(size, effect - margin, spread, confidence) - power

    # Power grows from below the target at the margin; an effect of 1 is the largest there is.
    nearest = margin + 1e-9 * (1 - margin)
    if excess(1.0) < 0:
        effect = math.inf
    elif excess(nearest) >= 0:
        effect = margin
    else:
        effect = numeric.root(excess, nearest, 1.0)
    return Design(n, effect, margin, power, confidence, _METHOD)


@dataclass(frozen=True, slots=True)
class _Spread:
    """Variances of one paired 0/1 difference."""

    null: float
    true: float


def _spread(effect: float, discordance: float, margin: float) -> _Spread:
    validation.within("effect", effect, -1, 1)
    validation.within("discordance", discordance, 0, 1)
    validation.between("margin", margin, -1, 1)
    rate = max(discordance, abs(effect))
    loss = float(null_losses((rate + effect) / 2, (rate - effect) / 2, 1, margin))
    return _Spread(max(0.0, 2 * loss + margin * (1 - margin)), max(0.0, rate - effect**2))


def _binary_power(n: float, gain: float, spread: _Spread, confidence: float) -> float:
    shift = gain * math.sqrt(n) - numeric.normal_critical(confidence) * math.sqrt(spread.null)
    if spread.true <= 0:
        return float(shift > 0)
    return numeric.normal_tail(-shift / math.sqrt(spread.true))


def _wanted(confidence: float, power: float) -> None:
    validation.between("confidence", confidence, 0, 1)
    validation.between("power", power, 0, 1)
