"""How far an engine is from Transformers on the same weights: in nats, and from which token on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.checks.drift import ProbePassage, least_divergence, token_distributions
from tunegate.harness.contracts.model import LocalArm, ServedArm
from tunegate.harness.records.errors import ModelError
from tunegate.harness.suite import Suite

PLACES = 100
OPENING = 10
"""Tokens of an answer that count; greedy ones, by Transformers."""


@dataclass(frozen=True, slots=True)
class OtherToken:
    """The first token of an answer that the engine would write differently."""

    prompt: str
    place: int
    """Its number in the answer, from 1."""
    expected: str
    """The token by Transformers."""
    found: str
    """The engine's."""


@dataclass(frozen=True, slots=True)
class EngineDifference:
    """An engine compared with Transformers, at the beginning of greedy answers."""

    divergence: float
    """Mean KL(Transformers‖engine) in nats a token, over the tokens that the engine reports."""
    largest: float
    changed: int
    """Places where the likeliest token is another one."""
    places: int
    first: OtherToken | None
    """The earliest in an answer; None if all are the same."""


def measure_engine(arm: Any, reference: LocalArm, suite: Suite) -> EngineDifference:
    """Compare an engine's next tokens with Transformers', at up to `PLACES` places.

    Args:
        arm: A `ServedArm` with a tokenizer.
        reference: Its weights under Transformers.
        suite: The prompts.

    Raises:
        ModelError: the engine reports no probabilities.
        BackendError: it does not answer.
    """
    assert isinstance(arm, ServedArm)
    divergences, others, changed = [], [], 0
    for prompt, ids, row, reported in _places(arm, reference, suite):
        divergences.append(least_divergence(row, reported))
        expected, found = int(row.argmax()), max(reported, key=lambda token: reported[token])
        if expected != found:
            changed += 1
            tokens = (arm.tokenizer.decode([token]) for token in (expected, found))
            others.append(OtherToken(prompt, ids + 1, *tokens))
    return EngineDifference(
        divergence=sum(divergences) / len(divergences),
        largest=max(divergences),
        changed=changed,
        places=len(divergences),
        first=min(others, key=lambda other: other.place, default=None),
    )


def _places(
    arm: Any, reference: LocalArm, suite: Suite
) -> Iterator[tuple[str, int, Any, Mapping[int, float]]]:
    """Yield prompt, place in the answer, expected log-probabilities, and what is reported."""
    left = PLACES
    for case in suite.cases:
        if not left:
            return
        prompt = arm.prompt(case, suite.generation)
        start = list(prompt.token_ids or ())
        answer = _greedy(reference, start, min(OPENING, left))
        left -= len(answer)
        passage = ProbePassage((*start, *answer[:-1]), len(answer))
        (rows,) = token_distributions(reference, [passage])
        reported = arm.next_logprobs([[*start, *answer[:at]] for at in range(len(answer))])
        if reported is None:
            raise ModelError(f"{arm.address}: reports no log-probabilities by token id")
        for at, (row, found) in enumerate(zip(rows, reported, strict=True)):
            yield case.prompt or case.id, at, row, found


def _greedy(arm: LocalArm, start: Sequence[int], most: int) -> list[int]:
    """Return the likeliest tokens after a prompt, one by one, up to one that ends the answer."""
    answer: list[int] = []
    while len(answer) < most and not set(answer) & arm.stop_ids:
        (rows,) = token_distributions(arm, [ProbePassage((*start, *answer), 1)])
        answer.append(int(rows[-1].argmax()))
    return answer
