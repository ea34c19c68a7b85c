"""Agreement of several people who put the same things into categories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence


def krippendorff_alpha(units: Sequence[Sequence[Hashable]]) -> float | None:
    """Return Krippendorff's alpha for nominal data: 1 full agreement, 0 that of chance.

    Args:
        units: The categories that each thing got, one from each person who judged it; things
            judged by one person say nothing of agreement.

    Returns:
        The coefficient; None if fewer than two categories occur, or no thing was judged twice.

    Source: Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, section C.

    Example:
        >>> krippendorff_alpha([["a", "a"], ["b", "b"], ["a", "b"], ["b", "b"]])
        0.5333333333333333
    """
    judged = [Counter(unit) for unit in units if len(unit) > 1]
    totals: Counter[Hashable] = Counter()
    for counts in judged:
        totals.update(counts)
    n = totals.total()
    expected = n * n - sum(count * count for count in totals.values())
    if not expected:
        return None
    observed = sum(
        (size * size - sum(count * count for count in counts.values())) / (size - 1)
        for counts in judged
        for size in [counts.total()]
    )
    return 1 - (n - 1) * observed / expected
