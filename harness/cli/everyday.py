"""What `tunegate check` finds out: answers to everyday prompts, and the distance from base.

The answers come from the gate's own plan, runner and metrics, through a store that is thrown away.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import lookup
from harness.checks import comparability
from harness.checks.behaviour import PROMPTS, Tally
from harness.checks.drift import Drift, changed, distributions, divergence, passage
from harness.engine.drafts import draft_ids
from harness.engine.plan import Plan, make_plan
from harness.engine.progress import Progress
from harness.engine.runner import Runner, collect
from harness.engine.store import Store
from harness.errors import BackendError
from harness.model import Prompt
from harness.models.null_adapter import randomised, why_no_null
from harness.records import Case, Completion, StoredCell
from harness.suite import Suite, load

DRAWS = 8
"""Null adapters that are drawn."""
EVERY = 2
"""Every how many prompts the distance from base is measured; it takes most of the time."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A case and what the arms answered."""

    case: Case
    prompt: Prompt
    """As base saw it; as tuned saw it too, which was checked."""
    answers: Mapping[str, Completion]
    """Arm → its answer."""


def prompts(*, template: bool) -> Suite:
    """Return the everyday prompts, for models with a chat template or without."""
    suite = load(PROMPTS)
    settings = {"template": "chat" if template else "none"}
    return replace(suite, generation=suite.generation.model_copy(update=settings))


def ask(suite: Suite, arms: Mapping[str, Any]) -> list[Asked]:
    """Ask both arms as a gate would, and keep nothing.

    Raises:
        NotComparable: the arms get different prompts.
        BackendError: an answer cannot be had.
    """
    plan = make_plan([suite], arms, seed=0)
    comparability.check(plan.prompts, arms)
    answers: dict[str, dict[str, Completion]] = {}
    for stored in _run(plan, arms):
        if stored.completion is None:
            name = stored.cell.arm
            raise BackendError(f"{name} cannot answer {stored.cell.case!r}: {stored.error}")
        answers.setdefault(stored.cell.case, {})[stored.cell.arm] = stored.completion
    return [
        Asked(case, plan.prompts[suite.name, case.id, "base"], answers[case.id])
        for case in (sourced.case for sourced in suite.cases)
    ]


def _run(plan: Plan, arms: Mapping[str, Any]) -> list[StoredCell]:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "store.sqlite")
        try:
            Runner(plan, arms, store, Progress(1.0)).run()
            return list(collect(plan, store, set()))
        finally:
            store.close()


def tallies(asked: Sequence[Asked]) -> list[Tally]:
    """Count what both arms do: stop, answer, keep out of loops, write JSON where asked for."""
    plain = [one for one in asked if one.case.answer_schema is None]
    formal = [one for one in asked if one.case.answer_schema is not None]
    return [
        _tally("ended by itself", plain, "truncated", 0),
        Tally("answered", *([bool((a.text or "").strip()) for a in arm] for arm in _by_arm(plain))),
        _tally("kept out of loops", plain, "loops", 0),
        _tally("wrote the JSON", formal, "json_schema", 1, extract="prose"),
    ]


def _tally(what: str, asked: Sequence[Asked], metric: str, good: int, **options: Any) -> Tally:
    """Count on which prompts a metric's score is the good one."""
    score = lookup.find("harness.metrics", metric, what="metric")
    cases = [one.case for one in asked]
    done = (
        [
            score(case, answer, **options).value == good
            for case, answer in zip(cases, arm, strict=True)
        ]
        for arm in _by_arm(asked)
    )
    return Tally(what, *done)


def _by_arm(asked: Sequence[Asked]) -> tuple[list[Completion], list[Completion]]:
    return [one.answers["base"] for one in asked], [one.answers["tuned"] for one in asked]


def distance(arms: Mapping[str, Any], asked: Sequence[Asked]) -> Drift | None:
    """Return how far tuned is from base, beside null adapters where tuned can have them.

    None where the vocabularies differ in size.
    """
    base, tuned = arms["base"], arms["tuned"]
    passages = [
        passage(one.prompt.token_ids or (), draft_ids(base, one.answers["base"]))
        for one in asked[::EVERY]
    ]
    seeds = range(0 if why_no_null(tuned) else DRAWS)
    progress = Progress(2.0 + len(seeds))
    try:
        start = distributions(base, passages)
        progress.add(1, tokens=0, label="distance from base")
        theirs = distributions(tuned, passages)
        found = divergence(start, theirs)
        null = []
        for seed in seeds:
            progress.add(1, tokens=0, label="null adapters")
            with randomised(tuned, seed):
                null.append(divergence(start, distributions(tuned, passages)))
    finally:
        progress.close()
    if found is None:
        return None
    return Drift(
        found,
        tuple(d for d in null if d is not None),
        changed(start, theirs),
        sum(p.places for p in passages),
    )
