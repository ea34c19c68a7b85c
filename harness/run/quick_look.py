"""Quick look at a fine-tune: its answers to everyday prompts, and its distance from base.

The answers come from the gate's own pipeline and are not stored.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunegate.harness.checks.drift import (
    ModelDrift,
    count_changed_tokens,
    make_passage,
    mean_divergence,
    token_distributions,
)
from tunegate.harness.checks.sanity import PROMPTS, BehaviourCount
from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.model import Prompt
from tunegate.harness.engine.inference.speculative import draft_ids
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.models.adapters.null_adapter import null_adapter_problem, randomise_adapter
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import BackendError
from tunegate.harness.run.prepare import prepare
from tunegate.harness.suite import Suite, load_suite

DRAWS = 8
"""Number of null adapters."""
EVERY = 2
"""The distance is measured on every second prompt, since it takes most of the time."""


@dataclass(frozen=True, slots=True)
class CaseAnswers:
    """A case and what the arms answered."""

    case: Case
    prompt: Prompt
    """As both arms saw it."""
    answers: Mapping[str, Completion]
    """Arm → its answer."""


def everyday_prompts(*, template: bool) -> Suite:
    """Return the everyday prompts, for models with a chat template or without."""
    suite = load_suite(PROMPTS)
    settings = {"template": "chat" if template else "none"}
    return replace(suite, generation=suite.generation.model_copy(update=settings))


def ask_arms(suite: Suite, arms: Mapping[str, Any]) -> list[CaseAnswers]:
    """Ask both arms as a gate would, and keep nothing."""
    answers: dict[str, dict[str, Completion]] = {}
    with prepare([suite], arms, None) as run:
        run.answer(sys.stderr)
        for stored in run.answers():
            if stored.completion is None:
                name = stored.cell.arm
                raise BackendError(f"{name} cannot answer {stored.cell.case!r}: {stored.error}")
            answers.setdefault(stored.cell.case, {})[stored.cell.arm] = stored.completion
    return [
        CaseAnswers(case, run.plan.prompts[suite.name, case.id, "base"], answers[case.id])
        for case in suite.cases
    ]


def count_behaviour(answers: Sequence[CaseAnswers]) -> list[BehaviourCount]:
    """Count how often each arm stops, answers, avoids loops, and writes JSON when asked to."""
    plain = [answer for answer in answers if answer.case.answer_schema is None]
    formal = [answer for answer in answers if answer.case.answer_schema is not None]
    return [
        _tally("ended by itself", plain, "truncated", 0),
        BehaviourCount(
            "answered",
            *([bool((a.text or "").strip()) for a in arm] for arm in _split_by_arm(plain)),
        ),
        _tally("kept out of loops", plain, "loops", 0),
        _tally("wrote the JSON", formal, "json_schema", 1, extract="prose"),
    ]


def _tally(
    what: str, answers: Sequence[CaseAnswers], metric: str, good: int, **options: Any
) -> BehaviourCount:
    """Count the prompts on which a metric has its good score."""
    score = lookup.find_object("tunegate.harness.metrics", metric, what="metric")
    cases = [case_answers.case for case_answers in answers]
    done = (
        [
            score(case, answer, **options).value == good
            for case, answer in zip(cases, arm, strict=True)
        ]
        for arm in _split_by_arm(answers)
    )
    return BehaviourCount(what, *done)


def _split_by_arm(asked: Sequence[CaseAnswers]) -> tuple[list[Completion], list[Completion]]:
    return [one.answers["base"] for one in asked], [one.answers["tuned"] for one in asked]


def measure_drift(arms: Mapping[str, Any], answers: Sequence[CaseAnswers]) -> ModelDrift | None:
    """Return how far tuned is from base, compared with null adapters where tuned can have them.

    None where the vocabularies differ in size.
    """
    base, tuned = arms["base"], arms["tuned"]
    passages = [
        make_passage(answer.prompt.token_ids or (), draft_ids(base, answer.answers["base"]))
        for answer in answers[::EVERY]
    ]
    seeds = range(0 if null_adapter_problem(tuned) else DRAWS)
    progress = ProgressReporter(2.0 + len(seeds))
    try:
        start = token_distributions(base, passages)
        progress.add(1, tokens=0, label="distance from base")
        theirs = token_distributions(tuned, passages)
        divergence = mean_divergence(start, theirs)
        null = []
        for seed in seeds:
            progress.add(1, tokens=0, label="null adapters")
            with randomise_adapter(tuned, seed):
                null.append(mean_divergence(start, token_distributions(tuned, passages)))
    finally:
        progress.close()
    if divergence is None:
        return None
    return ModelDrift(
        divergence,
        tuple(d for d in null if d is not None),
        count_changed_tokens(start, theirs),
        sum(p.places for p in passages),
    )
