"""Transcript: an episode as the conversation that the model is shown in its next turn.

A turn is a case with more messages, so every backend renders it like a case. Calls and results are
messages in OpenAI's form if the chat template supports tools. With `tools = "system"` the system
prompt describes the tools, and calls and results are plain text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from tunegate.harness.metrics._embedded_calls import read_calls
from tunegate.harness.metrics._expected_calls import OfferedTool, offered_tools
from tunegate.harness.metrics._tool_call import ToolCall
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeSettings, EpisodeTurn

_SYSTEM = """\
You can call tools. To call one, answer with nothing but a line of this form:
<tool_call>{{"name": "TOOL", "arguments": {{"ARGUMENT": "VALUE"}}}}</tool_call>
The result comes back as <tool_response>…</tool_response>. When the task is done, answer without a
call. The tools are:
{tools}"""
_SAID = {"type", "properties", "required", "additionalProperties"}
"""Keys of a schema that a line of text can express, unless other arguments are allowed."""
_PLAIN = {"type", "description"}
"""Keys of an argument's schema that a line of text can express."""
_WRONG_FORMS = {
    "fence": "is in a code fence, where no program reads it",
    "prose": "is in other text, where no program reads it",
}


def opening_case(
    case: Case, settings: EpisodeSettings, tools: Sequence[Mapping[str, Any]], system: str | None
) -> Case:
    """Return a task as the model first sees it, with tools and the suite's system prompt."""
    if not tools:
        return case
    if settings.tools == "template":
        return case.model_copy(update={"tools": tuple(dict(tool) for tool in tools)})
    first, *rest = case.input_messages(system)
    shown = _SYSTEM.format(tools="\n".join(map(_tool_text, tools)))
    if first["role"] == "system":
        head = {**first, "content": f"{first['content']}\n\n{shown}"}
    else:
        head, rest = {"role": "system", "content": shown}, [first, *rest]
    return case.model_copy(update={"prompt": None, "messages": (head, *rest)})


def _tool_text(tool: Mapping[str, Any]) -> str:
    """Return a tool as `name(argument: type)`, or as JSON if its schema has more than types.

    JSON takes about 2.5 times the tokens, in every turn.
    """
    function = {k: v for k, v in tool["function"].items() if k not in ("return", "strict")}
    schema = function.get("parameters") or {}
    arguments = schema.get("properties") or {}
    closed = schema.keys() <= _SAID and not schema.get("additionalProperties")
    if not closed or not all(
        isinstance(argument, Mapping)
        and argument.keys() <= _PLAIN
        and isinstance(argument.get("type"), str)
        for argument in arguments.values()
    ):
        return json.dumps(function)
    needed = schema.get("required") or ()
    shown = ", ".join(
        f"{name}{'' if name in needed else '?'}: {argument['type']}"
        for name, argument in arguments.items()
    )
    about = [
        f"  {name}: {argument['description']}"
        for name, argument in arguments.items()
        if "description" in argument
    ]
    head = f"{function['name']}({shown})"
    if function.get("description"):
        head += f": {function['description']}"
    return "\n".join([head, *about])


def extend_prompt(case: Case, text: str | None) -> Case:
    """Append what `reset` returned to the last message, as TRL does."""
    if text is None:
        return case
    *rest, last = case.input_messages()
    content = last.get("content") or ""
    if isinstance(content, list):
        content = [*content, {"type": "text", "text": text}]
    else:
        content += text
    return _with_messages(case, [*rest, {**last, "content": content}])


def extend_transcript(case: Case, turn: EpisodeTurn, number: int, *, in_text: bool) -> Case:
    """Append a turn of the model and the response to it."""
    if not turn.calls:
        spoken = {"role": "assistant", "content": turn.text}
        reply = [] if turn.message is None else [{"role": "user", "content": turn.message}]
        return _with_messages(case, [*case.input_messages(), spoken, *reply])
    if in_text:
        results = "\n".join(f"<tool_response>{call.result}</tool_response>" for call in turn.calls)
        shown = [
            {"role": "assistant", "content": turn.text},
            {"role": "user", "content": results},
        ]
        return _with_messages(case, [*case.input_messages(), *shown])
    ids = [f"{number:04d}{index:05d}" for index in range(len(turn.calls))]  # nine for Mistral
    calls = [
        {
            "id": name,
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for name, call in zip(ids, turn.calls, strict=True)
    ]
    before = turn.text.partition("<tool_call>")[0].strip() if "<tool_call>" in turn.text else ""
    results_shown = [
        {"role": "tool", "tool_call_id": name, "name": call.name, "content": call.result}
        for name, call in zip(ids, turn.calls, strict=True)
    ]
    called = {"role": "assistant", "content": before, "tool_calls": calls}
    return _with_messages(case, [*case.input_messages(), called, *results_shown])


def messages_in_text(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a conversation in OpenAI's form with calls and results as text."""
    turns: list[dict[str, Any]] = []
    after_results = False
    for message in messages:
        content, results = message.get("content") or "", message["role"] == "tool"
        if results:
            shown = f"<tool_response>{content}</tool_response>"
            if after_results:
                turns[-1]["content"] += f"\n{shown}"
            else:
                turns.append({"role": "user", "content": shown})
        else:
            calls = [_call_text(call) for call in message.get("tool_calls") or ()]
            lines = [content, *calls] if content else calls or [""]
            turns.append({"role": message["role"], "content": "\n".join(lines)})
        after_results = results
    return turns


def _call_text(call: Any) -> str:
    function = call.get("function") if isinstance(call, Mapping) else None
    try:
        raw = (function or {}).get("arguments") or "{}"
        arguments = json.loads(raw) if isinstance(raw, str) else raw
        written = json.dumps({"name": (function or {})["name"], "arguments": arguments})
    except (ValueError, KeyError) as error:
        raise ValueError(f"tool_calls: {error!r} in {str(call)[:80]}") from None
    return f"<tool_call>{written}</tool_call>"


def _with_messages(case: Case, messages: Sequence[Mapping[str, Any]]) -> Case:
    return case.model_copy(
        update={"prompt": None, "messages": tuple(dict(message) for message in messages)}
    )


class UnreadableCall(ValueError):
    """A text that tries to call a tool in a form that no program would run."""


def turn_calls(text: str, tools: Sequence[Mapping[str, Any]]) -> tuple[ToolCall, ...]:
    """Return the calls in a turn of the model; none if it just answers."""
    calls_read = read_calls(text, _offered_tools(json.dumps(list(tools))))
    if calls_read.reading.problem is not None:
        raise UnreadableCall(calls_read.reading.problem)
    if calls_read.reading.calls and calls_read.form != "right":
        raise UnreadableCall(
            f"the call of {calls_read.reading.calls[0].name} {_WRONG_FORMS[calls_read.form]}"
        )
    return calls_read.reading.calls


@cache
def _offered_tools(tools: str) -> Mapping[str, OfferedTool]:
    return offered_tools(Case(id="tools", tools=tuple(json.loads(tools))))
