"""Null policy: what an environment pays a model that does nothing.

A reward for not acting is earned by every model, the broken one included: a floor below it holds
for nothing, and a gain over it is smaller than it seems. Playing it also shows an environment that
fails, before any model is opened.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from tunegate.harness.episode_environment import EpisodePlan
from tunegate.harness.episodes.play import EpisodePlayer, EpisodeTurnRequest, MoreTurns
from tunegate.harness.errors import BackendError
from tunegate.harness.model import Prompt, Request
from tunegate.harness.records.cases import (
    Case,
    Cell,
    CellKind,
    Completion,
    GenerationSettings,
    StoredAnswer,
    sha256,
)


@dataclass(frozen=True)
class NullPolicy:
    """An arm that answers every turn with nothing."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Its name."""
        return {"spec": "null policy"}

    @property
    def fingerprint(self) -> str:
        """Hash of its name."""
        return sha256("null policy")

    @property
    def kinds(self) -> frozenset[CellKind]:
        """It writes."""
        return frozenset({CellKind.GENERATE})

    def cannot(self, kind: CellKind) -> str:
        """Return a sentence."""
        return f"the null policy has no {kind.value}"

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Return an empty prompt: it reads nothing."""
        return Prompt("")

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Yield empty answers."""
        for request in requests:
            yield StoredAnswer.of(request.cell, _NOTHING, None, time.time())


_NOTHING = Completion(text="", finish_reason="stop", output_tokens=0)


class _NoStore:
    """Keeps nothing."""

    def completions(self, keys: Iterable[str]) -> dict[str, Completion]:
        return {}

    def put(self, answer: StoredAnswer, *, replace: bool = False) -> None:
        pass

    @contextmanager
    def together(self) -> Iterator[None]:
        yield


@dataclass(frozen=True, slots=True)
class NullRewards:
    """Rewards of a suite's tasks for a policy that does nothing."""

    rewards: Mapping[str, float]
    """Task → reward."""
    failures: Mapping[str, str]
    """Task → why its episode failed; of a broken environment the first ones alone."""


def play_null_policy(
    suite: str, plan: EpisodePlan, cases: Sequence[Case], generation: GenerationSettings
) -> NullRewards:
    """Play every task once with a model that says nothing."""
    arm = NullPolicy()
    requests = [
        Request(
            Cell(suite=suite, case=case.id, arm="null", kind=CellKind.GENERATE, key=case.id),
            case,
            Prompt(""),
            generation,
            seed=0,
            episode=replace(plan, root=case.id),
        )
        for case in cases
    ]

    def ask(
        turns: Sequence[EpisodeTurnRequest], later: MoreTurns
    ) -> Generator[StoredAnswer, None, None]:
        yield from arm.complete([turn for turn, _ in turns])

    rewards, failures = {}, {}
    try:
        for answer in EpisodePlayer(arm, _NoStore(), plan).play(requests, ask):
            done = answer.completion
            if done is None or done.episode is None:
                failures[answer.key] = answer.error or "there is no episode"
            else:
                rewards[answer.key] = done.episode.reward
    except BackendError as error:
        failures.setdefault("", str(error))
    return NullRewards(rewards, failures)
