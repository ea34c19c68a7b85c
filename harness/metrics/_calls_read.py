"""From a completion's text to its tool calls, in any of seven syntaxes.

Example:
    >>> read('<tool_call>{"name": "ping", "arguments": {}}</tool_call>').syntax
    'hermes'
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from harness.metrics import _calls_json, _calls_marked, _json
from harness.metrics._calls_form import Call, Malformed
from harness.metrics._calls_python import python

Syntax = Literal["auto", "openai", "anthropic", "hermes", "llama3", "mistral", "json", "python"]
SYNTAXES: tuple[Syntax, ...] = (
    "openai", "anthropic", "hermes", "llama3", "mistral", "json", "python",
)  # fmt: skip

_ENDS = ("</s>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "<|endoftext|>")
"""End markers that a backend may leave in the text."""
_BROKEN = re.compile(r'\[?\s*+\{\s*+"(?:name|tool_calls|function_call)"')


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read."""

    syntax: Syntax | None = None
    """The syntax of the calls, or of the attempt; None where there is neither."""
    calls: tuple[Call, ...] = ()
    problem: str | None = None
    """Why an attempt to call a tool cannot be read."""


def read(text: str, syntax: Syntax = "auto") -> Reading:
    """Return the calls that a text makes; none if it is just an answer.

    Args:
        text: The completion's text.
        syntax: The only syntax to be read; `auto` takes the first that fits.
    """
    text = _without_ends(text)
    try:
        value, forms = _json.read(text), _OF_JSON
    except _json.Unreadable:
        value, forms = text, _OF_TEXT
    for name in forms if syntax == "auto" else (syntax,):
        try:
            calls = forms[name](value) if name in forms else None
        except Malformed as error:
            return Reading(name, problem=str(error))
        if calls is not None:
            return Reading(name, tuple(calls))
    return Reading()


def _without_ends(text: str) -> str:
    end = len(text.rstrip())
    while text.endswith(_ENDS, 0, end):
        end -= next(len(mark) for mark in _ENDS if text.endswith(mark, 0, end))
        while end and text[end - 1].isspace():
            end -= 1
    return text[:end].lstrip()


def _unfinished(text: str) -> None:
    """Tell JSON that begins as a call does and breaks off from an answer.

    Raises:
        Malformed: it begins so.
    """
    if _BROKEN.match(text):
        try:
            _json.read(text)
        except _json.Unreadable as error:
            raise Malformed(f"not JSON: {error}") from error


_Form = Callable[[Any], list[Call] | None]
_OF_JSON: Mapping[Syntax, _Form] = {
    "openai": _calls_json.openai,
    "anthropic": _calls_json.anthropic,
    "llama3": _calls_json.llama3,
    "json": _calls_json.plain,
    "mistral": _calls_json.plain,  # its array, when the decoder dropped the marker
}
"""Readers of a text that is JSON as a whole, in the order in which `auto` tries them."""
_OF_TEXT: Mapping[Syntax, _Form] = {
    "hermes": _calls_marked.hermes,
    "llama3": _calls_marked.llama3,
    "mistral": _calls_marked.mistral,
    "python": python,
    "json": _unfinished,
    "openai": _unfinished,
}
"""Readers of any other text."""
