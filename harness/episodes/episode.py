"""Episode: one task from the reset of its environment to the reward, as a generator.

`episode_steps` yields one thing at a time, a call of the environment or a turn of the model, and is
sent the result. The caller runs the calls and asks the model (`tunegate.harness.episodes.play`).

The model is shown its own mistakes as text: an unknown tool, arguments that do not bind, a
ValueError, LookupError or ArithmeticError of a tool, and any error on arguments that contradict the
tool's definition. Every other error of an environment raises `EpisodeFailed`.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from tunegate.harness.contracts.episode_environment import (
    EnvironmentSource,
    EpisodePlan,
    reset_arguments,
    tool_methods,
)
from tunegate.harness.contracts.model import Arm, Request
from tunegate.harness.episodes.environment_calls import CallOutcome
from tunegate.harness.episodes.transcript import (
    UnreadableCall,
    extend_prompt,
    extend_transcript,
    turn_calls,
)
from tunegate.harness.metrics._tool_call import ToolCall
from tunegate.harness.records.answers import Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeCall, EpisodeEnd, EpisodeRecord, EpisodeTurn
from tunegate.harness.records.errors import error_summary
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.record import replace_surrogates

_CONTEXT = re.compile(r"context|too long|maximum.{0,20}(?:length|tokens)", re.IGNORECASE)
"""Words that backends use when a prompt does not fit."""
_MODEL_FAULTS = (ValueError, LookupError, ArithmeticError)
_NEVER_THE_MODELS = (OSError, MemoryError, EOFError, ImportError, RecursionError)
LONGEST_TEXT = 10_000_000
"""Longest result of a tool, in characters: about 2.5 million tokens."""


class EpisodeFailed(Exception):
    """An episode failed, but not by the model's fault; the message gives the cause."""


@dataclass(frozen=True, slots=True)
class EnvironmentCall:
    """A call of the environment that an episode needs."""

    function: Callable[[], Any]


EpisodeSteps = Generator[EnvironmentCall | Request, Any, Completion]
"""Yields calls, sent a `CallOutcome`, and requests, sent a `StoredAnswer`; returns a completion."""


@dataclass(slots=True)
class _EpisodeState:
    """The turns so far."""

    request: Request
    plan: EpisodePlan
    talk: Case
    """The conversation so far: the task with more messages."""
    environment: Any = None
    opening: str | None = None
    turns: list[EpisodeTurn] = field(default_factory=list)
    answers: list[Completion] = field(default_factory=list)
    seconds: float = 0.0
    """Time spent in the environment."""

    @property
    def tokens_left(self) -> int:
        """Tokens that the model may still write."""
        written = sum(turn.output_tokens or 0 for turn in self.turns)
        return self.plan.settings.max_tokens - written


def episode_steps(request: Request, arm: Arm, held: list[Any]) -> EpisodeSteps:
    """Play the episode of a request."""
    plan = request.episode
    assert plan is not None
    assert isinstance(plan.source, EnvironmentSource)
    state = _EpisodeState(request, plan, request.case)
    state.environment = yield from _environment_call(
        state, "the environment's constructor", plan.source.make
    )
    held.append(state.environment)
    arguments = reset_arguments(type(state.environment), request.case, request.seed)
    opening = yield from _environment_call(
        state, "reset", partial(state.environment.reset, **arguments)
    )
    if opening is not None and not isinstance(opening, str):
        kind = type(opening).__name__
        raise EpisodeFailed(f"reset returned {kind}, neither a text nor None")
    state.opening = opening
    state.talk = extend_prompt(state.talk, opening)
    end = yield from _turns(state, arm)
    reward = yield from _environment_call(state, "get_reward", state.environment.get_reward)
    stats = {}
    if callable(getattr(state.environment, "_stats", None)):
        stats = yield from _environment_call(state, "_stats", state.environment._stats)
    return _completion(state, end, _finite(reward), stats)


def _turns(state: _EpisodeState, arm: Arm) -> Generator[Any, Any, EpisodeEnd]:
    """Let model and environment take turns; return how it ended."""
    while len(state.turns) < state.plan.settings.max_turns:
        request = _turn_request(state, arm)
        if request is None:
            return EpisodeEnd.LIMIT
        answer: StoredAnswer = yield request
        if answer.completion is None:
            reason = answer.error or "there is no completion"
            if state.turns and is_too_long(reason):
                return EpisodeEnd.LIMIT
            raise EpisodeFailed(reason)
        state.answers.append(answer.completion)
        end = yield from _respond(state, request, answer.completion)
        if end is not None:
            return end
        state.talk = extend_transcript(
            state.talk,
            state.turns[-1],
            len(state.turns) - 1,
            in_text=state.plan.settings.tools == "system",
        )
    return EpisodeEnd.LIMIT


def is_too_long(reason: str) -> bool:
    """Return whether a backend's error is about a prompt beyond the model's context."""
    return _CONTEXT.search(reason) is not None


def _respond(
    state: _EpisodeState, request: Request, done: Completion
) -> Generator[Any, Any, EpisodeEnd | None]:
    """Record a turn and respond to it; return how the episode ends, if it ends here."""
    turn = EpisodeTurn(
        prompt_sha256=request.prompt.sha256,
        text=done.text or "",
        finish_reason=done.finish_reason,
        input_tokens=done.input_tokens,
        output_tokens=done.output_tokens,
        latency_s=done.latency_s,
    )
    state.turns.append(turn)
    if done.finish_reason == "length":
        return EpisodeEnd.LIMIT
    try:
        calls = turn_calls(turn.text, state.plan.tools)
    except UnreadableCall as error:
        state.turns[-1] = turn.model_copy(update={"problem": str(error)})
        return EpisodeEnd.UNREADABLE
    if not calls:
        message = None
        if callable(getattr(state.environment, "_next", None)):
            function = partial(state.environment._next, turn.text)
            message = yield from _environment_call(state, "_next", function)
        if message is None:
            return EpisodeEnd.ANSWERED
        reply = replace_surrogates(_text_of(message, "what _next returned"))
        state.turns[-1] = turn.model_copy(update={"message": reply})
        return None
    if len(state.turns) == state.plan.settings.max_turns:
        return EpisodeEnd.LIMIT  # no turn is left to read the results
    results = []
    for call in calls:
        results.append((yield from _run_tool(state, call)))
    state.turns[-1] = turn.model_copy(update={"calls": tuple(results)})
    return None


def _run_tool(state: _EpisodeState, call: ToolCall) -> Generator[Any, Any, EpisodeCall]:
    """Call a tool; the model's mistakes become texts for it, in TRL's words."""
    arguments = dict(call.arguments)
    method = tool_methods(type(state.environment)).get(call.name)
    seconds = 0.0
    result: Any
    fault: str | None
    if method is None:
        result, fault = None, f"Tool {call.name} not found."
    elif (fault := _binding_fault(state.environment, call.name, arguments)) is not None:
        result = None
    else:
        function = partial(getattr(state.environment, call.name), **arguments)
        outcome: CallOutcome = yield EnvironmentCall(function)
        seconds, result = outcome.seconds, outcome.value
        state.seconds += seconds
        if outcome.error is not None:
            if not _is_models_fault(outcome.error, state.plan.tools, call):
                raise EpisodeFailed(f"the tool {call.name} failed: {error_summary(outcome.error)}")
            fault = _text_of(outcome.error, f"the error of the tool {call.name}")
    shown = _text_of(result, f"what the tool {call.name} returned")
    if fault is not None:
        shown = str({"error": fault})
    if len(shown) > LONGEST_TEXT:  # the model may have asked for it
        shown = f"{shown[:LONGEST_TEXT]} … {len(shown) - LONGEST_TEXT:,} characters more"
    return EpisodeCall(
        name=call.name,
        arguments=replace_surrogates(arguments),
        result=replace_surrogates(shown),
        error=fault is not None,
        seconds=round(seconds, 6),
    )


def _binding_fault(environment: Any, name: str, arguments: dict[str, Any]) -> str | None:
    """Return why the arguments do not fit the tool's parameters."""
    try:
        inspect.signature(getattr(environment, name)).bind(**arguments)
    except TypeError as error:
        return str(error)
    return None


def _is_models_fault(error: BaseException, tools: Sequence[Any], call: ToolCall) -> bool:
    """Return whether a tool's error is the model's fault: by its type, or by wrong arguments."""
    if isinstance(error, _MODEL_FAULTS):
        return True
    if isinstance(error, _NEVER_THE_MODELS) or type(error).__name__ == "EnvironmentFailed":
        return False
    if not isinstance(error, Exception):
        return False
    from jsonschema import Draft202012Validator

    schema = next(t["function"]["parameters"] for t in tools if t["function"]["name"] == call.name)
    return not Draft202012Validator(schema).is_valid(dict(call.arguments))


def _environment_call(
    state: _EpisodeState, what: str, function: Callable[[], Any]
) -> Generator[Any, Any, Any]:
    """Return what a method of the environment returns."""
    outcome: CallOutcome = yield EnvironmentCall(function)
    state.seconds += outcome.seconds
    if outcome.error is not None:
        raise EpisodeFailed(f"{what} failed: {error_summary(outcome.error)}")
    return outcome.value


def _finite(reward: Any) -> float:
    try:
        value = float(reward)
    except Exception:  # a user's object may raise anything
        kind = type(reward).__name__
        raise EpisodeFailed(f"get_reward returned {kind}, which is not a finite number") from None
    if not math.isfinite(value):
        raise EpisodeFailed(f"get_reward returned {value!r}, which is not finite")
    return value


def _turn_request(state: _EpisodeState, arm: Arm) -> Request | None:
    """Return the request of the next turn; None if it does not fit."""
    request, number = state.request, len(state.turns)
    if state.tokens_left < 1:
        return None
    settings = request.generation.model_copy(
        update={"max_new_tokens": min(request.generation.max_new_tokens, state.tokens_left)}
    )
    try:
        prompt = arm.prompt(state.talk, settings)
    except ValueError as error:
        raise EpisodeFailed(f"turn {number + 1} cannot be rendered: {error}") from error
    limit = getattr(arm, "context_length", None)
    length = len(prompt.token_ids or ())
    if number and limit is not None and length + settings.most_tokens > limit:
        return None
    spoken = list(state.talk.input_messages())
    led = [state.plan.root, number, prompt.sha256, sha256(spoken), settings.max_new_tokens]
    return replace(
        request,
        cell=replace(request.cell, key=sha256(["turn", *led])),
        case=state.talk,
        prompt=prompt,
        generation=settings,
        seed=int(sha256([request.seed, number])[:8], 16),
        episode=None,
        turn=number,
    )


def _completion(state: _EpisodeState, end: EpisodeEnd, reward: float, stats: Any) -> Completion:
    """Return the episode as a completion: the last answer, with sums over the turns."""
    last = state.answers[-1]
    try:
        shown = {str(n): v for n, v in stats.items()} if isinstance(stats, dict) else {}
        kept = replace_surrogates(json.loads(json.dumps(shown, default=str)))
    except Exception as error:
        kind = type(error).__name__
        raise EpisodeFailed(f"_stats returned no dictionary of plain values ({kind})") from error
    costs = [done.cost for done in state.answers]
    record = EpisodeRecord(
        turns=tuple(state.turns),
        reward=reward,
        end=end,
        opening=replace_surrogates(state.opening),
        stats=kept,
    )
    return Completion(
        text=last.text,
        finish_reason="length" if end is EpisodeEnd.LIMIT else last.finish_reason,
        input_tokens=_sum([done.input_tokens for done in state.answers]),
        output_tokens=_sum([done.output_tokens for done in state.answers]),
        latency_s=_sum([*(done.latency_s for done in state.answers), round(state.seconds, 6)]),
        cost=_sum(costs),
        answered_by=last.answered_by,
        episode=record,
    )


def _sum(values: Sequence[Any]) -> Any:
    """Return the sum; None if a value is unknown."""
    return None if any(value is None for value in values) else sum(values)


def _text_of(value: Any, what: str) -> str:
    """Return a value of the environment as text."""
    try:
        return str(value)
    except Exception as error:  # a user's object may raise anything
        kind = type(error).__name__
        raise EpisodeFailed(f"{what} cannot be written as text ({kind})") from error
