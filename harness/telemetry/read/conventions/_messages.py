"""Messages of a trace → OpenAI chat messages, with the reasons that prevent a replay."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from tunegate.harness.telemetry.read.conventions._flattened import (
    dump_javascript,
    dump_text,
    load_json,
    load_structure,
)

ROLES = {
    "human": "user", "developer": "system", "ai": "assistant", "model": "assistant",
    "chatbot": "assistant", "function": "tool",
    "tool-call": "assistant", "tool-response": "user",  # smolagents
}  # fmt: skip
"""Roles that others give → those of chat templates."""


class RecordGap(str):
    """An obstacle that another record of the request may fill: something is missing."""

    __slots__ = ()


class LastingObstacle(str):
    """An obstacle that no record of the request can remove: an image, a file, a search."""

    __slots__ = ()


@dataclass(slots=True)
class MessageTranscript:
    """A conversation that is being read."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)
    """Why it cannot be asked again, in the order of the messages."""

    def add_system(self, parts: Any) -> None:
        """Put a system prompt first: a text, a part or a list of parts."""
        read = MessageParts()
        read.add(parts)
        if read.texts:
            self.messages.insert(0, {"role": "system", "content": "\n".join(read.texts)})
        self.obstacles += [_with_place(what, "the system prompt") for what in read.obstacles]

    def add(self, value: Any, role: str = "user") -> None:
        """Add a message; `role` is for one that names none.

        A message of Anthropic's with results of several tools and a text becomes several messages.
        The thought, text and calls of one turn, which OpenAI's Responses API has as items, become
        one.
        """
        if not isinstance(value, Mapping):
            value = {"content": value}
        message = _unwrap_message(value)
        named = str(message.get("role") or role).lower()
        read = _parts(message)
        if named == "user" and isinstance(call_id := message.get("tool_call_id"), str):
            # traceAI writes the result of Anthropic's tools as the first text of a message.
            said = {"role": "tool", "content": "".join(read.texts[:1]), "tool_call_id": call_id}
            read.results, read.texts = [said], read.texts[1:]
        place = f"message {len(self.messages) + 1}"
        self.obstacles += [_with_place(what, place) for what in read.obstacles]
        for hidden in REDACTIONS & {*read.texts, *(r["content"] for r in read.results)}:
            self.obstacles.append(RecordGap(f"{place} was recorded as {hidden}"))
        self.messages += read.results
        if read.results and not read.texts and not read.calls:
            return
        self._append(_message(ROLES.get(named, named), message, read))
        held = read.texts or read.calls or read.obstacles or read.reasoning
        if not held and named not in ("system", "developer"):  # may be empty
            self.obstacles.append(RecordGap(f"{place} was recorded without its content"))

    def _append(self, message: dict[str, Any]) -> None:
        before = self.messages[-1] if self.messages else {}
        is_turn = before.get("role") == message["role"] == "assistant"
        if not is_turn or (before["content"] and message["content"]):
            self.messages.append(message)
            return
        for name in ("content", "tool_calls", "reasoning_content"):
            if name in message:
                before[name] = before[name] + message[name] if name in before else message[name]

    def pair(self) -> None:
        """Give tool calls the ids of their results.

        The Responses API has two ids for a call, and its result names only one of them.
        """
        for at, message in enumerate(self.messages):
            calls = message.get("tool_calls", ())
            results = list(takewhile(lambda m: m["role"] == "tool", self.messages[at + 1 :]))
            named = [result.get("tool_call_id") for result in results]
            if None in named or len(named) != len(calls):
                continue
            if set(named) != {call.get("id") for call in calls}:
                pairs = zip(calls, named, strict=True)
                message["tool_calls"] = [{**call, "id": call_id} for call, call_id in pairs]


def _with_place(what: str, place: str) -> str:
    return (LastingObstacle if isinstance(what, LastingObstacle) else str)(f"{what} in {place}")


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """The first reply."""

    text: str | None = None
    calls: tuple[Mapping[str, Any], ...] = ()
    finish_reason: str | None = None
    ran: str | None = None
    """The tool that the provider ran for it, such as `web_search`."""


def answer_of(values: Sequence[Any], choices: Any = 1) -> FirstAnswer:
    """Return the first answer in a list: of `choices` answers, or in pieces of a single one."""
    answer = message_answer(values[0]) if values else FirstAnswer()
    for value in values[1:] if choices in (None, 1) else ():
        more = message_answer(value)
        if answer.text and more.text:
            break
        text = None if answer.text is more.text is None else (answer.text or "") + (more.text or "")
        reason = more.finish_reason or answer.finish_reason
        ran = answer.ran or more.ran
        answer = FirstAnswer(text, (*answer.calls, *more.calls), reason, ran)
    return answer


def message_answer(value: Any) -> FirstAnswer:
    """Return the answer in a message, or in a choice that holds one."""
    if not isinstance(value, Mapping):
        return FirstAnswer(None if value is None else dump_text(value))
    message = _unwrap_message(value)
    read = _parts(message)
    reason = value.get("finish_reason") or message.get("finish_reason")
    held = read.texts or read.calls or read.reasoning
    return FirstAnswer(
        "".join(read.texts) if held else None,
        tuple(read.calls),
        reason if isinstance(reason, str) else None,
        read.ran or _cited_search(message),
    )


def _unwrap_message(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the message in `{"message": {…}}`, as OpenInference and choices have it.

    OpenInference has the texts of completions in `{"prompt": {…}}` and `{"completion": {…}}`.
    """
    for name in ("message", "prompt", "completion"):
        if isinstance(inner := value.get(name), Mapping):
            return inner
    return value


def _parts(message: Mapping[str, Any]) -> MessageParts:
    read = MessageParts()
    whole = _first(message, "content", "text")
    for name in ("contents", "parts", "blocks"):
        read.add(message.get(name))
    # OpenInference's agents write a text as `content`, and once more as the only one of `contents`.
    if not (isinstance(whole, str) and whole and "".join(read.texts) == whole):
        texts, read.texts = read.texts, []
        read.add(whole)
        read.texts += texts
    # OpenInference and LlamaIndex report the same calls twice.
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
    """Return where LlamaIndex and LangChain keep what their classes have no fields for."""
    more = message.get("additional_kwargs")
    return more if isinstance(more, Mapping) else {}


def _function_call(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the single call of OpenAI's older API."""
    if isinstance(call := message.get("function_call"), Mapping):
        yield tool_call(call)
    elif isinstance(name := message.get("function_call_name"), str):
        arguments = message.get("function_call_arguments_json")
        yield tool_call({"name": name, "arguments": arguments})


def _message(role: str, source: Mapping[str, Any], read: MessageParts) -> dict[str, Any]:
    # A model's own parts are pieces of one text; those of others are texts of their own.
    content = ("" if role == "assistant" else "\n").join(read.texts)
    message: dict[str, Any] = {"role": role, "content": content}
    if read.calls:
        message["tool_calls"] = read.calls
    if any(read.reasoning) and role == "assistant":
        message["reasoning_content"] = "".join(read.reasoning)
    call_id = source.get("tool_call_id") or source.get("id") or _more(source).get("tool_call_id")
    if role == "tool" and isinstance(call_id, str):
        message["tool_call_id"] = call_id
    if isinstance(name := source.get("name"), str) and name:
        message["name"] = name
    return message


REDACTIONS = {"__REDACTED__", "redacted-by-litellm"}
"""Placeholders of OpenInference and litellm for a text that their settings hide."""

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
"""Parts of OpenTelemetry that `modality` or `mime_type` describes."""


@dataclass(slots=True)
class MessageParts:
    """The parts of a message as one text."""

    texts: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    """Tool calls in OpenAI's form."""
    results: list[dict[str, Any]] = field(default_factory=list)
    """Messages of the role `tool`."""
    obstacles: list[str] = field(default_factory=list)
    """A part that cannot be sent again: `an image`, `a part of the type 'compaction'`."""
    ran: str | None = None
    """The tool that the provider ran, by its call, its result or what the text cites."""

    def add(self, parts: Any) -> None:
        """Add one part or a list of them; None adds nothing."""
        if isinstance(parts, list | tuple):
            for part in parts:
                self._add(part)
        elif parts is not None:
            self._add(parts)

    def _add(self, part: Any) -> None:
        if not isinstance(part, Mapping):
            self.texts.append(dump_text(part))
            return
        part = _unwrapped_part(part)
        kind = _first(part, "type", "block_type")
        if kind in _TEXT or (kind is None and isinstance(part.get("text"), str)):
            self.texts.append(dump_text(_first(part, "content", "text", "refusal") or ""))
        elif kind in _REASONING:
            self.reasoning.append(dump_text(_first(part, "content", "thinking", "text") or ""))
        elif kind in _CALL:
            self.calls.append(tool_call(part))
        elif kind in _RESULT:
            self._result(part)
        else:
            self.obstacles.append(_medium(part))
        self.ran = self.ran or _ran_tool(kind, part) or _cited_search(part)

    def _result(self, part: Mapping[str, Any]) -> None:
        said = MessageParts()
        value = _first(part, "response", "result", "content", "output")
        if isinstance(value, Mapping) and value.keys() == {"type", "value"}:
            value = _sdk_result(value)
        blocks = load_structure(value) if isinstance(value, list | tuple) else None
        if blocks and all(isinstance(b, Mapping) and "type" in b for b in blocks):
            said.add(blocks)
        elif value is not None:
            # Only programs in JavaScript leave a result as an object.
            said.texts.append(value if isinstance(value, str) else dump_javascript(value))
        call_id = _first(part, "id", "tool_use_id", "tool_call_id", "call_id")
        self.results.append(
            {"role": "tool", "content": "\n".join(said.texts)}
            | ({"tool_call_id": call_id} if isinstance(call_id, str) else {})
        )
        self.obstacles += said.obstacles


def _sdk_result(output: Mapping[str, Any]) -> Any:
    """Return what the AI SDK sends for a tool's output, which names its type.

    Parts that are all texts go to OpenAI's API as their JSON; others cannot be sent again.
    """
    kind, value = output["type"], output["value"]
    if kind in ("json", "error-json"):
        return dump_javascript(value)
    if kind == "content" and isinstance(value, list):
        is_text = all(isinstance(part, Mapping) and part.get("type") == "text" for part in value)
        return dump_javascript(value) if is_text else value
    return value if kind in ("text", "error-text") else output


_RAN = re.compile(r"server_tool_(?:use|call)|(\w+?)_(?:call|tool_use|tool_result)")
"""Types of parts, of Anthropic's, OpenAI's and OpenTelemetry's, for what the provider ran."""
_CITATIONS = ("url_citation", "web_search_result_location")


def _ran_tool(kind: Any, part: Mapping[str, Any]) -> str | None:
    found = _RAN.fullmatch(str(kind)) if kind not in _CALL else None
    return str(found[1] or part.get("name") or kind)[:40] if found else None


def _cited_search(said: Mapping[str, Any]) -> str | None:
    """Return the search whose pages an answer or its text cites."""
    lists = [said.get(name) for name in ("annotations", "citations")]
    cited = [one for listed in lists if isinstance(listed, list | tuple) for one in listed]
    is_search = any(isinstance(one, Mapping) and one.get("type") in _CITATIONS for one in cited)
    return "web_search" if is_search else None


def tool_call(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool call in OpenAI's form, with the arguments as JSON text."""
    call = _unwrapped_part(value)
    function = call.get("function")
    inner = function if isinstance(function, Mapping) else call
    name = _first(inner, "name", "tool_name")
    arguments = _first(inner, "arguments", "args", "input", "tool_kwargs")
    call_id = _first(call, "id", "tool_call_id", "call_id")
    return ({"id": call_id} if isinstance(call_id, str) and call_id else {}) | {
        "type": "function",
        "function": {
            "name": "" if name is None else dump_text(name),
            "arguments": "{}" if arguments is None else dump_text(arguments),
        },
    }


def tool_calls(values: Any) -> list[dict[str, Any]]:
    """Return the tool calls in a list, or in its JSON."""
    found = load_json(values)
    listed: Iterable[Any] = found if isinstance(found, list | tuple) else ()
    return [tool_call(value) for value in listed if isinstance(value, Mapping)]


def _unwrapped_part(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what OpenInference nests one level deeper: `message_content`, `tool_call`."""
    inner = [value.get(name) for name in ("message_content", "tool_call")]
    levels = [level for level in inner if isinstance(level, Mapping)]
    return {name: held for level in levels for name, held in level.items()} or value


def _medium(part: Mapping[str, Any]) -> str:
    kind = str(_first(part, "type", "block_type"))
    if kind in _LOCATED:
        medium = part.get("mime_type") or part.get("mediaType") or part.get("mimeType") or ""
        modality = part.get("modality") or medium.partition("/")[0]
        return LastingObstacle(_MEDIA.get(modality, "a file"))
    if kind in _MEDIA:
        return LastingObstacle(_MEDIA[kind])
    return f"a part of the type {kind[:40]!r}"


def _first(value: Mapping[str, Any], *names: str) -> Any:
    return next((value[name] for name in names if value.get(name) is not None), None)
