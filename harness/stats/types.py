"""Result types of the statistics: intervals, tests and plans.

Example:
    >>> Interval(estimate=0.11, low=0.03, high=0.19, confidence=0.9, method="Tango score").width
    0.16
"""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its two-sided confidence interval."""

    estimate: float
    """Best single value, in the unit of the data; always inside the interval."""
    low: float
    """Lower limit; `-inf` where the data show nothing and no bound was given."""
    high: float
    """Upper limit; `inf` where the data show nothing and no bound was given."""
    confidence: float
    """Two-sided level: at 0.90 each limit errs with probability 0.05."""
    method: str
    """Name of the rule that made it, for the report."""

    @property
    def width(self) -> float:
        """Distance between the limits."""
        return self.high - self.low


@dataclass(frozen=True, slots=True)
class OneSidedTest:
    """A one-sided test of "the effect is at most `margin`" against "greater"."""

    __test__: ClassVar[bool] = False
    """Keeps pytest from collecting the class."""

    statistic: float
    """Value of the test statistic; larger speaks against the null hypothesis."""
    p_value: float
    """One-sided p-value in [0, 1]."""
    margin: float
    """The null value, negative for non-inferiority."""
    method: str
    """Name of the rule that made it, for the report."""


@dataclass(frozen=True, slots=True)
class StudyDesign:
    """A planned comparison: which effect, with how many cases, is found how often."""

    n: int
    """Number of paired cases."""
    effect: float
    """True difference the plan is about; `inf` if no effect reaches the wanted power."""
    margin: float
    """Null value that the difference must exceed, negative for non-inferiority."""
    power: float
    """Probability of a pass if the true difference is `effect`."""
    confidence: float
    """Two-sided level of the interval that decides."""
    method: str
    """Name of the formula, for the report."""
