"""A whole reply as the events of a stream, as OpenAI's and Anthropic's servers send them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

PIECE = 7
"""Characters of a text or of arguments in one event."""


def events(reply: Mapping[str, Any], *, usage: bool = True) -> Iterator[str]:
    """Yield the server-sent events of a reply, of `/v1/messages` or of `/chat/completions`."""
    if reply.get("type") == "message":
        for event in _anthropic(reply):
            yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n"
        return
    for chunk in _openai(reply, usage=usage):
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"


def pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces."""
    yield from (text[i : i + PIECE] for i in range(0, len(text), PIECE))


def _openai(reply: Mapping[str, Any], *, usage: bool) -> Iterator[dict[str, Any]]:
    (choice,) = reply["choices"]
    message = choice["message"]
    head = {k: v for k, v in reply.items() if k not in ("choices", "usage", "object")}

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choices = [{"index": 0, "delta": delta, "finish_reason": reason}]
        return {**head, "object": "chat.completion.chunk", "choices": choices}

    yield chunk({"role": "assistant", "content": ""})
    for piece in pieces(message["content"] or ""):
        yield chunk({"content": piece})
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call["function"]
        yield chunk(
            {"tool_calls": [{**call, "index": index, "function": {**function, "arguments": ""}}]}
        )
        for piece in pieces(function["arguments"]):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, choice["finish_reason"])
    if usage:
        yield {**chunk({}), "choices": [], "usage": reply["usage"]}


def _anthropic(reply: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    begun = {**reply, "content": [], "stop_reason": None}
    begun["usage"] = {**reply["usage"], "output_tokens": 1}
    yield {"type": "message_start", "message": begun}
    for index, block in enumerate(reply["content"]):
        is_text = block["type"] == "text"
        empty = {**block, "text": ""} if is_text else {**block, "input": {}}
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for piece in pieces(block["text"] if is_text else json.dumps(block["input"])):
            delta = (
                {"type": "text_delta", "text": piece}
                if is_text
                else {"type": "input_json_delta", "partial_json": piece}
            )
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": reply["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": reply["usage"]}
    yield {"type": "message_stop"}
