"""Power and sample size of paired designs, for binary scores and for means.

Binary plans use the score test of `binary`, continuous ones the t test; both take the design effect
of clustered cases. A margin at or above 0 plans superiority, a negative one non-inferiority.

Example:
    >>> binary_sample_size(effect=0.1, discordance=0.3).n
    184
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from tunegate.harness.records.defaults import CONFIDENCE, POWER
from tunegate.harness.stats import distributions, validation
from tunegate.harness.stats.binary import null_losses
from tunegate.harness.stats.types import StudyDesign
from tunegate.harness.stats.validation import Ints


def smallest_provable_n(margin: float, *, confidence: float = CONFIDENCE) -> int:
    """Fewest 0/1 cases that can prove non-inferiority at all, even without any discordant pair.

    Args:
        margin: Tolerance as a positive number in (0, 1).
        confidence: Two-sided level.

    Source: without a discordant pair the score test passes from z^2 (1 - margin) / margin cases on,
    and its exact p-value, (1 - margin)^n, from log(alpha) / log(1 - margin) on: 149 at a margin of
    .02. For a share of base's level, `margin` is that share and the cases those that base gets
    right: the same formulas.
    """
    validation.check_between("margin", margin, 0, 1)
    validation.check_between("confidence", confidence, 0, 1)
    z, alpha = distributions.normal_critical(confidence), (1 - confidence) / 2
    by_score = z**2 * (1 - margin) / margin
    return math.ceil(max(by_score, math.log(alpha) / math.log1p(-margin)) - _SLACK)


_SLACK = 1e-9
"""Rounding allowed before a sample size is raised to the next whole number."""
_BINARY_METHOD = "Tango score, normal approximation"


def binary_power(
    n: int,
    *,
    effect: float,
    discordance: float,
    margin: float = 0.0,
    confidence: float = CONFIDENCE,
    deff: float = 1.0,
) -> StudyDesign:
    """Power of the score test with `n` paired 0/1 cases.

    Source: Tango (1998) and Nam (1997), Biometrics 53:1422-1430:
    Phi(((effect - margin) sqrt(n) - z sqrt(v0)) / sqrt(v1)), v0 the variance under the null
    nearest to the true cells, v1 = discordance - effect^2.

    Trap: normal approximation, within .01 of the exact power at 100 cases, .06 at 30.
    """
    validation.check_count("n", n, least=1)
    validation.check_between("confidence", confidence, 0, 1)
    spread = _spread(effect, discordance, margin)
    power = _binary_power(n / validation.design_effect(deff), effect - margin, spread, confidence)
    return StudyDesign(n, effect, margin, power, confidence, _BINARY_METHOD)


def binary_sample_size(
    *,
    effect: float,
    discordance: float,
    margin: float = 0.0,
    confidence: float = CONFIDENCE,
    power: float = POWER,
    deff: float = 1.0,
) -> StudyDesign:
    """Fewest paired 0/1 cases that reach the wanted power, with the power they reach.

    Source: the inversion of `binary_power`.

    Trap: the discordance decides; take it from an earlier run, not from hope.
    """
    _check_levels(confidence, power)
    validation.design_effect(deff)
    spread = _spread(effect, discordance, margin)
    validation.check_exceeds(effect, margin)
    z_alpha = distributions.normal_critical(confidence)
    z_beta = distributions.normal_upper(1 - power)
    root = (z_alpha * math.sqrt(spread.null) + z_beta * math.sqrt(spread.true)) / (effect - margin)
    # A wanted power below one half may make the root negative.
    n = max(1, math.ceil(max(root, 0) ** 2 * deff - _SLACK))
    reached = _binary_power(n / deff, effect - margin, spread, confidence)
    return StudyDesign(n, effect, margin, reached, confidence, _BINARY_METHOD)


def binary_detectable_effect(
    n: int,
    *,
    discordance: float,
    margin: float = 0.0,
    confidence: float = CONFIDENCE,
    power: float = POWER,
    deff: float = 1.0,
) -> StudyDesign:
    """Smallest true difference that `n` paired 0/1 cases find with the wanted power.

    Returns:
        The design; its effect is `inf` if even a difference of 1 would not be found.

    Source: the inversion of `binary_power` by root finding.
    """
    validation.check_count("n", n, least=1)
    _check_levels(confidence, power)
    validation.check_within("discordance", discordance, 0, 1)
    validation.check_between("margin", margin, -1, 1)
    size = n / validation.design_effect(deff)

    def excess(effect: float) -> float:
        spread = _spread(effect, discordance, margin)
        return _binary_power(size, effect - margin, spread, confidence) - power

    # Power grows with the effect, from the margin to 1.
    nearest = margin + 1e-9 * (1 - margin)
    if excess(1.0) < 0:
        effect = math.inf
    elif excess(nearest) >= 0:
        effect = margin
    else:
        effect = distributions.find_root(excess, nearest, 1.0)
    return StudyDesign(n, effect, margin, power, confidence, _BINARY_METHOD)


@dataclass(frozen=True, slots=True)
class _PairVariances:
    """Variances of one paired 0/1 difference."""

    null: float
    true: float


def _spread(effect: float, discordance: float, margin: float) -> _PairVariances:
    validation.check_within("effect", effect, -1, 1)
    validation.check_within("discordance", discordance, 0, 1)
    validation.check_between("margin", margin, -1, 1)
    rate = max(discordance, abs(effect))
    loss = float(null_losses((rate + effect) / 2, (rate - effect) / 2, 1, margin))
    return _PairVariances(max(0.0, 2 * loss + margin * (1 - margin)), max(0.0, rate - effect**2))


def _binary_power(n: float, gain: float, spread: _PairVariances, confidence: float) -> float:
    shift = gain * math.sqrt(n) - distributions.normal_critical(confidence) * math.sqrt(spread.null)
    if spread.true <= 0:
        return float(shift > 0)
    return distributions.normal_tail(-shift / math.sqrt(spread.true))


def _check_levels(confidence: float, power: float) -> None:
    validation.check_between("confidence", confidence, 0, 1)
    validation.check_between("power", power, 0, 1)


_MEAN_METHOD = "t approximation"


def mean_power(
    n: int,
    *,
    effect: float,
    deviation: float,
    margin: float = 0.0,
    confidence: float = CONFIDENCE,
    deff: float = 1.0,
) -> StudyDesign:
    """Power of the t test with `n` paired differences.

    Source: T((effect - margin) sqrt(n) / deviation - t_alpha) with n - 1 degrees of freedom, the
    formula n = ((t_alpha + t_beta) deviation / (effect - margin))^2 solved for the power.
    """
    validation.check_count("n", n, least=2)
    validation.check_between("confidence", confidence, 0, 1)
    validation.check_finite("effect", effect)
    validation.check_finite("margin", margin)
    validation.check_positive("deviation", deviation)
    power = _mean_power(
        n / validation.design_effect(deff), (effect - margin) / deviation, confidence
    )
    return StudyDesign(n, effect, margin, power, confidence, _MEAN_METHOD)


def mean_sample_size(
    *,
    effect: float,
    deviation: float,
    margin: float = 0.0,
    confidence: float = CONFIDENCE,
    power: float = POWER,
    deff: float = 1.0,
) -> StudyDesign:
    """Fewest paired differences that reach the wanted power, with the power they reach.

    Source: the inversion of `mean_power`; agrees with statsmodels' TTestPower.
    """
    validation.check_finite("margin", margin)
    validation.check_positive("deviation", deviation)
    validation.check_exceeds(validation.check_finite("effect", effect), margin)
    validation.design_effect(deff)
    _check_levels(confidence, power)
    ratio = (effect - margin) / deviation

    def reached(n: int) -> float:
        return _mean_power(n / deff, ratio, confidence)

    n = _smallest(lambda n: reached(n) >= power - _SLACK)
    return StudyDesign(n, effect, margin, reached(n), confidence, _MEAN_METHOD)


def mean_detectable_effect(
    n: int,
    *,
    deviation: float,
    margin: float = 0.0,
    confidence: float = CONFIDENCE,
    power: float = POWER,
    deff: float = 1.0,
) -> StudyDesign:
    """Smallest true mean difference that `n` paired differences find with the wanted power.

    Source: margin + (t_alpha + t_beta) * deviation / sqrt(n).
    """
    validation.check_count("n", n, least=2)
    validation.check_finite("margin", margin)
    validation.check_positive("deviation", deviation)
    _check_levels(confidence, power)
    size = n / validation.design_effect(deff)
    degrees = _degrees(size)
    quantiles = distributions.t_critical(confidence, degrees)
    quantiles += distributions.t_upper(1 - power, degrees)
    effect = margin + max(0.0, quantiles) * deviation / math.sqrt(size)
    return StudyDesign(n, effect, margin, power, confidence, _MEAN_METHOD)


def _mean_power(n: float, ratio: float, confidence: float) -> float:
    degrees = _degrees(n)
    shift = ratio * math.sqrt(n) - distributions.t_critical(confidence, degrees)
    return distributions.t_tail(-shift, degrees)


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


_DENSE = 64
"""Losses up to which a boundary is computed for every number of them."""
EXACT_LIMIT = 2000
"""Cases up to which the power of a rule on 0/1 scores is enumerated, instead of approximated."""


class ProofBoundary:
    """Fewest wins that prove a margin, for each number of losses, for any rule on `n` 0/1 pairs.

    The rule is evaluated at each number of losses up to 64, then at steps of a standard deviation,
    between which the boundary is a straight line up to rounding. Results are kept, so that other
    effects and discordances cost next to nothing.
    """

    def __init__(self, n: int, proves: Callable[[int, int], bool]) -> None:
        """Take the cases and the rule: (wins, losses) → whether the margin is proven."""
        self.n = n
        self._proves = proves
        self._turns: dict[int, int] = {}

    def fewest_wins(self, least: int, most: int) -> Ints:
        """Return the fewest wins at `least` to `most` losses; above n - losses if none suffice."""
        knots = [c for c in _knots(self.n) if least <= c <= most]
        inner = [c for c in _knots(self.n) if c < least][-1:] + knots
        inner += [c for c in _knots(self.n) if c > most][:1]
        turns = [self._turn(c) for c in inner]
        losses = np.arange(least, most + 1)
        return np.rint(np.interp(losses, inner, turns)).astype(np.int64)

    def power(self, effect: float, discordance: float) -> float:
        """Return the probability of a proof.

        Source: wins and losses are trinomial; losses ~ binomial(n, q), wins ~ binomial among the
        rest. Losses further than 4.5 standard deviations from their mean are left out.
        """
        share = max(discordance, abs(effect))
        lose = min(max((share - effect) / 2, 0.0), 1.0)
        win = min(max((share + effect) / 2, 0.0), 1.0)
        far = 4.5 * math.sqrt(self.n * lose * (1 - lose)) + 3
        least = max(0, math.floor(self.n * lose - far))
        most = min(self.n, math.ceil(self.n * lose + far))
        needed, losses = self.fewest_wins(least, most), np.arange(least, most + 1)
        win_rates = np.array(min(1.0, win / (1 - lose)) if lose < 1 else 0.0)
        mass = distributions.binomial_mass(losses, self.n, np.array(lose))
        return float((mass * distributions.binomial_tail(needed, self.n - losses, win_rates)).sum())

    def _turn(self, losses: int) -> int:
        if losses not in self._turns:
            near = min(self._turns, key=lambda c: abs(c - losses), default=None)
            start = losses if near is None else self._turns[near] + losses - near
            self._turns[losses] = _first_true(
                lambda wins: self._proves(wins, losses), start, self.n - losses
            )
        return self._turns[losses]


@cache
def _knots(n: int) -> tuple[int, ...]:
    """Return the numbers of losses at which a boundary is asked for."""
    knots = [0]
    while knots[-1] < n:
        step = 1 if knots[-1] < _DENSE else math.isqrt(knots[-1])
        knots.append(min(n, knots[-1] + step))
    return tuple(knots)


def _first_true(holds: Callable[[int], bool], start: int, last: int) -> int:
    """Return the smallest of 0..`last` that holds, else last + 1: galloping, bisection."""
    step, at = 1, min(max(start, 0), last)
    if holds(at):
        high = at
        while high > 0 and holds(max(high - step, 0)):
            high, step = max(high - step, 0), 2 * step
        low = max(high - step, 0) if high else -1
    else:
        low = at
        while low < last and not holds(min(low + step, last)):
            low, step = min(low + step, last), 2 * step
        if low >= last:
            return last + 1
        high = min(low + step, last)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def mean_rule_power(
    n: float, *, effect: float, deviation: float, criticals: tuple[float, float]
) -> float:
    """Power of a rule that calls a mean proven from some value on, which depends on the deviation.

    Args:
        n: Paired differences, at least 2; a fraction if they were divided by a design effect.
        effect: True mean difference.
        deviation: True standard deviation of the differences.
        criticals: Smallest mean that is proven in samples of two deviations, one
            `sample_error(n)` below the true one and one above, as shares of it; `inf` without one.

    Source: mean and deviation of normal samples are independent; the rule's smallest mean is a
    straight line in the deviation, as that of the t test is, and the power its mean over the
    quantiles of the deviation. For the t test this is the noncentral t distribution.
    """
    error, places = sample_error(n), (np.arange(_PLACES) + 0.5) / _PLACES
    deviations = distributions.deviation_quantiles(places, _degrees(n))
    low, high = criticals
    if math.isinf(high):
        low, high = (math.inf, math.inf) if math.isinf(low) else (low, low)
    if math.isinf(low):
        return 0.0
    needed = low + (high - low) * (deviations - 1 + error) / (2 * error)
    return float(distributions.normal_tails((needed - effect) * math.sqrt(n) / deviation).mean())


_PLACES = 40
"""Quantiles of a sample's deviation over which a power is averaged."""


def sample_error(n: float) -> float:
    """Return the relative standard error of a standard deviation, at most a half."""
    return min(0.5, 1 / math.sqrt(2 * _degrees(n)))
