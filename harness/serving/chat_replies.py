"""Chat replies: an answer as OpenAI's API returns it, whole or as a stream."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from tunegate.harness.episodes.transcript import (
    UnreadableCall,
    turn_calls,
)
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.hashing import sha256
from tunegate.harness.serving.chat_requests import ChatRequest


def completion_reply(chat: ChatRequest, done: Completion, key: str) -> dict[str, Any]:
    """Return an answer as OpenAI's API has it; malformed tool calls stay text."""
    text = done.text or ""
    try:
        calls = turn_calls(text, chat.tools) if chat.tools else ()
    except UnreadableCall:
        calls = ()
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if done.reasoning:
        message["reasoning_content"] = done.reasoning
    if calls:
        before = text.partition("<tool_call>")[0].strip() if "<tool_call>" in text else ""
        message["content"] = before or None
        message["tool_calls"] = [
            {
                "id": sha256([key, index])[:9],  # Mistral's templates require nine characters
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(dict(call.arguments))},
            }
            for index, call in enumerate(calls)
        ]
    finish = "tool_calls" if calls else done.finish_reason or "stop"
    read, written = done.input_tokens or 0, done.output_tokens or 0
    return {
        "id": f"chatcmpl-{key[:24]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": chat.arm,
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
        "usage": {
            "prompt_tokens": read,
            "completion_tokens": written,
            "total_tokens": read + written,
        },
    }


def stream_events(reply: Mapping[str, Any], *, usage: bool = False) -> Iterator[str]:
    """Yield a reply as server-sent events: the message in one piece, its end, its usage if asked.

    The chunk with the usage has no choice, which clients that did not ask for it do not expect.
    """
    (choice,) = reply["choices"]
    delta = dict(choice["message"])
    if calls := delta.get("tool_calls"):
        delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls)]
    head = {**{k: reply[k] for k in ("id", "created", "model")}, "object": "chat.completion.chunk"}
    finish = choice["finish_reason"]
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
    ]
    if usage:
        chunks = [chunk | {"usage": None} for chunk in chunks]
        chunks.append({"choices": [], "usage": reply["usage"]})
    for chunk in chunks:
        yield f"data: {json.dumps(head | chunk)}\n\n"
    yield "data: [DONE]\n\n"
