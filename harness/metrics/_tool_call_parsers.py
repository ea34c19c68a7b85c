"""Tool-call parsers: from a completion's text to its tool calls, in any of seven syntaxes.

Tool calls in a completion that is JSON as a whole: OpenAI, Anthropic, Llama 3 and plain. Each
function takes the value and returns its calls, or None if it is nothing of that kind.

Tool calls that a marker announces: Hermes, Llama 3 and Mistral. Each function takes a text that is
not JSON as a whole and returns its calls, or None if the marker is not there. JSON is read from the
marker on, so a marker inside one of its strings is text.

Tool calls as Python calls: `[f(a=1), g(b="x")]`. The text is parsed, never run. Only names with
literal arguments are calls; a variable, arithmetic or another call as an argument would need a
Python program to mean anything. Within prose a name may be a text without its quotation marks.

Example:
    >>> parse_tool_calls('<tool_call>{"name": "ping", "arguments": {}}</tool_call>').syntax
    'hermes'
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tunegate.harness.metrics import _json_parsing
from tunegate.harness.metrics._json_parsing import shorten_text

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
class ToolCall:
    """One call: a tool's name and its arguments, all of them JSON values."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ParsedCalls:
    """The calls that were read."""

    syntax: Syntax | None = None
    """The syntax of the calls, or of the attempt; None where there is neither."""
    calls: tuple[ToolCall, ...] = ()
    problem: str | None = None
    """Why an attempt to call a tool cannot be read."""


def parse_tool_calls(text: str, syntax: Syntax = "auto") -> ParsedCalls:
    """Return the calls that a text makes; none if it is just an answer.

    Args:
        text: The completion's text.
        syntax: The only syntax to be read; `auto` takes the first that fits.
    """
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
    """Return a text without the white space around it and the end markers behind it."""
    end = len(text.rstrip())
    while text.endswith(_ENDS, 0, end):
        end -= next(len(mark) for mark in _ENDS if text.endswith(mark, 0, end))
        while end and text[end - 1].isspace():
            end -= 1
    return text[:end].lstrip()


def _refuse_unfinished(text: str) -> None:
    """Distinguish JSON that begins as a call does and is cut off from an answer.

    Raises:
        MalformedCall: it begins so.
    """
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
        return [_openai_call(one) for one in (entries if legacy is None else [*entries, legacy])]
    entries = value if isinstance(value, list) else [value]
    return [_openai_call(one) for one in entries] if any(map(_is_openai, entries)) else None


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
    """Read a message, its content or one block; blocks that are no `tool_use` are passed over.

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
    return [call_of(one, "arguments", "parameters") for one in entries]


def _is_plain(value: Any) -> bool:
    return isinstance(value, dict) and "name" in value and bool(_KEYS & value.keys())


_KEYS = {"arguments", "parameters"}


class MalformedCall(ValueError):
    """A text that tries to call a tool and cannot be read; the message gives the cause."""


def call_of(value: Any, *keys: str) -> ToolCall:
    """Return the call that an object with `name` and one of `keys` describes.

    Raises:
        MalformedCall: it describes none.
    """
    if not isinstance(value, dict):
        raise MalformedCall(f"{format_value(value)} is not a call")
    name = value.get("name")
    if not isinstance(name, str) or not name:
        raise MalformedCall(f"a call's name must be a text, not {format_value(name)}")
    key = next((key for key in keys if key in value), None)
    if key is None:
        raise MalformedCall(f"the call of {shorten_text(name, 200)} has no {keys[0]!r}")
    if not isinstance(value[key], dict):
        raise MalformedCall(
            f"{key} of {shorten_text(name, 200)} is {format_value(value[key])}, not an object"
        )
    return ToolCall(name, value[key])


def format_value(value: Any, longest: int = 150) -> str:
    """Return a value as a reason shows it."""
    try:
        return shorten_text(repr(value), longest)
    except RecursionError:
        return "a deeply nested value"


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
    return [call_of(one, "arguments") for one in value]


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
    """Return the JSON value that starts at a place, and where it ends."""
    try:
        return _json_parsing.read_first(text, _skip(text, position))
    except _json_parsing.UnreadableJson as error:
        raise MalformedCall(f"not JSON: {error}") from error


def _skip(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return space.end() if space else position


_LONGEST = 100_000
"""Characters of the longest text that is parsed: Python's parser takes 10 MB for it."""
_LARGEST_BITS = 14_000
"""Bits of the largest whole number: beyond about 4,300 digits Python refuses to print it."""
_CALL = re.compile(r"\[?\s*+[^\W\d]\w*+(?:\.\w++)*+\s*+\(")
_SURELY = re.compile(r"\[?\s*+[^\W\d]\w*+(?:\.\w++)*+\(\s*+\w++\s*+=")
"""A name, a bracket and a named argument: no prose looks like that."""


def python(text: str, *, bare_texts: bool = False) -> list[ToolCall] | None:
    """Return the calls that the whole text is, with or without brackets around them, or None.

    With `bare_texts` a name as an argument is a text without quotation marks: `f(city=Rome)`.

    Raises:
        MalformedCall: it is calls, but of other things than literals, or calls that are cut off.
    """
    if not _CALL.match(text):
        return None
    try:
        calls = _parse_python(text)
    except MalformedCall as error:
        steps = _parse_steps(text)
        if steps:
            return [_call(node, bare_texts) for node in steps]
        if _SURELY.match(text):
            raise MalformedCall(f"not Python: {error}") from error
        return None
    return [_call(node, bare_texts) for node in calls]


def _parse_python(text: str) -> list[ast.Call]:
    if len(text) > _LONGEST:
        raise MalformedCall(f"{len(text)} characters are more than the {_LONGEST} that are parsed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a string is no fault of ours
            tree = ast.parse(text if text.startswith("[") else f"[{text}]", mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        # The parser raises the last two, too, for texts that are nested too deeply.
        words = error.msg if isinstance(error, SyntaxError) else "it cannot be parsed"
        raise MalformedCall(words) from error
    nodes = tree.body.elts if isinstance(tree.body, ast.List) else []
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    if not calls or len(calls) < len(nodes):
        raise MalformedCall("it is not a list of calls")
    return calls


def _parse_steps(text: str) -> list[ast.Call]:
    """Return the calls of a text that has semicolons between them, as Nexus Raven writes them."""
    if ";" not in text or len(text) > _LONGEST:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            steps = ast.parse(text).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return []
    calls = [
        step.value
        for step in steps
        if isinstance(step, ast.Expr) and isinstance(step.value, ast.Call)
    ]
    return calls if len(calls) == len(steps) else []


class _NamesAsTexts(ast.NodeTransformer):
    """Puts a text in the place of each name."""

    def visit_Name(self, node: ast.Name) -> ast.Constant:
        """Return the text."""
        return ast.Constant(node.id)


def _call(node: ast.Call, bare_texts: bool) -> ToolCall:
    name = _name(node.func)
    if node.args:
        raise MalformedCall(f"an argument of {name} has no name")
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise MalformedCall(f"{name} unpacks ** instead of naming its arguments")
        if keyword.arg in arguments:
            raise MalformedCall(f"{name} has {keyword.arg!r} twice")
        try:
            value = _NamesAsTexts().visit(keyword.value) if bare_texts else keyword.value
            arguments[keyword.arg] = _json_value(ast.literal_eval(value))
        except (ValueError, TypeError, MemoryError, RecursionError) as error:
            raise MalformedCall(f"{name}: {keyword.arg} is not a JSON literal") from error
    return ToolCall(name, arguments)


def _name(node: ast.expr) -> str:
    steps = []
    while isinstance(node, ast.Attribute):
        steps.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise MalformedCall("what is called is not a name")
    return ".".join([node.id, *reversed(steps)])


def _json_value(value: Any) -> Any:
    """Return a literal as JSON has it: tuples become lists.

    Raises:
        ValueError: JSON has no such value.
    """
    if isinstance(value, list | tuple):
        return [_json_value(part) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _json_value(part) for key, part in value.items()}
    plain = value is None or isinstance(value, str | bool)
    whole = isinstance(value, int) and value.bit_length() <= _LARGEST_BITS
    if plain or whole or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"{format_value(type(value))} is not JSON")


_OF_TEXT: Mapping[Syntax, _Form] = {
    "hermes": hermes,
    "llama3": llama3,
    "mistral": mistral,
    "python": python,
    "json": _refuse_unfinished,
    "openai": _refuse_unfinished,
}
"""Readers of any other text."""
