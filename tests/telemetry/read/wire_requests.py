"""Requests as they came over the wire → what a trace of them must give back, in chat form."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_APART = {"model", "messages", "tools", "system", "stream", "stream_options", "metadata", "user"}
"""What a request holds beside its settings."""


@dataclass(frozen=True)
class Asked:
    """One request in the form of OpenAI's chat API, with the contents as texts."""

    messages: tuple[dict[str, Any], ...]
    tools: tuple[dict[str, Any], ...]
    parameters: dict[str, Any]
    has_image: bool
    streams: bool


def asked(folder: Path) -> list[Asked]:
    """Return the requests of a recording, in the order in which they were answered."""
    lines = (folder / "asked.jsonl").read_text(encoding="utf-8").splitlines()
    return [_asked(json.loads(line)) for line in lines]


def comparable(messages: Any) -> list[dict[str, Any]]:
    """Return messages with the arguments of tool calls as what their JSON holds.

    Several instrumentations parse the arguments and so lose their spaces; the values must be kept.
    """
    return [
        {**m, "tool_calls": [_parsed(c) for c in m["tool_calls"]]} if "tool_calls" in m else dict(m)
        for m in messages
    ]


def _parsed(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": json.loads(function["arguments"])}}


def _asked(body: dict[str, Any]) -> Asked:
    if "input" in body:
        return _of_responses(body)
    is_anthropic = "system" in body or "top_k" in body or "input_schema" in str(body)
    is_anthropic |= "'source'" in str(body)
    messages = _anthropic(body) if is_anthropic else [_chat(m) for m in body["messages"]]
    return Asked(
        messages=tuple(messages),
        tools=tuple(_tool(t) for t in body.get("tools") or ()),
        parameters=_parameters(body),
        has_image="base64" in str(body["messages"]),
        streams=bool(body.get("stream")),
    )


def _of_responses(body: dict[str, Any]) -> Asked:
    given = body["input"]
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if "instructions" in body:
        items = [{"role": "system", "content": body["instructions"]}, *items]
    settings = {k: v for k, v in body.items() if k not in {*_APART, "input", "instructions"}}
    names = {"max_output_tokens": "max_tokens"}
    parameters = {names.get(name, name): value for name, value in settings.items()}
    if "text" in parameters:
        form = parameters.pop("text")["format"]
        schema = {name: value for name, value in form.items() if name != "type"}
        parameters["response_format"] = {"type": form["type"], "json_schema": schema}
    if "reasoning" in parameters:
        parameters["reasoning_effort"] = parameters.pop("reasoning")["effort"]
    if isinstance(parameters.get("tool_choice"), dict):
        name = parameters["tool_choice"]["name"]
        parameters["tool_choice"] = {"type": "function", "function": {"name": name}}
    return Asked(
        messages=tuple(_turns(items)),
        tools=tuple(
            {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}
            for tool in body.get("tools") or ()
        ),
        parameters=parameters,
        has_image="base64" in str(given),
        streams=bool(body.get("stream")),
    )


def _turns(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the items of the Responses API as turns: those of one answer are one."""
    turn: dict[str, Any] = {}
    for item in items:
        kind = item.get("type", "message")
        if kind in ("reasoning", "function_call") or item.get("role") == "assistant":
            turn = turn or {"role": "assistant", "content": ""}
            if kind == "reasoning":
                turn["reasoning_content"] = "".join(part["text"] for part in item["summary"])
            elif kind == "message":
                turn["content"] += _text(item["content"], "assistant")
            else:
                function = {"name": item["name"], "arguments": item["arguments"]}
                made = {"id": item["call_id"], "type": "function", "function": function}
                turn.setdefault("tool_calls", []).append(made)
            continue
        if turn:
            yield turn
            turn = {}
        if kind == "function_call_output":
            yield {"role": "tool", "content": item["output"], "tool_call_id": item["call_id"]}
        else:
            yield {"role": item["role"], "content": _text(item["content"], item["role"])}


def _chat(message: dict[str, Any]) -> dict[str, Any]:
    role = {"developer": "system"}.get(message["role"], message["role"])
    kept = {k: v for k, v in message.items() if k in ("tool_calls", "tool_call_id") and v}
    return {"role": role, "content": _text(message.get("content"), role), **kept}


def _text(content: Any, role: str) -> str:
    if isinstance(content, list):
        kinds = ("text", "input_text", "output_text")
        texts = [part["text"] for part in content if part["type"] in kinds]
        return ("" if role == "assistant" else "\n").join(texts)
    return content or ""


def _anthropic(body: dict[str, Any]) -> list[dict[str, Any]]:
    found = []
    if "system" in body:
        found.append({"role": "system", "content": _text(body["system"], "system")})
    for message in body["messages"]:
        blocks, role = message["content"], message["role"]
        blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
        for block in blocks:
            if block["type"] == "tool_result":
                found.append(
                    {
                        "role": "tool",
                        "content": block["content"],
                        "tool_call_id": block["tool_use_id"],
                    }
                )
        calls = [
            {
                "id": block["id"],
                "type": "function",
                "function": {"name": block["name"], "arguments": json.dumps(block["input"])},
            }
            for block in blocks
            if block["type"] == "tool_use"
        ]
        said = {"role": role, "content": _text(blocks, role)}
        found.append(said | ({"tool_calls": calls} if calls else {}))
    return found


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if "input_schema" in tool:
        named = {"name": tool["name"], "description": tool["description"]}
        return {"type": "function", "function": {**named, "parameters": tool["input_schema"]}}
    return tool


def _parameters(body: dict[str, Any]) -> dict[str, Any]:
    names = {"stop_sequences": "stop", "max_completion_tokens": "max_tokens"}
    found = {names.get(k, k): v for k, v in body.items() if k not in _APART and v is not None}
    if isinstance(found.get("stop"), str):
        found["stop"] = [found["stop"]]
    if isinstance(found.get("tool_choice"), dict) and "type" in found["tool_choice"]:
        found["tool_choice"] = found["tool_choice"]["type"]
    return found
