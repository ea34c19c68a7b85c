"""The model behind the mean of paired differences: a few location curves and their envelope.

`paired` is the public face; here the data are scaled, the standard errors formed and the curves
(t, Hall, guarded t) chosen.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from harness.stats import numeric, validation
from harness.stats.clusters import Jackknife, Labels, jackknife
from harness.stats.validation import Floats

GUARDED_BELOW = 50
"""Units below which a bounded score is guarded: 20 cases cannot show a catastrophe of 8 %."""

_ROUNDING = 1e-12
"""Range below which scaled data do not vary: 0.3 - 0.2 and 0.2 - 0.1 are one value."""
_SYMMETRIC = 1e-8
"""Skewness below which Hall's correction is lost in rounding."""
_FAR = 1e50


@dataclass(frozen=True, slots=True)
class _Curve:
    """One family of limits `center - h(q) * error`, with q the t quantile."""

    center: float
    error: float
    skew: float = 0.0
    """Skewness over the root of the sample size; 0 makes it the plain t interval."""

    def limit(self, q: float) -> float:
        """Lower limit for the t quantile `q`; `-q` gives the upper one."""
        if self.skew == 0:
            return self.center - q * self.error
        a = self.skew
        return self.center - (math.cbrt(1 + a * (q - a / 6)) - 1) * 3 / a * self.error

    def statistic(self, margin: float) -> float:
        """Quantile at which the lower limit equals `margin`."""
        if self.error == 0:
            return math.copysign(math.inf, self.center - margin)
        # The cap keeps the cubic finite; its tail probability is zero for every purpose.
        x = max(-_FAR, min(_FAR, (self.center - margin) / self.error))
        a = self.skew
        return x + a * x**2 / 3 + a**2 * x**3 / 27 + a / 6


@dataclass(frozen=True, slots=True)
class Location:
    """A fitted mean: its estimate and the curves whose envelope is the interval."""

    estimate: float
    """The plain mean."""
    limit: float
    """Largest possible absolute mean, `inf` if unknown."""
    curves: tuple[_Curve, ...]
    """None if the data carry no information on their spread."""
    degrees: int
    """Degrees of freedom of the t quantile."""
    spread: bool
    """Whether the data vary at all."""
    method: str
    """Name of the rule."""

    def low(self, confidence: float) -> float:
        """Lower confidence limit: the lowest of the curves'."""
        if not self.curves:
            return -self.limit
        q = numeric.t_critical(confidence, self.degrees)
        return max(-self.limit, min(curve.limit(q) for curve in self.curves))

    def high(self, confidence: float) -> float:
        """Upper confidence limit: the highest of the curves'."""
        if not self.curves:
            return self.limit
        q = numeric.t_critical(confidence, self.degrees)
        return min(self.limit, max(curve.limit(-q) for curve in self.curves))

    def statistic(self, margin: float) -> float:
        """Smallest of the curves' statistics against `margin`; `-inf` if nothing can be said."""
        if not self.curves or (not self.spread and self.estimate <= margin):
            return -math.inf
        return min(curve.statistic(margin) for curve in self.curves)


def fit(differences: ArrayLike, bound: float | None, clusters: Labels | None) -> Location:
    """Validate the data and choose the curves; see `paired.mean_interval` for the rules."""
    values = _bounded(differences, bound)
    # Working at a scale of 1 makes the result exactly equivariant and keeps squares finite.
    scale = bound or float(np.abs(values).max()) or 1.0
    sums, sizes = _units(values / scale, clusters)
    whole = _plain(sums, sizes)
    curves = _spread_curves(sums, sizes, whole) if whole.error > 0 else []
    guarded = bound is not None and (sums.size < GUARDED_BELOW or not curves) and sums.size > 1
    if guarded:
        extended = _guard(sums, sizes)
        # Without spread the mean itself is all that the plain curves can add.
        curves = curves or [_Curve(whole.mean, 0.0)]
        curves.append(_Curve(extended.mean, extended.error))
    return Location(
        estimate=whole.mean * scale,
        limit=math.inf if bound is None else bound,
        curves=tuple(_Curve(c.center * scale, c.error * scale, c.skew) for c in curves),
        degrees=max(sums.size - 1, 1),
        spread=whole.error > 0,
        method=_method(curves, clustered=sizes.max() > 1, guarded=guarded),
    )


def skewness(values: Floats) -> float:
    """Biased sample skewness; 0 without spread, where a quotient of zeros would be NaN."""
    scale = float(np.abs(values).max()) or 1.0
    centered = values / scale - (values / scale).mean()
    largest = float(np.abs(centered).max())
    if largest <= _ROUNDING:
        return 0.0
    centered = centered / largest
    return float((centered**3).mean() / (centered**2).mean() ** 1.5)


def _bounded(differences: ArrayLike, bound: float | None) -> Floats:
    if bound is None:
        return validation.vector("differences", differences)
    validation.positive("bound", bound)
    slack = bound * (1 + 1e-9)
    return np.clip(validation.ranged("differences", differences, -slack, slack), -bound, bound)


def _units(values: Floats, clusters: Labels | None) -> tuple[Floats, Floats]:
    """Sums and sizes of the independent units: clusters, or the cases themselves."""
    if clusters is None:
        return values, np.ones_like(values)
    numbers = validation.labels("clusters", clusters, values.size)
    sums = np.bincount(numbers, weights=values).astype(np.float64)
    return sums, np.bincount(numbers).astype(np.float64)


def _plain(sums: Floats, sizes: Floats) -> Jackknife:
    """Mean and standard error; error 0 stands for "no spread", a single unit included."""
    means = sums / sizes
    if np.ptp(means) <= _ROUNDING:
        return Jackknife(float(sums.sum() / sizes.sum()), 0.0)
    return jackknife(sums, sizes)


def _spread_curves(sums: Floats, sizes: Floats, whole: Jackknife) -> list[_Curve]:
    """Student's t; with one case per unit, Hall's curve too."""
    curves = [_Curve(whole.mean, whole.error)]
    skew = skewness(sums) / math.sqrt(sums.size)
    if sizes.max() == 1 and abs(skew) > _SYMMETRIC:
        curves.append(_Curve(whole.mean, whole.error, skew))
    return curves


def _guard(sums: Floats, sizes: Floats) -> Jackknife:
    """Mean and error after seeing one unit at each end of the range as well."""
    size = sizes.mean()
    return jackknife(np.append(sums, [-size, size]), np.append(sizes, [size, size]))


def _method(curves: list[_Curve], *, clustered: bool, guarded: bool) -> str:
    if not curves:
        return "no information on spread"
    name = "cluster jackknife t (CR3)" if clustered else "t and Hall envelope"
    return f"{name}, guarded" if guarded else name
