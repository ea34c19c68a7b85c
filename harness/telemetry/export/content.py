"""Content of prompts and answers in the form of the GenAI conventions, after redaction.

It is in spans only if the user asked for it. All text is redacted first, also inside tool
definitions and arguments; names of fields are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.images import is_image
from tunegate.harness.telemetry.export import otlp_json

Redact = Callable[[str], str]
REDACTED = "__REDACTED__"
"""Replacement for a text whose redaction failed (the marker of OpenInference)."""


@dataclass
class ContentCapture:
    """Parts of prompts and answers that are written."""

    redact: Redact | None = None
    """Removes what nobody may read; None leaves texts as they are."""
    failed: int = 0
    """Texts on which the redaction failed; they were not written."""

    def clean(self, value: Any) -> Any:
        """Return a JSON value with every text in it redacted."""
        if self.redact is None:
            return value
        if isinstance(value, str):
            return self._redacted(value)
        if isinstance(value, Mapping):
            return {name: self.clean(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.clean(item) for item in value]
        return value

    def json(self, value: Any) -> str:
        """Return a value as the JSON text that a span's attribute holds, redacted.

        Keys keep their order: chat templates write tools in it.
        """
        return otlp_json.json_text(self.clean(value))

    def _redacted(self, text: str) -> str:
        assert self.redact is not None
        try:
            redacted = self.redact(text)
        except Exception:  # the user's own code
            redacted = None
        if isinstance(redacted, str):
            return redacted
        self.failed += 1
        return REDACTED


def case_with_system(case: Case, settings: Mapping[str, Any]) -> Case:
    """Return a case with the system prompt of the suite's generation settings in it.

    Rendered without a system prompt it gives the same prompt.
    """
    system = settings.get("system")
    if system is None or case.without_system:
        return case
    if settings.get("template") == "none":
        return case.model_copy(update={"prompt": f"{system}\n\n{case.prompt}"})
    turns = case.input_messages(system)
    return case.model_copy(update={"prompt": None, "messages": turns})


def input_messages(turns: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a conversation in the chat format as the conventions have it."""
    return [_message(turn) for turn in turns]


def output_messages(completion: Completion) -> list[dict[str, Any]]:
    """Return a completion as the conventions have it, thoughts as a part of their own."""
    thoughts = completion.reasoning
    before = [] if thoughts is None else [{"type": "reasoning", "content": thoughts}]
    return [
        {
            "role": "assistant",
            "parts": [*before, {"type": "text", "content": completion.text}],
            "finish_reason": completion.finish_reason or "unknown",
        }
    ]


def tool_definitions(tools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return tools in the chat template's format as the conventions have them: flat."""
    return [{"type": "function", **tool.get("function", tool)} for tool in tools]


def _message(turn: Mapping[str, Any]) -> dict[str, Any]:
    role, content = turn.get("role"), turn.get("content")
    if role == "tool":
        answer = {"type": "tool_call_response", "id": turn.get("tool_call_id"), "response": content}
        parts = [answer]
    else:
        parts = [*_content_parts(content), *(_call(call) for call in turn.get("tool_calls") or ())]
    name = {"name": turn["name"]} if turn.get("name") else {}
    return {"role": role, "parts": parts, **name}


def _content_parts(content: Any) -> list[dict[str, Any]]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    return [*map(_content_part, content)]


def _content_part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part.get("type") == "text":
        return {"type": "text", "content": part["text"]}
    if is_image(part):
        image = {"modality": "image", "uri": part["image"], "sha256": part["sha256"]}
        return {"type": "uri", **image}
    return dict(part)


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function", call)
    part = {"type": "tool_call", "name": function.get("name")}
    if call.get("id"):
        part["id"] = call["id"]
    return {**part, "arguments": function.get("arguments")}
