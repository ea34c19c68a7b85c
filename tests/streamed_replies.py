"""A whole reply as the events of a stream, as OpenAI's and Anthropic's servers send them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

PIECE = 7
"""Characters of a text or of arguments in one event."""


def events(reply: Mapping[str, Any], *, usage: bool = True) -> Iterator[str]:
    """Yield the server-sent events of a reply: messages, responses or chat completions."""
    if reply.get("type") == "message" or reply.get("object") == "response":
        for event in _anthropic(reply) if "content" in reply else _responses(reply):
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


def _responses(reply: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    begun = {**reply, "status": "in_progress", "output": [], "usage": None}
    sent = [{"type": f"response.{name}", "response": begun} for name in ("created", "in_progress")]
    for index, item in enumerate(reply["output"]):
        place = {"output_index": index, "item_id": item["id"]}
        empty = {**item, "content": []} if item["type"] == "message" else dict(item)
        if item["type"] == "function_call":
            empty["arguments"] = ""
        sent.append({"type": "response.output_item.added", "output_index": index, "item": empty})
        if item["type"] == "message":
            sent += _texts(item, place)
        elif item["type"] == "function_call":
            name, told = "response.function_call_arguments", item["arguments"]
            sent += [{"type": f"{name}.delta", **place, "delta": part} for part in pieces(told)]
            sent.append({"type": f"{name}.done", **place, "name": item["name"], "arguments": told})
        sent.append({"type": "response.output_item.done", "output_index": index, "item": item})
    sent.append({"type": "response.completed", "response": reply})
    yield from ({**event, "sequence_number": number} for number, event in enumerate(sent))


def _texts(item: Mapping[str, Any], place: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    (part,) = item["content"]
    here = {**place, "content_index": 0}
    yield {"type": "response.content_part.added", **here, "part": {**part, "text": ""}}
    for piece in pieces(part["text"]):
        yield {"type": "response.output_text.delta", **here, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **here, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **here, "part": part}
