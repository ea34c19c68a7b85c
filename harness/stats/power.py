"""Planning: how many cases, how much power, which effect can be found.

Binary plans (`power_binary`) use the score test of `binary`, continuous ones (`power_mean`) the t
test; both are re-exported here and take the design effect of clustered cases. A margin at or
above 0 plans superiority, a negative one non-inferiority.

Example:
    >>> binary_sample_size(effect=0.1, discordance=0.3).n
    184
"""

import math

from harness.stats import numeric, validation
from harness.stats.power_binary import (
    binary_detectable_effect,
    binary_power,
    binary_sample_size,
)
from harness.stats.power_mean import mean_detectable_effect, mean_power, mean_sample_size

__all__ = [
    "binary_detectable_effect",
    "binary_power",
    "binary_sample_size",
    "cluster_design_effect",
    "mean_detectable_effect",
    "mean_power",
    "mean_sample_size",
    "smallest_provable_n",
]


def cluster_design_effect(size: float, correlation: float) -> float:
    """Planned design effect of equally sized clusters: 1 + (size - 1) * correlation.

    Args:
        size: Cases per cluster, at least 1.
        correlation: Correlation of two cases of one cluster, in [0, 1].

    Raises:
        ValueError: If an argument is out of range.

    Source: Kish (1965), Survey Sampling.
    """
    validation.within("size", size, 1, math.inf)
    validation.within("correlation", correlation, 0, 1)
    return 1 + (size - 1) * correlation


def smallest_provable_n(margin: float, *, confidence: float = 0.90) -> int:
    """Fewest 0/1 cases that can prove non-inferiority at all, even without any discordant pair.

    Args:
        margin: Tolerance as a positive number in (0, 1).
        confidence: Two-sided level.

    Raises:
        ValueError: If `margin` or `confidence` is outside (0, 1).

    Source: the score interval of 0 wins and 0 losses, -z^2/(n + z^2) >= -margin, solved for n:
    z^2 (1 - margin) / margin, which is 133 at a margin of .02.
    """
    validation.between("margin", margin, 0, 1)
    validation.between("confidence", confidence, 0, 1)
    z = numeric.normal_critical(confidence)
    return math.ceil(z**2 * (1 - margin) / margin)
