"""The parts of one message, whoever wrote them: OpenTelemetry, OpenAI, Anthropic, LlamaIndex …"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.tracing.conventions._json import loaded, structured, written

REDACTED = "__REDACTED__"
"""What OpenInference writes in place of a text that its settings hide."""

_TEXT = ("text", "input_text", "output_text", "refusal")
_REASONING = ("reasoning", "thinking", "redacted_thinking")
_CALL = ("tool_call", "tool_use", "function", "function_call", "tool-call")
_RESULT = ("tool_call_response", "tool_result", "tool-result", "function_call_output")
_MEDIA = {
    "image": "an image", "image_url": "an image", "input_image": "an image",
    "audio": "audio", "input_audio": "audio", "video": "a video",
    "file": "a file", "input_file": "a file", "document": "a file",
}  # fmt: skip
_LOCATED = {"blob", "uri", "file"}
"""Parts of OpenTelemetry whose `modality` or `mime_type` says what they are."""


@dataclass(slots=True)
class Parts:
    """What the parts of a message come to."""

    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    """Tool calls in OpenAI's form."""
    results: list[dict[str, Any]] = field(default_factory=list)
    """Messages of the role `tool`."""
    obstacles: list[str] = field(default_factory=list)
    """What cannot be sent again: `an image`, `a part of the type 'compaction'`."""

    def add(self, parts: Any) -> None:
        """Sort one part or a list of them in; None adds nothing."""
        if isinstance(parts, list | tuple):
            for part in parts:
                self._add(part)
        elif parts is not None:
            self._add(parts)

    def _add(self, part: Any) -> None:
        if not isinstance(part, Mapping):
            self.texts.append(written(part))
            return
        part = _unwrapped(part)
        kind = _first(part, "type", "block_type")
        if kind in _TEXT or (kind is None and isinstance(part.get("text"), str)):
            self.texts.append(written(_first(part, "content", "text", "refusal") or ""))
        elif kind in _REASONING:
            self.reasoning.append(written(_first(part, "content", "thinking", "text") or ""))
        elif kind in _CALL:
            self.calls.append(tool_call(part))
        elif kind in _RESULT:
            self._result(part)
        else:
            self.obstacles.append(_medium(part))

    def _result(self, part: Mapping[str, Any]) -> None:
        said = Parts()
        value = _first(part, "response", "result", "content", "output")
        blocks = structured(value) if isinstance(value, list | tuple) else None
        if blocks and all(isinstance(b, Mapping) and "type" in b for b in blocks):
            said.add(blocks)
        elif value is not None:
            said.texts.append(written(value))
        known = _first(part, "id", "tool_use_id", "tool_call_id", "call_id")
        self.results.append(
            {"role": "tool", "content": "\n".join(said.texts)}
            | ({"tool_call_id": known} if isinstance(known, str) else {})
        )
        self.obstacles += said.obstacles


def tool_call(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool call in OpenAI's form, with the arguments as JSON text."""
    call = _unwrapped(value)
    function = call.get("function")
    inner = function if isinstance(function, Mapping) else call
    name = _first(inner, "name", "tool_name")
    arguments = _first(inner, "arguments", "args", "input", "tool_kwargs")
    known = _first(call, "id", "tool_call_id", "call_id")
    return ({"id": known} if isinstance(known, str) and known else {}) | {
        "type": "function",
        "function": {
            "name": "" if name is None else written(name),
            "arguments": "{}" if arguments is None else written(arguments),
        },
    }


def tool_calls(values: Any) -> list[dict[str, Any]]:
    """Return the tool calls of a list, or of its JSON; what is no object is none."""
    found = loaded(values)
    listed: Iterable[Any] = found if isinstance(found, list | tuple) else ()
    return [tool_call(value) for value in listed if isinstance(value, Mapping)]


def _unwrapped(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what OpenInference nests one level deeper: `message_content`, `tool_call`."""
    inner = [value.get(name) for name in ("message_content", "tool_call")]
    levels = [level for level in inner if isinstance(level, Mapping)]
    return {name: held for level in levels for name, held in level.items()} or value


def _medium(part: Mapping[str, Any]) -> str:
    kind = str(_first(part, "type", "block_type"))
    if kind in _LOCATED:
        told = part.get("modality") or str(part.get("mime_type") or "").partition("/")[0]
        return _MEDIA.get(str(told), "a file")
    if kind in _MEDIA:
        return _MEDIA[kind]
    return f"a part of the type {kind[:40]!r}"


def _first(value: Mapping[str, Any], *names: str) -> Any:
    return next((value[name] for name in names if value.get(name) is not None), None)
