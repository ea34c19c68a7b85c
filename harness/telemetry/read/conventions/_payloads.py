"""Payloads: the whole request and the whole reply of a model's API.

In the forms of OpenAI's chat and Responses APIs, of Anthropic's messages, and of LangChain's
serialized messages and results.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from tunegate.harness.telemetry.read.conventions._flattened import dump_text, load_json
from tunegate.harness.telemetry.read.conventions._messages import (
    FirstAnswer,
    MessageParts,
    MessageTranscript,
    message_answer,
    tool_call,
)

_ENDS = {"completed": "stop", "incomplete": "length"}
_LANGCHAIN = {"HumanMessage": "user", "AIMessage": "assistant", "SystemMessage": "system"}
_LANGCHAIN |= {"ToolMessage": "tool"} | {f"{k}Chunk": v for k, v in _LANGCHAIN.items()}
_TYPES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}
_TOKENS_IN = ("input_tokens", "prompt_tokens", "inputTokens", "input")
_TOKENS_OUT = ("output_tokens", "completion_tokens", "outputTokens", "output")


def request_transcript(
    request: Any, convert: Callable[[Any], Any] = lambda message: message
) -> MessageTranscript:
    """Return the messages of a request, of a list of messages, or of a prompt.

    `convert` returns each message in a form that is known here.
    """
    transcript = MessageTranscript()
    values: Any = request
    systems: tuple[Any, ...] = ()
    if isinstance(request, Mapping):
        names = ("messages", "input", "prompt", "prompts")
        values = next((request[name] for name in names if request.get(name)), None)
        systems = (request.get("instructions"), request.get("system"))
    if isinstance(values, list | tuple) and len(values) == 1 and isinstance(values[0], list):
        values = values[0]  # LangChain's batch of one
    for value in values if isinstance(values, list | tuple) else [values]:
        if value is not None:
            transcript.add(_turn(plain_message(convert(value))))
    for system in systems:
        transcript.add_system(system)
    return transcript


def plain_message(value: Any) -> Any:
    """Return a message with its role, which LangChain writes as a type or a class."""
    if not isinstance(value, Mapping):
        return value
    fields, kind = value.get("kwargs"), value.get("id")
    if isinstance(fields, Mapping) and "role" not in value:
        named = str(kind[-1]) if isinstance(kind, list) and kind else ""
        return {"role": _LANGCHAIN.get(named, "assistant"), **fields}
    data = value.get("data")
    if value.get("type") in _TYPES and "role" not in value:
        return {**(data if isinstance(data, Mapping) else value), "role": _TYPES[value["type"]]}
    return value


def _turn(item: Any) -> Any:
    """Return an item of the Responses API as a message, if it is not one already."""
    if not isinstance(item, Mapping) or "role" in item or item.get("type") in (None, "message"):
        return item
    if item["type"] == "reasoning":
        thoughts = [part["text"] for part in item.get("summary") or ()]
        return _assistant_turn({"type": "reasoning", "text": "".join(thoughts)})
    if item["type"] == "function_call":
        return _assistant_turn({**item, "id": item.get("call_id", item.get("id"))})
    if item["type"] == "function_call_output":
        return {"role": "user", "content": [item]}
    return _assistant_turn(item)


def _assistant_turn(part: Mapping[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": [part]}


def reply_answer(reply: Any) -> FirstAnswer:
    """Return the first answer of a reply; an empty one for unknown forms."""
    if isinstance(reply, list | tuple):
        return reply_answer(reply[0]) if reply else FirstAnswer()
    if not isinstance(reply, Mapping):
        return FirstAnswer(reply) if isinstance(reply, str) and reply else FirstAnswer()
    choices, generations = reply.get("choices"), reply.get("generations")
    if isinstance(choices, list) and choices:
        choice = choices[0]
        if isinstance(choice, Mapping) and "message" not in choice and "text" in choice:
            return FirstAnswer(choice["text"], (), choice.get("finish_reason"))
        return message_answer(choice)
    if isinstance(generations, list) and generations:
        return _generation(generations[0])
    if reply.get("object") == "response" or isinstance(reply.get("output"), list):
        return _response(reply)
    if "content" in reply or "tool_calls" in reply or isinstance(reply.get("kwargs"), Mapping):
        said = message_answer(plain_message(reply))
        reason = reply.get("stop_reason")
        return replace(said, finish_reason=reason) if isinstance(reason, str) else said
    return FirstAnswer()


def _response(reply: Mapping[str, Any]) -> FirstAnswer:
    """Return the answer of OpenAI's Responses API: its items are one turn."""
    turn, parts = MessageTranscript(), MessageParts()
    for item in reply.get("output") or ():
        turn.add(_turn(item), "assistant")
        parts.add(item.get("content") if item.get("type") == "message" else item)
    if not turn.messages:
        return FirstAnswer()
    calls = tuple(call for message in turn.messages for call in message.get("tool_calls", ()))
    text = "".join(message["content"] for message in turn.messages)
    reason = (reply.get("incomplete_details") or {}).get("reason")
    ended = reason or _ENDS.get(str(reply.get("status")))
    reason = "tool_calls" if calls and ended == "stop" else ended
    return FirstAnswer(text, calls, reason, parts.ran)


def _generation(first: Any) -> FirstAnswer:
    """Return the answer of a LangChain generation, or of a batch of them."""
    generation = first[0] if isinstance(first, list) else first
    message = (
        plain_message(generation["message"])
        if "message" in generation
        else {"content": generation["text"]}
    )
    reason = (generation.get("generation_info") or {}).get("finish_reason")
    reason = reason or (message.get("response_metadata") or {}).get("finish_reason")
    return message_answer({"message": message, "finish_reason": reason})


def reply_tokens(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tokens in a usage object as fields of a call."""
    found = {"input_tokens": _count(usage, _TOKENS_IN), "output_tokens": _count(usage, _TOKENS_OUT)}
    return {name: count for name, count in found.items() if count is not None}


def _count(usage: Mapping[str, Any], names: Iterable[str]) -> int | None:
    return next((usage[name] for name in names if usage.get(name) is not None), None)


def load_python(value: Any) -> Any:
    """Return the value of a text in JSON or in Python's repr."""
    text = load_json(value)
    if not isinstance(text, str) or text[:1] not in ("{", "["):
        return text
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text


def join_deltas(deltas: list[Any]) -> list[dict[str, Any]]:
    """Return the tool calls in the pieces of a stream."""
    calls: dict[str, dict[str, Any]] = {}
    for delta in deltas:
        function = delta["function"]
        call = calls.setdefault(str(delta.get("index")), {"arguments": ""})
        call["id"] = call.get("id") or delta.get("id")
        call["name"] = call.get("name") or function.get("name")
        call["arguments"] += dump_text(function.get("arguments") or "")
    return [tool_call(call) for call in calls.values()]
