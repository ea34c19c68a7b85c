"""Policies without a model: one that does nothing, and one that repeats recorded turns.

Every model earns the reward for doing nothing, even a broken one: a floor below it proves nothing,
and a gain over it is smaller than it seems. Playing it also reveals a failing environment before
any model is opened.

An environment that keeps state between episodes, or draws at random, pays differently when the same
turns are repeated, which would be mistaken for a difference of the arms.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from tunegate.harness.contracts.episode_environment import EpisodePlan
from tunegate.harness.contracts.model import Prompt, Request
from tunegate.harness.episodes.play import EpisodePlayer, EpisodeTurnRequest, MoreTurns
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeRecord
from tunegate.harness.records.errors import BackendError
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256


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
        """Generation only."""
        return frozenset({CellKind.GENERATE})

    def cannot(self, kind: CellKind) -> str:
        """Return why it cannot answer `kind`."""
        return f"the null policy has no {kind.value}"

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Return an empty prompt."""
        return Prompt("")

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Yield empty answers."""
        for request in requests:
            yield StoredAnswer.of(request.cell, self.turn(request), None, time.time())

    def turn(self, request: Request) -> Completion:
        """Return an empty turn."""
        return _NOTHING


@dataclass(frozen=True)
class RepeatedPolicy(NullPolicy):
    """An arm that writes in every turn what was recorded."""

    courses: Mapping[tuple[str, str, int], EpisodeRecord]
    """(arm, case, sample) → the episode."""

    def turn(self, request: Request) -> Completion:
        """Return the recorded turn; after the last one, an empty turn."""
        cell = request.cell
        turns = self.courses[cell.arm, cell.case, cell.sample].turns
        if request.turn is None or request.turn >= len(turns):
            return _NOTHING
        recorded = turns[request.turn]
        return Completion(
            text=recorded.text,
            finish_reason=recorded.finish_reason,
            output_tokens=recorded.output_tokens,
        )


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
    """Rewards of a suite's tasks for doing nothing."""

    rewards: Mapping[str, float]
    """Task → reward."""
    failures: Mapping[str, str]
    """Task → why its episode failed; a broken environment only lists the first ones."""


def play_null_policy(
    suite: str, plan: EpisodePlan, cases: Sequence[Case], generation: GenerationSettings
) -> NullRewards:
    """Play every task once with a model that writes nothing."""
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
    rewards, failures = {}, {}
    try:
        for answer in _play(arm, plan, requests):
            done = answer.completion
            if done is None or done.episode is None:
                failures[answer.key] = answer.error or "there is no episode"
            else:
                rewards[answer.key] = done.episode.reward
    except BackendError as error:
        failures.setdefault("", str(error))
    return NullRewards(rewards, failures)


def refuse_other_rewards(
    suite: str, plan: EpisodePlan, played: Sequence[tuple[Request, EpisodeRecord]]
) -> None:
    """Repeat episodes in reverse order, and compare their rewards.

    One of them is then played twice more by itself: an environment that alternates its reward may
    pay the same by chance while episodes run at once, but not in two consecutive episodes.

    An episode that fails now, or whose tools answer differently, proves nothing: the model would
    not have written the same turns.
    """
    courses = {(r.cell.arm, r.cell.case, r.cell.sample): course for r, course in played}
    arm = RepeatedPolicy(courses)
    requests = [
        replace(request, episode=replace(plan, root=f"{request.cell.arm} {request.cell.key}"))
        for request, _ in reversed(played)
    ]
    for answer in chain.from_iterable(
        _play(arm, plan, together) for together in (requests, requests[-1:], requests[-1:])
    ):
        cell, done = answer.cell, answer.completion
        again = None if done is None else done.episode
        first = courses[cell.arm, cell.case, cell.sample]
        if (
            again is None
            or _visible_course(again) != _visible_course(first)
            or again.reward == first.reward
        ):
            continue
        raise BackendError(
            f"environment {plan.settings.environment!r} of {suite} paid {first.reward:.6g} and "
            f"then {again.reward:.6g} for the same calls of {cell.arm} in task {cell.case!r}; "
            "an episode must not depend on others: set everything in `reset`, or set "
            "`deterministic = false` under [episode] if rewards are random"
        )


def _visible_course(course: EpisodeRecord) -> list[tuple[str, list[str], str | None]]:
    return [
        (turn.text, [call.result for call in turn.calls], turn.message) for turn in course.turns
    ]


def _play(
    arm: NullPolicy, plan: EpisodePlan, requests: Sequence[Request]
) -> Iterator[StoredAnswer]:
    def ask(
        turns: Sequence[EpisodeTurnRequest], later: MoreTurns
    ) -> Generator[StoredAnswer, None, None]:
        yield from arm.complete([turn for turn, _ in turns])

    return EpisodePlayer(arm, _NoStore(), plan).play(requests, ask)
