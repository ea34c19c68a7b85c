"""Interim looks of a group-sequential design.

At each look a gate is judged on the cases seen so far, at a stricter level, so that the error over
all looks is that of one look at the end. The interval is the repeated confidence interval of the
look.

Source: Kim and DeMets (1987) spending; Jennison and Turnbull (1989) repeated intervals; Armitage,
McPherson and Rowe (1969) for the bounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from tunegate.harness.records.manifest import Gate, LookSchedule

FUTILE = 0.10
"""Conditional power below which a goal is given up."""
FROM_SHARE = 0.25
"""Share of the cases below which noise would decide futility."""


@dataclass(frozen=True, slots=True)
class InterimLook:
    """One look at a suite: the `index`-th of its schedule, from 0."""

    looks: LookSchedule
    index: int

    @property
    def seen(self) -> tuple[str, ...]:
        """The cases asked so far."""
        return self.looks.order[: self.looks.sizes[self.index]]

    @property
    def remaining(self) -> int:
        """Number of cases not asked."""
        return len(self.looks.order) - len(self.seen)

    @property
    def share(self) -> float:
        """Share of the independent units seen."""
        return self.looks.shares[self.index]

    def on_slice(self, units: Mapping[str, str]) -> InterimLook | None:
        """Return the look at a slice of the cases; None if the slice has too few of them so far.

        A slice's first look has as many cases as the suite's, or all of the slice; looks that add
        none of its cases are skipped. Order and sizes depend only on tags and seed, so the error is
        spent as on a suite.

        Args:
            units: Case of the slice → its cluster, or itself.
        """
        order = tuple(case for case in self.looks.order if case in units)
        all_units, index = len(set(units.values())), -1
        sizes: list[int] = []
        shares: list[float] = []
        for number, size in enumerate(self.looks.sizes):
            seen = [case for case in self.looks.order[:size] if case in units]
            enough = len(seen) >= self.looks.sizes[0] or len(seen) == len(order)
            if not seen or not enough or len(seen) in sizes:
                continue
            sizes.append(len(seen))
            shares.append(len({units[case] for case in seen}) / all_units)
            index += number <= self.index
        if index < 0:
            return None
        return InterimLook(
            LookSchedule(order=order, sizes=tuple(sizes), shares=tuple(shares)), index
        )

    def at_the_end(self) -> InterimLook:
        """Return the last look of the schedule."""
        return InterimLook(self.looks, len(self.looks.sizes) - 1)

    def bound(self, alpha: float) -> float:
        """Return what z must exceed at this look, if `alpha` is spent over all looks."""
        return look_bounds(self.looks.shares, alpha)[self.index]

    def last_bound(self, alpha: float) -> float:
        """Return what z must exceed at the last look."""
        return look_bounds(self.looks.shares, alpha)[-1]

    def confidence(self, alpha: float) -> float:
        """Return the two-sided confidence of this look's interval."""
        from tunegate.harness.stats.group_sequential import repeated_confidence

        return repeated_confidence(self.bound(alpha))

    def error(self, alpha: float) -> float:
        """Return the largest one-sided p-value that counts at this look."""
        return (1 - self.confidence(alpha)) / 2

    def judged(self, gate: Gate, *, goals: int = 1) -> Gate:
        """Return a gate at the level of this look; alternative goals share the error."""
        alpha = (1 - gate.confidence) / 2 / goals
        return gate.model_copy(update={"confidence": self.confidence(alpha)})

    def method(self, method: str) -> str:
        """Return a gate's method with the look that widened its interval."""
        return f"{method}; repeated interval, {self}"

    def __str__(self) -> str:
        """Return `look 2 of 7`."""
        return f"look {self.index + 1} of {len(self.looks.sizes)}"


@cache
def look_bounds(shares: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    """Return what z must exceed at each look, if `alpha` is spent over all of them."""
    from tunegate.harness.stats.group_sequential import efficacy_bounds

    return tuple(efficacy_bounds(shares, alpha=alpha).tolist())
