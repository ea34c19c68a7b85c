"""Look schedule of a group-sequential design: when a growing sample of a suite is looked at.

Source: Kim and DeMets (1987) spending; Armitage, McPherson and Rowe (1969) for the bounds.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunegate.harness.comparison.interim_look import Look
from tunegate.harness.defaults import EARLY_STOP_CASES
from tunegate.harness.gate_kind import gate_kind
from tunegate.harness.records.cases import Case, CellKind, sha256
from tunegate.harness.records.manifest import Looks
from tunegate.harness.suite import Suite

_FIRST_BINARY, _FIRST_MEAN = 20, 50
"""Cases of the first look: the t interval needs more of them than the score interval."""


def schedule(suite: Suite, *, seed: int) -> Looks | None:
    """Return when to look at a suite; None where all its cases are asked first.

    Suites of fewer than 100 cases have nothing to save; suites that ask for log-likelihoods save
    more by sharing prefixes, and latency has a pass of its own. Where a gate can just be proven by
    all cases, at the stricter level of a last look it could not: such a suite has no looks. Nor has
    one with a gate on a corpus value, whose level has no known error over several looks.
    """
    from tunegate.harness.stats.group_sequential import look_sizes

    generated = all(m.needs is CellKind.GENERATE for m in suite.metrics)
    whole = not generated or any(m.corpus for m in suite.gated_metrics)
    if len(suite.cases) < EARLY_STOP_CASES or not suite.gates or whole:
        return None
    compared = [suite.metric(g.metric) for g in suite.gates if not gate_kind(g.kind).reads_level]
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
    from tunegate.harness.power.feasibility import refusals

    last = Look(looks, len(looks.sizes) - 1)
    gates = (gate for gate in suite.gates if not any(refusals(suite, gate)))
    return not any(problem for gate in gates for problem in refusals(suite, last.judged(gate)))


def _units(cases: Sequence[Case], *, suite: str, seed: int) -> list[list[str]]:
    """Return the case ids by cluster, the clusters in an order drawn by the seed."""
    units: dict[str, list[str]] = {}
    for case in cases:
        units.setdefault(case.cluster or f"\0{case.id}", []).append(case.id)
    return sorted(units.values(), key=lambda unit: sha256(["order", seed, suite, unit[0]]))
