"""Prompts and answers in the form of the GenAI conventions, after redaction.

They are in spans only if somebody asked for it. Everything that is text goes through the redaction
first, also inside tool definitions and arguments; names of fields do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.records import Case, Completion
from harness.tracing import otlp

Redact = Callable[[str], str]
REDACTED = "__REDACTED__"
"""What stands for a text whose redaction failed (the marker of OpenInference)."""


@dataclass
class Content:
    """What is written of prompts and answers."""

    redact: Redact | None = None
    """Takes out what nobody may read; None leaves all as it is."""
    failed: int = 0
    """Texts that the redaction raised on; none of them was written."""

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

        Keys keep their order, in which a chat template writes tools into the prompt.
        """
        return otlp.json_text(self.clean(value))

    def _redacted(self, text: str) -> str:
        assert self.redact is not None
        try:
            found = self.redact(text)
        except Exception:  # the user's own code: what it could not read is not shown
            found = None
        if isinstance(found, str):
            return found
        self.failed += 1
        return REDACTED


def seen(case: Case, settings: Mapping[str, Any]) -> Case:
    """Return a case as the models saw it: the suite's system prompt is part of it.

    Asked without a system prompt and rendered as before, it gives the same prompt.

    Args:
        case: The case.
        settings: The suite's generation settings.
    """
    system = settings.get("system")
    if system is None:
        return case
    if settings.get("template") == "none":
        return case.model_copy(update={"prompt": f"{system}\n\n{case.prompt}"})
    turns = case.input_messages(system)
    return case.model_copy(update={"prompt": None, "messages": turns})


def input_messages(turns: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a conversation in the chat format as the conventions have it."""
    return [_message(turn) for turn in turns]


def output_messages(completion: Completion) -> list[dict[str, Any]]:
    """Return a completion as the conventions have it."""
    return [
        {
            "role": "assistant",
            "parts": [{"type": "text", "content": completion.text}],
            "finish_reason": completion.finish_reason or "unknown",
        }
    ]


def tool_definitions(tools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return tools in the chat template's format as the conventions have them: flat."""
    return [{"type": "function", **tool.get("function", tool)} for tool in tools]


def _message(turn: Mapping[str, Any]) -> dict[str, Any]:
    role, said = turn.get("role"), turn.get("content")
    if role == "tool":
        answer = {"type": "tool_call_response", "id": turn.get("tool_call_id"), "response": said}
        parts = [answer]
    else:
        parts = [*_said(said), *(_call(call) for call in turn.get("tool_calls") or ())]
    name = {"name": turn["name"]} if turn.get("name") else {}
    return {"role": role, "parts": parts, **name}


def _said(content: Any) -> list[dict[str, Any]]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    return [
        {"type": "text", "content": part["text"]} if part.get("type") == "text" else dict(part)
        for part in content
    ]


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function", call)
    made = {"type": "tool_call", "name": function.get("name")}
    if call.get("id"):
        made["id"] = call["id"]
    return {**made, "arguments": function.get("arguments")}
