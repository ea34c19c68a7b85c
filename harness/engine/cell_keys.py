"""Cell keys: the hash of everything that can change an answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tunegate.harness.contracts.further_arm import further_arm
from tunegate.harness.contracts.model import Arm, Prompt, Request
from tunegate.harness.engine.scheduling import PlannedQuestion
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.hashing import sha256
from tunegate.harness.suite.suite import Suite


def arm_key(name: str, arm: Arm, base: Arm) -> str:
    """Return the key of an arm's answers: base, asked again, is another arm.

    From base's own cells it would read what base answered, and differ from it in nothing. With a
    prompt of its own it is base itself, whose answers to that prompt may be stored.
    """
    again = name != "base" and arm.fingerprint == base.fingerprint
    again = again and not further_arm(name).needs_prompt
    return sha256([name, arm.fingerprint]) if again else arm.fingerprint


def cell_key(
    question: PlannedQuestion,
    suite: Suite,
    case: Case,
    fingerprint: str,
    prompt: Prompt,
    seed: int,
) -> str:
    """Return the hash of everything that can change the answer."""
    sampled = suite.generation.of(case).temperature
    identity: dict[str, Any] = {
        "arm": fingerprint,
        "prompt": prompt.sha256,
        "case": [suite.name, case.id],
        "kind": question.kind.value,
        "asked": _question_content(question.kind, case, suite),
        "sample": question.sample,
        "seed": sampling_seed(suite, case, question.sample, seed) if sampled else None,
    }
    if suite.episode is not None:
        episode_fields = {"sha256", "max_turns", "max_tokens", "tools", "reward"}
        identity["episode"] = suite.episode.settings.model_dump(mode="json", include=episode_fields)
    return sha256(identity)


def with_episode(
    request: Request, question: PlannedQuestion, suite: Suite, fingerprint: str, seed: int
) -> Request:
    """Return the request with how it is played, where its suite plays episodes.

    What all its turns share is hashed without the environment, whose answers are in the prompts of
    the turns.
    """
    if suite.episode is None:
        return request
    alone = replace(suite, episode=None)
    root = cell_key(question, alone, request.case, fingerprint, request.prompt, seed)
    return replace(request, episode=replace(suite.episode, root=root))


def sampling_seed(suite: Suite, case: Case, sample: int, seed: int) -> int:
    """Return the seed of one sample of a case, which depends on nothing else in the run."""
    return int(sha256([seed, suite.name, case.id, sample])[:8], 16)


def _question_content(kind: CellKind, case: Case, suite: Suite) -> Any:
    """Return what, besides the prompt, decides the answer to a question of this kind."""
    delimiter = () if case.delimiter is None else (case.delimiter,)
    if kind is CellKind.CHOICES:
        return [suite.generation.template, case.choices, *delimiter]
    if kind is CellKind.ANSWER:
        return [suite.generation.template, case.expected_texts(), *delimiter]
    if kind in (CellKind.TEXT, CellKind.RECORDED):
        return []
    elsewhere = {"system", "samples", "latency_cases", "chat_template"}
    return suite.generation.of(case).model_dump(mode="json", exclude=elsewhere)
