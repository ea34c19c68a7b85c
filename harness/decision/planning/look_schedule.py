"""The look schedule: when a growing sample is looked at (group-sequential design).

Source: Kim and DeMets (1987) spending; Armitage, McPherson and Rowe (1969) for the bounds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunegate.harness.comparison.corpus_level import judged_once
from tunegate.harness.comparison.estimator import LEAST_UNBOUNDED
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.decision.planning.advisory_gates import is_advisory, rests_on_unbounded_scores
from tunegate.harness.decision.planning.gate_cases import cases_on
from tunegate.harness.decision.planning.unreachable_gates import unreachable_reasons
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.defaults import EARLY_STOP_CASES
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.manifest import Gate, LookSchedule
from tunegate.harness.suite.suite import Suite


def judged_once_notes(suite: Suite) -> Iterator[str]:
    """Yield the corpus metrics, which are judged only once all cases are in."""
    gated = [m for m in suite.gated_metrics if m.corpus is not None]
    if gated and len(suite.plain_cases) >= EARLY_STOP_CASES:
        yield judged_once([metric.name for metric in gated])


_FIRST_BINARY, _FIRST_MEAN = 20, 50
"""Cases at the first look; the t interval needs more than the score interval."""

_QUARTERS = 4
"""Looks at a suite that asks for likelihoods."""
_ASKED_WHOLE = (CellKind.LATENCY, CellKind.RECORDED)
"""Questions of which a part says little, or saves nothing."""


def schedule_looks(suite: Suite, *, seed: int) -> LookSchedule | None:
    """Return when to look at the suite; None if all its cases are answered first.

    A suite has no looks if it has fewer than 100 cases, times answers or repeats another tool's
    scores, gates a corpus value (its error over several looks is unknown), compares with a further
    arm, has variants, or has a gate that all cases can only just prove (the last look is stricter).
    A gate that is advisory with few cases delays the first look until it counts. Where likelihoods
    are asked for, looks come every quarter of the cases: each computes what prompts begin with,
    such as examples, once more.
    """
    if not _is_looked_at(suite, len(suite.cases)):
        return None
    units = _units(suite.cases, suite=suite.name, seed=seed)
    wanted = _look_sizes(suite, len(suite.cases))
    least = _least_units(suite)
    sizes: list[int] = []
    shares: list[float] = []
    count = 0
    for number, unit in enumerate(units, start=1):
        count += len(unit)
        if count >= wanted[len(sizes)] and number >= least:
            sizes.append(count)
            shares.append(number / len(units))
            wanted = [*wanted[: len(sizes)], *(w for w in wanted[len(sizes) :] if w > count)]
    order = tuple(case for unit in units for case in unit)
    looks = LookSchedule(order=order, sizes=tuple(sizes), shares=tuple(shares))
    return looks if len(sizes) > 1 and _reachable(suite, looks) else None


def planned_shares(suite: Suite, n: int) -> tuple[float, ...]:
    """Return the share of the cases seen at each look if the suite had `n` of them."""
    if any(m.judge is not None or m.votes for m in suite.gated_metrics):
        return ()  # judges and people are asked after all completions
    if n == len(suite.cases):
        planned = schedule_looks(suite, seed=0)
        return planned.shares if planned is not None else ()
    if not _is_looked_at(suite, n):
        return ()
    # With equal steps, one set of bounds serves every number of cases with this many looks.
    count = len(_look_sizes(suite, n))
    shares = tuple(look / count for look in range(1, count + 1))
    looks = LookSchedule(order=(), sizes=(n,) * count, shares=shares)
    return shares if count > 1 and _reachable(suite, looks, n) else ()


def _is_looked_at(suite: Suite, n: int) -> bool:
    """Return whether looks at `n` cases save answers and have a known error."""
    whole = any(m.needs in _ASKED_WHOLE for m in suite.metrics)
    whole = whole or any(m.corpus for m in suite.gated_metrics)
    # Looks are about base and tuned: a gate against another arm needs all cases.
    whole = whole or any(gate.against for gate in suite.gates)
    # How many cases of a tag a look will have seen is unknown.
    whole = whole or any(gate.tag and _counts_late(suite, gate) for gate in suite.gates)
    # A look sees cases, and gates on plain ones would wait for their variants.
    whole = whole or len(suite.plain_cases) < len(suite.cases)
    return n >= EARLY_STOP_CASES and bool(suite.gates) and not whole


def _look_sizes(suite: Suite, n: int) -> list[int]:
    """Return how many of `n` cases each look sees."""
    from tunegate.harness.stats.group_sequential import MOST_LOOKS, look_sizes

    read = any(m.needs is not CellKind.GENERATE for m in suite.metrics)
    return look_sizes(n, first=_first_look(suite), most=_QUARTERS if read else MOST_LOOKS)


def _first_look(suite: Suite) -> int:
    """Return the least number of cases at the first look."""
    compared = [suite.metric(g.metric) for g in suite.gates if not gate_kind(g.kind).reads_level]
    first = _FIRST_BINARY if all(m.binary for m in compared) else _FIRST_MEAN
    return max(first, _least_units(suite))


def _least_units(suite: Suite) -> int:
    """Return how many independent cases it takes until all gates count that ever will."""
    late = any(_counts_late(suite, gate) for gate in suite.gates)
    return LEAST_UNBOUNDED if late else 1


def _counts_late(suite: Suite, gate: Gate) -> bool:
    """Return whether a gate counts with all cases but is advisory with few of them."""
    return rests_on_unbounded_scores(suite, gate) and not is_advisory(suite, gate)


def _reachable(suite: Suite, looks: LookSchedule, n: int | None = None) -> bool:
    """Return whether the last look can still prove every gate that the cases (or `n`) can."""
    last = InterimLook(looks, len(looks.sizes) - 1)
    gates = [gate for gate in suite.gates if not any(unreachable_reasons(suite, gate, n))]
    seen = {gate.tag: last if n else _look_on(suite, last, gate.tag) for gate in gates}
    return not any(
        problem
        for gate in gates
        for problem in unreachable_reasons(suite, seen[gate.tag].judged(gate), n)
    )


def _look_on(suite: Suite, look: InterimLook, tag: str | None) -> InterimLook:
    """Return the last look at the cases of a tag."""
    if tag is None:
        return look
    units = {case.id: case.cluster or f"\0{case.id}" for case in cases_on(suite, tag)}
    return look.on_slice(units) or look


def _units(cases: Sequence[Case], *, suite: str, seed: int) -> list[list[str]]:
    """Return the case ids by cluster, the clusters shuffled by the seed."""
    units: dict[str, list[str]] = {}
    for case in cases:
        units.setdefault(case.cluster or f"\0{case.id}", []).append(case.id)
    return sorted(units.values(), key=lambda unit: sha256(["order", seed, suite, unit[0]]))
