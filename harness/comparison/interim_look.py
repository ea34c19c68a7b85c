"""Interim looks of a group-sequential design: order of the cases, and bounds of each look.

Group-sequential: at each look a gate is judged on the cases seen so far, at a stricter level, so
that the error over all looks stays what one look at the end would have. The interval is the
repeated confidence interval of that look.

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
"""Share of the cases before which noise would decide about futility."""


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
        """Cases not asked."""
        return len(self.looks.order) - len(self.seen)

    @property
    def share(self) -> float:
        """Share of the independent units seen."""
        return self.looks.shares[self.index]

    def on_slice(self, units: Mapping[str, str]) -> InterimLook | None:
        """Return the look at a slice of the cases, which counts the slice's own cases.

        A slice is first looked at once it has as many cases as the suite's first look, or all of
        its own; a look that adds none of its cases is none. Its order and sizes follow from tags
        and seed alone, so that the error is spent on its own share of the cases as on a suite's.

        Args:
            units: Case of the slice → name of its cluster, or of itself.

        Returns:
            None where the slice has not reached its first look.
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
        """Return what z must exceed at this look, if `alpha` may be spent over all of them."""
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
        """Return a gate at the level of this look.

        Args:
            gate: The gate as the suite writes it.
            goals: Goals of which any one will do: they share the error.
        """
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
    """Return what z must exceed at each look, if `alpha` may be spent over all of them."""
    from tunegate.harness.stats.group_sequential import efficacy_bounds

    return tuple(efficacy_bounds(shares, alpha=alpha).tolist())
