"""Tool-call parsers: from a completion's text to its tool calls, in any of seven syntaxes.

A completion that is JSON as a whole (OpenAI, Anthropic, Llama 3, plain) goes to the readers in
`_OF_JSON`; any other text (Hermes, Llama 3, Mistral, Python) to those in `_OF_TEXT`. Each returns
the calls, or None if the text is not in its syntax.

Example:
    >>> parse_tool_calls('<tool_call>{"name": "ping", "arguments": {}}</tool_call>').syntax
    'hermes'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunegate.harness.metrics import _json_parsing
from tunegate.harness.metrics._python_calls import python
from tunegate.harness.metrics._tool_call import MalformedCall, ToolCall, call_of, format_value

Syntax = Literal[
    "auto", "openai", "anthropic", "hermes", "llama3", "mistral", "json", "python", "markup"
]
SYNTAXES: tuple[Syntax, ...] = (
    "openai", "anthropic", "hermes", "llama3", "mistral", "json", "python",
)  # fmt: skip

_ENDS = (
    "</s>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>",
    "<end_of_turn>", "<|end|>", "<|return|>",
)  # fmt: skip
"""End markers that a backend may leave in the text."""
_BROKEN = re.compile(r'\[?\s*+\{\s*+"(?:name|tool_calls|function_call)"')


@dataclass(frozen=True, slots=True)
class ParsedCalls:
    """The calls that were read."""

    syntax: Syntax | None = None
    """The syntax of the calls or of the attempt; None if there is neither."""
    calls: tuple[ToolCall, ...] = ()
    problem: str | None = None
    """Why an attempt to call a tool cannot be read."""


def parse_tool_calls(text: str, syntax: Syntax = "auto") -> ParsedCalls:
    """Return the calls that a text makes in one syntax; `auto` takes the first that fits."""
    text = strip_end_tokens(text)
    try:
        value, forms = _json_parsing.parse_json(text), _OF_JSON
    except _json_parsing.UnreadableJson:
        value, forms = text, _OF_TEXT
    for name in forms if syntax == "auto" else (syntax,):
        try:
            calls = forms[name](value) if name in forms else None
        except MalformedCall as error:
            return ParsedCalls(name, problem=str(error))
        if calls is not None:
            return ParsedCalls(name, tuple(calls))
    return ParsedCalls()


def strip_end_tokens(text: str) -> str:
    """Return a text without surrounding white space and trailing end markers."""
    text = text.strip()
    while text.endswith(_ENDS):
        text = next(text.removesuffix(mark) for mark in _ENDS if text.endswith(mark)).rstrip()
    return text


def _refuse_unfinished(text: str) -> None:
    """Refuse JSON that begins like a call and is cut off."""
    if _BROKEN.match(text):
        try:
            _json_parsing.parse_json(text)
        except _json_parsing.UnreadableJson as error:
            raise MalformedCall(f"not JSON: {error}") from error


_Form = Callable[[Any], list[ToolCall] | None]

_BLOCKS = {"text", "thinking", "redacted_thinking", "tool_use"}


def openai(value: Any) -> list[ToolCall] | None:
    """Read a message with `tool_calls` or `function_call`, its calls alone, or one of them.

    Source: OpenAI's API reference, *Chat Completions* (and `function_call` of *Responses*).
    `arguments` is JSON in a string there; chat templates write an object, which counts too.
    """
    if isinstance(value, dict) and {"tool_calls", "function_call"} & value.keys():
        entries = value.get("tool_calls") or []
        if not isinstance(entries, list):
            raise MalformedCall(f"tool_calls is {format_value(entries)}, not a list")
        legacy = value.get("function_call")
        return [
            _openai_call(entry) for entry in (entries if legacy is None else [*entries, legacy])
        ]
    entries = value if isinstance(value, list) else [value]
    return [_openai_call(entry) for entry in entries] if any(map(_is_openai, entries)) else None


def _is_openai(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    named = "name" in entry and isinstance(entry.get("arguments"), str)
    return named or isinstance(entry.get("function"), dict)


def _openai_call(entry: Any) -> ToolCall:
    inner = entry.get("function", entry) if isinstance(entry, dict) else entry
    if not isinstance(inner, dict) or not isinstance(inner.get("arguments"), str):
        return call_of(inner, "arguments")
    text = inner["arguments"]
    try:
        arguments = _json_parsing.parse_json(text) if text.strip() else {}
    except _json_parsing.UnreadableJson as error:
        raise MalformedCall(f"the arguments are not JSON: {error}") from error
    return call_of({**inner, "arguments": arguments}, "arguments")


def anthropic(value: Any) -> list[ToolCall] | None:
    """Read a message, its content or one block; blocks other than `tool_use` are skipped.

    Source: Anthropic's API reference, *Messages*.
    """
    content = value.get("content") if isinstance(value, dict) else None
    blocks = content if isinstance(content, list) else value if isinstance(value, list) else [value]
    kinds = [block.get("type") if isinstance(block, dict) else None for block in blocks]
    if not kinds or not all(isinstance(kind, str) and kind in _BLOCKS for kind in kinds):
        return None
    return [
        call_of(block, "input")
        for block, kind in zip(blocks, kinds, strict=True)
        if kind == "tool_use"
    ]


def llama3_json(value: Any) -> list[ToolCall] | None:
    """Read one `{"name", "parameters"}`.

    Source: Meta's prompt format of Llama 3.1, *JSON based tool calling*.
    """
    if not _is_plain(value) or "arguments" in value:
        return None
    return [call_of(value, "parameters")]


def plain(value: Any) -> list[ToolCall] | None:
    """Read one `{"name", "arguments"}` or a list of them; `parameters` counts too."""
    entries = value if isinstance(value, list) else [value]
    if not any(map(_is_plain, entries)):
        return None
    return [call_of(entry, "arguments", "parameters") for entry in entries]


def _is_plain(value: Any) -> bool:
    return isinstance(value, dict) and "name" in value and bool(_KEYS & value.keys())


_KEYS = {"arguments", "parameters"}

_OF_JSON: Mapping[Syntax, _Form] = {
    "openai": openai,
    "anthropic": anthropic,
    "llama3": llama3_json,
    "json": plain,
    "mistral": plain,  # its array, when the decoder dropped the marker
}
"""Readers of a text that is JSON as a whole, in the order in which `auto` tries them."""

_HERMES, _HERMES_END = "<tool_call>", "</tool_call>"
_LLAMA = "<|python_tag|>"
_MISTRAL = "[TOOL_CALLS]"
_SPACE = re.compile(r"\s*")
_SEPARATOR = re.compile(r"[\s;]*")
_HEAD = re.compile(
    r"\s*+(?:\[TOOL_CALLS\]\s*+)?+(?P<name>[\w.-]++)\s*+"
    r"(?:\[CALL_ID\]\s*+[\w-]++\s*+)?+(?:\[ARGS\]\s*+)?+(?=\{)"
)


def hermes(text: str) -> list[ToolCall] | None:
    """Read each `<tool_call>{"name", "arguments"}</tool_call>`; other text is skipped.

    Source: NousResearch/Hermes-Function-Calling. A closing tag may be missing where the next call
    or the end follows: stop texts cut it, and vLLM's `hermes` parser takes that too.
    """
    start = text.find(_HERMES)
    if start < 0:
        return None
    calls = []
    while start >= 0:
        value, end = _value(text, start + len(_HERMES))
        calls.append(call_of(value, "arguments"))
        end = _skip(text, end)
        if end < len(text) and not text.startswith((_HERMES_END, _HERMES), end):
            raise MalformedCall(
                f"{format_value(text[end : end + 40])} follows the call of {calls[-1].name}"
            )
        start = text.find(_HERMES, end)
    return calls


def llama3(text: str) -> list[ToolCall] | None:
    """Read `<|python_tag|>` with objects or a Python call after it, or objects with `;` between.

    Source: Meta's prompt format of Llama 3.1, *JSON based tool calling* and *Built in tool
    calling*; the semicolon is that of vLLM's `llama3_json` parser.
    """
    _, tag, body = text.partition(_LLAMA)
    if not tag:
        try:
            return _objects(text) if text.startswith("{") and '"parameters"' in text else None
        except MalformedCall:
            return None
    body = body.strip()
    if body.startswith("{"):
        return _objects(body)
    calls = python(body)
    if calls is None:
        raise MalformedCall(f"{format_value(body, 80)} after {_LLAMA} is not a call")
    return calls


def _objects(text: str) -> list[ToolCall]:
    calls, position = [], 0
    while position < len(text):
        value, position = _value(text, position)
        calls.append(call_of(value, "parameters", "arguments"))
        after = _SEPARATOR.match(text, position)
        separated = after is not None and ";" in after.group()
        position = after.end() if after else position
        if position < len(text) and not separated:
            raise MalformedCall(
                f"{format_value(text[position : position + 40])} follows a call without ';'"
            )
    return calls


def mistral(text: str) -> list[ToolCall] | None:
    """Read `[TOOL_CALLS]` with an array after it, or with `name{…}` after each.

    Source: mistral-common, instruct tokenizers v3 (array) to v13 (`name[CALL_ID]id[ARGS]{…}`).
    The marker is a special token, which decoders drop: `name{…}` alone is a call too if the whole
    text is made of such calls.
    """
    start = text.find(_MISTRAL)
    if start < 0:
        try:
            return _parse_named(text, 0) if _HEAD.match(text) else None
        except MalformedCall:
            return None
    body = _skip(text, start + len(_MISTRAL))
    if not text.startswith("[", body) or text.startswith(_MISTRAL, body):
        return _parse_named(text, start)
    value, end = _value(text, body)
    if end < len(text.rstrip()):
        raise MalformedCall(f"{format_value(text[end : end + 40])} follows the list of calls")
    return [call_of(entry, "arguments") for entry in value]


def _parse_named(text: str, position: int) -> list[ToolCall]:
    calls = []
    end = len(text.rstrip())
    while position < end:
        head = _HEAD.match(text, position)
        if head is None:
            raise MalformedCall(
                f"{format_value(text[position : position + 40])} is not a name with arguments"
            )
        value, position = _value(text, head.end())
        calls.append(call_of({"name": head["name"], "arguments": value}, "arguments"))
    return calls


def _value(text: str, position: int) -> tuple[Any, int]:
    try:
        return _json_parsing.read_first(text, _skip(text, position))
    except _json_parsing.UnreadableJson as error:
        raise MalformedCall(f"not JSON: {error}") from error


def _skip(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return space.end() if space else position


_OF_TEXT: Mapping[Syntax, _Form] = {
    "hermes": hermes,
    "llama3": llama3,
    "mistral": mistral,
    "python": python,
    "json": _refuse_unfinished,
    "openai": _refuse_unfinished,
}
"""Readers of any other text."""
