"""Tool calls that a marker announces: Hermes, Llama 3 and Mistral.

Each function takes a text that is not JSON as a whole and returns its calls, or None if the marker
is not there. JSON is read from the marker on, so a marker inside one of its strings is text.
"""

from __future__ import annotations

import re
from typing import Any

from harness.metrics import _json
from harness.metrics._calls_form import Call, Malformed, call_of, show
from harness.metrics._calls_python import python

_HERMES, _HERMES_END = "<tool_call>", "</tool_call>"
_LLAMA = "<|python_tag|>"
_MISTRAL = "[TOOL_CALLS]"
_SPACE = re.compile(r"\s*")
_SEPARATOR = re.compile(r"[\s;]*")
_HEAD = re.compile(
    r"\s*+(?:\[TOOL_CALLS\]\s*+)?+(?P<name>[\w.-]++)\s*+"
    r"(?:\[CALL_ID\]\s*+[\w-]++\s*+)?+(?:\[ARGS\]\s*+)?+(?=\{)"
)


def hermes(text: str) -> list[Call] | None:
    """Read each `<tool_call>{"name", "arguments"}</tool_call>`; other text is passed over.

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
            raise Malformed(f"{show(text[end : end + 40])} follows the call of {calls[-1].name}")
        start = text.find(_HERMES, end)
    return calls


def llama3(text: str) -> list[Call] | None:
    """Read `<|python_tag|>` with objects or a Python call after it, or objects with `;` between.

    Source: Meta's prompt format of Llama 3.1, *JSON based tool calling* and *Built in tool
    calling*; the semicolon is that of vLLM's `llama3_json` parser.
    """
    _, tag, body = text.partition(_LLAMA)
    if not tag:
        try:
            return _objects(text) if text.startswith("{") and '"parameters"' in text else None
        except Malformed:
            return None
    body = body.strip()
    if body.startswith("{"):
        return _objects(body)
    calls = python(body)
    if calls is None:
        raise Malformed(f"{show(body, 80)} after {_LLAMA} is no call")
    return calls


def _objects(text: str) -> list[Call]:
    calls, position = [], 0
    while position < len(text):
        value, position = _value(text, position)
        calls.append(call_of(value, "parameters", "arguments"))
        after = _SEPARATOR.match(text, position)
        separated = after is not None and ";" in after.group()
        position = after.end() if after else position
        if position < len(text) and not separated:
            raise Malformed(f"{show(text[position : position + 40])} follows a call without ';'")
    return calls


def mistral(text: str) -> list[Call] | None:
    """Read `[TOOL_CALLS]` with an array after it, or with `name{…}` after each.

    Source: mistral-common, instruct tokenizers v3 (array) to v13 (`name[CALL_ID]id[ARGS]{…}`).
    The marker is a special token, which decoders drop: `name{…}` alone is a call too if the whole
    text is made of such calls.
    """
    start = text.find(_MISTRAL)
    if start < 0:
        try:
            return _named(text, 0) if _HEAD.match(text) else None
        except Malformed:
            return None
    body = _skip(text, start + len(_MISTRAL))
    if not text.startswith("[", body) or text.startswith(_MISTRAL, body):
        return _named(text, start)
    value, end = _value(text, body)
    if end < len(text.rstrip()):
        raise Malformed(f"{show(text[end : end + 40])} follows the list of calls")
    return [call_of(one, "arguments") for one in value]


def _named(text: str, position: int) -> list[Call]:
    calls = []
    end = len(text.rstrip())
    while position < end:
        head = _HEAD.match(text, position)
        if head is None:
            raise Malformed(f"{show(text[position : position + 40])} is no name with arguments")
        value, position = _value(text, head.end())
        calls.append(call_of({"name": head["name"], "arguments": value}, "arguments"))
    return calls


def _value(text: str, position: int) -> tuple[Any, int]:
    """Return the JSON value that starts at a place, and where it ends."""
    try:
        return _json.read_first(text, _skip(text, position))
    except _json.Unreadable as error:
        raise Malformed(f"not JSON: {error}") from error


def _skip(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return space.end() if space else position
