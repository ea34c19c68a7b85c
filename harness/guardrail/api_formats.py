"""API formats: answers and tools of three interfaces as OpenAI's chat completions have them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def choices_of(response: Any) -> list[Mapping[str, Any]] | None:
    """Return the choices of an answer; None of what is no answer in words (embeddings, images).

    Args:
        response: A chat or text completion, a response of OpenAI's responses API or a message of
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


def said(content: Any) -> str:
    """Return the text of a message's content: itself, or that of its parts."""
    if isinstance(content, list):
        return "".join(_texts([part for part in content if isinstance(part, Mapping)]))
    return content if isinstance(content, str) else ""


def offered(request: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the tools of a request: name → JSON schema of the arguments."""
    found = {}
    for tool in request.get("tools") or ():
        if isinstance(tool, Mapping):
            told = tool["function"] if isinstance(tool.get("function"), Mapping) else tool
            schema = told.get("parameters") or told.get("input_schema") or {"type": "object"}
            found[str(told.get("name"))] = schema
    return found


def _choice(parts: Sequence[Any]) -> Mapping[str, Any]:
    """Return one choice of the parts of an answer."""
    known = [part for part in parts if isinstance(part, Mapping)]
    text = "".join(_texts(known))
    calls = [_call(part) for part in known if part.get("type") in ("function_call", "tool_use")]
    message = {"role": "assistant", "content": text, "tool_calls": calls or None}
    return {"message": message, "finish_reason": None}


def _texts(parts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for part in parts:
        if part.get("type") in ("text", "output_text"):
            yield str(part.get("text") or "")
        elif part.get("type") == "message":
            inner = part.get("content") or ()
            yield from _texts([one for one in inner if isinstance(one, Mapping)])


def _call(part: Mapping[str, Any]) -> dict[str, Any]:
    arguments = part.get("arguments", part.get("input"))
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"type": "function", "function": {"name": part.get("name"), "arguments": text}}
