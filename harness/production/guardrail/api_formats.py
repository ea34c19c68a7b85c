"""Texts, tools and calls in the formats of OpenAI's and Anthropic's APIs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_OPERATOR = ("system", "developer", "assistant")
"""Roles whose texts are not the callers'."""


def all_texts(request: Mapping[str, Any]) -> Iterator[str]:
    """Yield every text of a request, the operator's and the model's own included."""
    for message in request.get("messages") or ():
        if isinstance(message, Mapping):
            yield from strings_in(message.get("content"))
    yield from strings_in(request.get("prompt"))
    yield from strings_in(request.get("system"))
    yield from strings_in(request.get("input"))
    yield from strings_in(request.get("instructions"))


def callers_strings(request: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of callers and tools in a request."""
    for message in request.get("messages") or ():
        if isinstance(message, Mapping) and message.get("role") not in _OPERATOR:
            yield from strings_in(message.get("name"))
            yield from strings_in(message.get("content"))
    yield from strings_in(request.get("prompt"))
    yield from strings_in(request.get("input"))


def callers_texts(request: dict[str, Any]) -> Iterator[Any]:
    """Yield the parts of a request that hold texts of callers and tools, to rewrite them."""
    for message in request.get("messages") or ():
        if isinstance(message, dict) and message.get("role") not in _OPERATOR:
            yield message
    for name in ("prompt", "input"):
        value = request.get(name)
        if isinstance(value, str):
            holder = [value]
            yield holder
            request[name] = holder[0]
        elif isinstance(value, list) and any(isinstance(part, Mapping) for part in value):
            yield from (part for part in value if not _is_operators(part))
        elif isinstance(value, list):
            yield value


def _is_operators(part: Any) -> bool:
    return not isinstance(part, Mapping) or part.get("role") in _OPERATOR


def strings_in(content: Any) -> Iterator[str]:
    """Yield the texts of a content: itself, or those of its parts at any depth."""
    rest = [content]
    while rest:
        part = rest.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, list):
            rest += reversed(part)
        elif isinstance(part, Mapping) and part.get("role") not in _OPERATOR:
            rest += [part[name] for name in reversed(text_keys(part)) if name in part]


def text_keys(part: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the keys of a request's part that hold a text or more parts."""
    own = ("data",) if part.get("type") == "text" else ()
    is_text = str(part.get("file_data", "")).startswith("data:text/")
    return (*_TEXT_KEYS, *own, *(("file_data",) if is_text else ()))


_TEXT_KEYS = ("title", "context", "text", "content", "output", "source", "file")


def thought_texts(parts: Any) -> Iterator[str]:
    """Yield the thoughts among the parts of an answer."""
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, Mapping) and part.get("type") in ("thinking", "reasoning"):
            yield from strings_in([part.get(name) for name in ("thinking", "summary", "content")])


def choices_of(response: Any) -> list[Mapping[str, Any]] | None:
    """Return the choices of an answer; None for embeddings, images and the like.

    `response` is a chat or text completion, a response of OpenAI's Responses API or a message of
    Anthropic's, as a model of litellm's or as a dictionary.
    """
    plain = response.model_dump() if hasattr(response, "model_dump") else response
    if not isinstance(plain, Mapping):
        return None
    if isinstance(plain.get("choices"), list):
        return list(plain["choices"])
    if isinstance(plain.get("output"), list):
        return [_choice(plain["output"])]
    if plain.get("role") == "assistant" and isinstance(plain.get("content"), list):
        return [_choice(plain["content"])]
    return None


def message_text(content: Any) -> str:
    """Return the text of a message's content: itself, or that of its parts."""
    if isinstance(content, list):
        return "".join(_part_texts([part for part in content if isinstance(part, Mapping)]))
    return content if isinstance(content, str) else ""


def offered_tools(request: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the tools of a request: name → JSON schema of the arguments."""
    tools = {}
    for tool in request.get("tools") or ():
        if isinstance(tool, Mapping):
            function = tool["function"] if isinstance(tool.get("function"), Mapping) else tool
            schema = function.get("parameters") or function.get("input_schema")
            tools[str(function.get("name"))] = schema or {"type": "object"}
    return tools


def _choice(parts: Sequence[Any]) -> Mapping[str, Any]:
    """Return the parts of an answer as one choice."""
    mappings = [part for part in parts if isinstance(part, Mapping)]
    text = "".join(_part_texts(mappings))
    calls = [_call(part) for part in mappings if part.get("type") in ("function_call", "tool_use")]
    message = {"role": "assistant", "content": text, "tool_calls": calls or None}
    thoughts = "\n".join(thought_texts(mappings))
    if thoughts:
        message["reasoning_content"] = thoughts
    return {"message": message, "finish_reason": None}


def _part_texts(parts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for part in parts:
        if part.get("type") in ("text", "output_text"):
            yield str(part.get("text") or "")
        elif part.get("type") == "message":
            inner = part.get("content") or ()
            yield from _part_texts([item for item in inner if isinstance(item, Mapping)])


def _call(part: Mapping[str, Any]) -> dict[str, Any]:
    arguments = part.get("arguments", part.get("input"))
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"type": "function", "function": {"name": part.get("name"), "arguments": text}}
