"""Tool calls in a completion that is JSON as a whole: OpenAI, Anthropic, Llama 3 and plain.

Each function takes the value and returns its calls, or None if it is nothing of that kind.
"""

from __future__ import annotations

from typing import Any

from harness.metrics import _json
from harness.metrics._calls_form import Call, Malformed, call_of, show

_BLOCKS = {"text", "thinking", "redacted_thinking", "tool_use"}


def openai(value: Any) -> list[Call] | None:
    """Read a message with `tool_calls` or `function_call`, its calls alone, or one of them.

    Source: OpenAI's API reference, *Chat Completions* (and `function_call` of *Responses*).
    `arguments` is JSON in a string there; chat templates write an object, which counts too.
    """
    if isinstance(value, dict) and {"tool_calls", "function_call"} & value.keys():
        entries = value.get("tool_calls") or []
        if not isinstance(entries, list):
            raise Malformed(f"tool_calls is {show(entries)}, not a list")
        legacy = value.get("function_call")
        return [_openai_call(one) for one in (entries if legacy is None else [*entries, legacy])]
    entries = value if isinstance(value, list) else [value]
    return [_openai_call(one) for one in entries] if any(map(_is_openai, entries)) else None


def _is_openai(entry: Any) -> bool:
    if not isinstance(entry, dict):
        return False
    named = "name" in entry and isinstance(entry.get("arguments"), str)
    return named or isinstance(entry.get("function"), dict)


def _openai_call(entry: Any) -> Call:
    inner = entry.get("function", entry) if isinstance(entry, dict) else entry
    if not isinstance(inner, dict) or not isinstance(inner.get("arguments"), str):
        return call_of(inner, "arguments")
    text = inner["arguments"]
    try:
        arguments = _json.read(text) if text.strip() else {}
    except _json.Unreadable as error:
        raise Malformed(f"the arguments are not JSON: {error}") from error
    return call_of({**inner, "arguments": arguments}, "arguments")


def anthropic(value: Any) -> list[Call] | None:
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


def llama3(value: Any) -> list[Call] | None:
    """Read one `{"name", "parameters"}`.

    Source: Meta's prompt format of Llama 3.1, *JSON based tool calling*.
    """
    if not _is_plain(value) or "arguments" in value:
        return None
    return [call_of(value, "parameters")]


def plain(value: Any) -> list[Call] | None:
    """Read one `{"name", "arguments"}` or a list of them; `parameters` counts too."""
    entries = value if isinstance(value, list) else [value]
    if not any(map(_is_plain, entries)):
        return None
    return [call_of(one, "arguments", "parameters") for one in entries]


def _is_plain(value: Any) -> bool:
    return isinstance(value, dict) and "name" in value and bool(_KEYS & value.keys())


_KEYS = {"arguments", "parameters"}
