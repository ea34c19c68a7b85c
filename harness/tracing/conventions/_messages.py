"""Messages as a trace holds them → OpenAI's chat messages, and what stands against asking again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.tracing.conventions._json import written
from harness.tracing.conventions._parts import REDACTED, Parts, tool_call, tool_calls

ROLES = {
    "human": "user", "developer": "system", "ai": "assistant", "model": "assistant",
    "chatbot": "assistant", "function": "tool",
}  # fmt: skip
"""Roles that others give → those of chat templates."""


@dataclass(slots=True)
class Transcript:
    """A conversation that is being read."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)
    """Why it cannot be asked again, in the order of the messages."""

    def add_system(self, parts: Any) -> None:
        """Put a system prompt first: a text, a part or a list of parts."""
        read = Parts()
        read.add(parts)
        if read.texts:
            self.messages.insert(0, {"role": "system", "content": "\n".join(read.texts)})
        self.obstacles += [f"{what} in the system prompt" for what in read.obstacles]

    def add(self, value: Any, role: str = "user") -> None:
        """Add a message; `role` is for one that names none.

        A message of Anthropic's holds the results of several tools and then a text: it becomes
        several messages.
        """
        if not isinstance(value, Mapping):
            value = {"content": value}
        message = _unwrapped(value)
        named = str(message.get("role") or role).lower()
        read = _parts(message)
        if named == "user" and isinstance(known := message.get("tool_call_id"), str):
            # traceAI writes the result of Anthropic's tools as the first text of a message.
            said = {"role": "tool", "content": "".join(read.texts[:1]), "tool_call_id": known}
            read.results, read.texts = [said], read.texts[1:]
        place = f"message {len(self.messages) + 1}"
        self.obstacles += [f"{what} in {place}" for what in read.obstacles]
        if REDACTED in (*read.texts, *(r["content"] for r in read.results)):
            self.obstacles.append(f"{place} was recorded as {REDACTED}")
        self.messages += read.results
        if read.results and not read.texts and not read.calls:
            return
        self.messages.append(_message(ROLES.get(named, named), message, read))
        if not (read.texts or read.calls or read.obstacles):
            self.obstacles.append(f"{place} was recorded without its content")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back first."""

    text: str | None = None
    calls: tuple[Mapping[str, Any], ...] = ()
    finish_reason: str | None = None


def answer(value: Any) -> Answer:
    """Return the answer that a message, or a choice that holds one, is."""
    if not isinstance(value, Mapping):
        return Answer(None if value is None else written(value))
    message = _unwrapped(value)
    read = _parts(message)
    reason = value.get("finish_reason") or message.get("finish_reason")
    held = read.texts or read.calls or read.reasoning
    return Answer(
        "".join(read.texts) if held else None,
        tuple(read.calls),
        reason if isinstance(reason, str) else None,
    )


def _unwrapped(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the message in `{"message": {…}}`, as OpenInference and choices have it."""
    inner = value.get("message")
    return inner if isinstance(inner, Mapping) else value


def _parts(message: Mapping[str, Any]) -> Parts:
    read = Parts()
    for name in ("content", "parts", "contents", "blocks"):
        read.add(message.get(name))
    # OpenInference and LlamaIndex tell of the same calls twice.
    read.calls = (
        tool_calls(message.get("tool_calls"))
        or read.calls
        or tool_calls(_more(message).get("tool_calls"))
        or list(_function_call(message))
    )
    if isinstance(reasoning := message.get("reasoning_content"), str):
        read.reasoning.append(reasoning)
    return read


def _more(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where LlamaIndex and LangChain keep what their own classes have no field for."""
    more = message.get("additional_kwargs")
    return more if isinstance(more, Mapping) else {}


def _function_call(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the one call of a message from before there were lists of them."""
    if isinstance(call := message.get("function_call"), Mapping):
        yield tool_call(call)
    elif isinstance(name := message.get("function_call_name"), str):
        arguments = message.get("function_call_arguments_json")
        yield tool_call({"name": name, "arguments": arguments})


def _message(role: str, source: Mapping[str, Any], read: Parts) -> dict[str, Any]:
    # A model's own parts are pieces of one text; those of others are texts of their own.
    content = ("" if role == "assistant" else "\n").join(read.texts)
    message: dict[str, Any] = {"role": role, "content": content}
    if read.calls:
        message["tool_calls"] = read.calls
    if read.reasoning and role == "assistant":
        message["reasoning_content"] = "".join(read.reasoning)
    known = source.get("tool_call_id") or source.get("id") or _more(source).get("tool_call_id")
    if role == "tool" and isinstance(known, str):
        message["tool_call_id"] = known
    if isinstance(name := source.get("name"), str) and name:
        message["name"] = name
    return message
