"""Chat requests: the body of `POST /v1/chat/completions` as a case.

A parameter that is unknown here, or has a value that is not supported, is refused, never ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from tunegate.harness.episodes.transcript import (
    messages_in_text,
    opening_case,
)
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeSettings
from tunegate.harness.records.generation import GenerationSettings

MAX_TOKENS = 1024
"""Tokens of an answer if the request names no limit."""
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "repetition_penalty": (1,),
    "top_k": (-1, 0),
    "min_p": (0,),
    "logprobs": (False,),
    "store": (False,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "parallel_tool_calls": (True,),
}
"""Parameter → the values that change nothing."""
_REASONS = {
    "n": "a request gets one answer; ask once for each sample",
    "logprobs": "log probabilities are not returned; leave it out",
    "top_logprobs": "log probabilities are not returned; leave it out",
    "response_format": "answers are not bound to a format; ask for it in the prompt",
}
"""Parameter that other servers support → what to do here."""
_STREAM_OPTIONS = frozenset({"include_usage", "include_obfuscation"})
_IGNORED = frozenset({"user", "metadata"})
"""Parameters about the caller, not the answer."""
_READ = frozenset(
    {
        "model", "messages", "tools", "tool_choice", "temperature", "top_p", "max_tokens",
        "max_completion_tokens", "stop", "seed", "stream", "stream_options",
    }
)  # fmt: skip
_RANGES: Mapping[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "max_tokens": (1, 1_000_000),
    "max_completion_tokens": (1, 1_000_000),
}
"""Parameter → smallest and largest value."""
_COLDEST = 1e-5
"""Temperature below which decoding is greedy: dividing logits by it would overflow."""
_ROLES = ("system", "developer", "user", "assistant", "tool")


TOO_LONG = "context_length_exceeded"
"""OpenAI's error code for a prompt beyond the context, by which clients end a task."""


class RequestRefused(Exception):
    """A request is refused; the message says why."""

    def __init__(self, message: str, status: int = 400, code: str | None = None) -> None:
        """Keep the HTTP status and OpenAI's error code."""
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """The contents of a request."""

    arm: str
    talk: Case
    generation: GenerationSettings
    seed: int | None
    stream: bool
    tools: tuple[dict[str, Any], ...] = field(default=())
    """Tools whose calls are parsed from the answer."""
    stream_usage: bool = False
    """Whether a stream ends with a chunk that holds the usage and no choice."""


PLAIN = GenerationSettings()
"""How prompts are rendered by default."""


def parse_chat_request(
    body: Any,
    arms: Sequence[str],
    *,
    show_tools: Literal["template", "system"] = "template",
    rendering: GenerationSettings = PLAIN,
) -> ChatRequest:
    """Return the request in the JSON body of a call."""
    if not isinstance(body, dict):
        raise RequestRefused("the body is not a JSON object")
    if body.get("model") not in arms:
        raise RequestRefused(f"model={body.get('model')!r}: choose from {', '.join(arms)}", 404)
    _refuse_parameters(body)
    _refuse_tools(body)
    _refuse_numbers(body)
    tools = () if body.get("tool_choice") == "none" else tuple(body.get("tools") or ())
    stop = body.get("stop") or ()
    if isinstance(stop, list) and "" in stop:
        raise RequestRefused("stop: an empty text cannot end an answer; leave it out")
    temperature = _default(body.get("temperature"), 1.0)
    top_p = _default(body.get("top_p"), 1.0)
    greedy = temperature < _COLDEST or top_p == 0
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or MAX_TOKENS
    try:
        case = Case.model_validate({"id": "request", "messages": list(_messages(body))})
        if tools and show_tools == "template":
            case = Case.model_validate({**_fields(case), "tools": tools})
        generation = GenerationSettings.model_validate(
            {
                **rendering.model_dump(exclude={"system", "samples"}, exclude_defaults=True),
                "temperature": 0.0 if greedy else temperature,
                "top_p": 1.0 if greedy else top_p,
                "max_new_tokens": limit,
                "stop": [stop] if isinstance(stop, str) else stop,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise RequestRefused(f"{place}: {first['msg']}") from None
    if show_tools == "system":
        case = _case_in_text(case, tools)
    seed = body.get("seed")
    if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
        raise RequestRefused(f"seed={seed!r}: give a whole number")
    return ChatRequest(
        str(body["model"]),
        case,
        generation,
        seed,
        bool(body.get("stream")),
        tools,
        bool((body.get("stream_options") or {}).get("include_usage")),
    )


def _fields(case: Case) -> dict[str, Any]:
    return {"id": case.id, "messages": case.messages}


def _default(value: Any, absent: float) -> Any:
    return absent if value is None else value


def _refuse_parameters(body: Mapping[str, Any]) -> None:
    for name, value in body.items():
        neutral = _NEUTRAL.get(name, ())
        if name in _READ or name in _IGNORED or value is None or value in neutral:
            continue
        if not neutral and name not in _REASONS:
            raise RequestRefused(f"{name}: unknown parameter; use {', '.join(sorted(_READ))}")
        reason = _REASONS.get(name) or f"only {neutral[0]!r} is supported"
        raise RequestRefused(f"{name}={value!r:.80}: {reason}")
    options = body.get("stream_options") or {}
    if not isinstance(options, dict) or not options.keys() <= _STREAM_OPTIONS:
        raise RequestRefused(f"stream_options={options!r:.80}: give {{'include_usage': true}}")


def _refuse_tools(body: Mapping[str, Any]) -> None:
    tools = body.get("tools") or []
    if not isinstance(tools, list) or not all(map(_is_tool, tools)):
        raise RequestRefused("tools: give a list of functions, each with its name")
    if body.get("tool_choice") not in (None, "auto", "none"):
        raise RequestRefused(f"tool_choice={body['tool_choice']!r}: give 'auto' or 'none'")


def _refuse_numbers(body: Mapping[str, Any]) -> None:
    for name, (low, high) in _RANGES.items():
        value = body.get(name)
        if value is None:
            continue
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            raise RequestRefused(f"{name}={value!r}: give a number from {low} to {high}")


def _is_tool(tool: Any) -> bool:
    function = tool.get("function") if isinstance(tool, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _messages(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the messages with their content as one text, for chat templates."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestRefused("messages: give a list with at least one message")
    for number, message in enumerate(messages):
        place = f"messages[{number}]"
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            raise RequestRefused(f"{place}: role: give one of {', '.join(_ROLES)}")
        role = "system" if message["role"] == "developer" else message["role"]
        kept = {k: v for k, v in message.items() if k in ("tool_calls", "tool_call_id", "name")}
        yield {
            "role": role,
            "content": _text_of(message.get("content"), place),
            **{k: v for k, v in kept.items() if v},
        }


def _text_of(content: Any, place: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    parts = content if isinstance(content, list) else [content]
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise RequestRefused(f"{place}: content: only text is supported")
    return "".join(map(str, texts))


def _case_in_text(case: Case, tools: Sequence[Mapping[str, Any]]) -> Case:
    """Return the conversation with tools, calls and results as text."""
    try:
        turns = tuple(messages_in_text(case.input_messages()))
    except ValueError as error:
        raise RequestRefused(str(error)) from None
    settings = EpisodeSettings(environment="", tools="system")
    return opening_case(case.model_copy(update={"messages": turns}), settings, tools, None)
