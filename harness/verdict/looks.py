"""Looking before the end: a suite's cases in one seeded order, and what each look may claim.

Group-sequential: at each look a gate is judged on the cases seen so far, at a stricter level, so
that the error over all looks stays what one look at the end would have. The interval is the
repeated confidence interval of that look.

Source: Kim and DeMets (1987) spending; Jennison and Turnbull (1989) repeated intervals; Armitage,
McPherson and Rowe (1969) for the bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from harness.manifest import Gate, Looks
from harness.records import Case, CellKind, sha256
from harness.suite import Suite

LEAST = 100
"""Cases from which on looking early is worth its price."""
_FIRST_BINARY, _FIRST_MEAN = 20, 50
"""Cases of the first look: the t interval needs more of them than the score interval."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a suite: the `index`-th of its schedule, from 0."""

    looks: Looks
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

    def bound(self, alpha: float) -> float:
        """Return what z must exceed at this look, if `alpha` may be spent over all of them."""
        return _bounds(self.looks.shares, alpha)[self.index]

    def last_bound(self, alpha: float) -> float:
        """Return what z must exceed at the last look."""
        return _bounds(self.looks.shares, alpha)[-1]

    def confidence(self, alpha: float) -> float:
        """Return the two-sided confidence of this look's interval."""
        from harness.stats.sequential import repeated_confidence

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
def _bounds(shares: tuple[float, ...], alpha: float) -> tuple[float, ...]:
    from harness.stats.sequential import efficacy_bounds

    return tuple(efficacy_bounds(shares, alpha=alpha).tolist())


def schedule(suite: Suite, *, seed: int) -> Looks | None:
    """Return when to look at a suite; None where all its cases are asked first.

    Suites of fewer than 100 cases have nothing to save; suites that ask for log-likelihoods save
    more by sharing prefixes, and latency has a pass of its own. Where a gate can just be proven by
    all cases, at the stricter level of a last look it could not: such a suite has no looks. Nor has
    one with a gate on a corpus value, whose level has no known error over several looks.
    """
    from harness.stats.sequential import look_sizes

    generated = all(m.needs is CellKind.GENERATE for m in suite.metrics)
    whole = not generated or any(m.corpus for m in suite.gated_metrics)
    if len(suite.cases) < LEAST or not suite.gates or whole:
        return None
    compared = [suite.metric(g.metric) for g in suite.gates if not g.kind.is_level]
    first = _FIRST_BINARY if all(m.binary for m in compared) else _FIRST_MEAN
    units = _units([s.case for s in suite.cases], suite=suite.name, seed=seed)
    wanted = look_sizes(len(suite.cases), first=first)
    sizes: list[int] = []
    shares: list[float] = []
    count = 0
    for number, unit in enumerate(units, start=1):
        count += len(unit)
        if count >= wanted[len(sizes)]:
            sizes.append(count)
            shares.append(number / len(units))
            wanted = [*wanted[: len(sizes)], *(w for w in wanted[len(sizes) :] if w > count)]
    order = tuple(case for unit in units for case in unit)
    looks = Looks(order=order, sizes=tuple(sizes), shares=tuple(shares))
    return looks if len(sizes) > 1 and _reachable(suite, looks) else None


def _reachable(suite: Suite, looks: Looks) -> bool:
    """Return whether every gate that these cases can prove is still provable at the last look."""
    from harness.verdict.planning import refusals

    last = Look(looks, len(looks.sizes) - 1)
    gates = (gate for gate in suite.gates if not any(refusals(suite, gate)))
    return not any(problem for gate in gates for problem in refusals(suite, last.judged(gate)))


def _units(cases: Sequence[Case], *, suite: str, seed: int) -> list[list[str]]:
    """Return the case ids by cluster, the clusters in an order drawn by the seed."""
    units: dict[str, list[str]] = {}
    for case in cases:
        units.setdefault(case.cluster or f"\0{case.id}", []).append(case.id)
    return sorted(units.values(), key=lambda unit: sha256(["order", seed, suite, unit[0]]))
