"""Recordings of frameworks and gateways by what they come with: each request is read again.

The requests are those that the server got: messages, tools, parameters and answers are compared.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.telemetry.read.record_frameworks import FOLDER, FRAMEWORKS, FrameworkRecording
from tests.telemetry.read.record_traces import reply
from tests.telemetry.read.wire_requests import Asked, asked, comparable
from tunegate.harness.telemetry.read import read_spans
from tunegate.harness.telemetry.read.model_calls import find_model_calls
from tunegate.harness.telemetry.read.types import ImportReport, ModelCall

DOCS = Path(__file__).parents[3] / "docs" / "reference" / "traces.md"
NAMES = [recording.name for recording in FRAMEWORKS]

TOOLS, STRICT = "tools", "whether tools are strict"
SCHEMA, FORMAT = "the schema of `response_format`", "response_format"
THOUGHTS = "thoughts of earlier messages"
ANSWER = "answers"
REASON, STREAMED_REASON = "finish reason", "finish reason of streamed answers"
TOKENS = "tokens"
SETTINGS = (
    "temperature", "top_p", "max_tokens", "seed", "stop", "frequency_penalty", "presence_penalty",
)  # fmt: skip
LOST: dict[str, tuple[str, ...]] = {
    "ai-sdk-6": (STRICT,),
    "ai-sdk-7": ("seed", SCHEMA),
    "openai-langfuse": ("stop", REASON),
    "openai-logfire": (FORMAT,),
    "agents-logfire": (TOOLS, "seed", "stop", REASON),
    "agents-openinference": (TOOLS, "seed", "stop", REASON),
    "agents-openllmetry": (TOOLS, *SETTINGS, ANSWER, REASON, TOKENS),
    "agents-responses-openllmetry": (STRICT, THOUGHTS),
    "pydantic-ai-own": ("stop",),
    "pydantic-ai-openinference": ("stop",),
}
"""Recording → what its recorder does not write; nothing where it is not named."""
DEFAULTS = {"tool_choice": "auto", "parallel_tool_calls": True, "include": []}
"""Settings that recorders add or leave away since they change nothing."""


def calls_of(name: str) -> tuple[list[ModelCall], list[Asked], ImportReport]:
    """Return the calls that were answered by their start, the requests, and the account."""
    reading = ImportReport()
    spans = read_spans([FOLDER / name / "traces.jsonl"], reading)
    found = list(find_model_calls(spans, reading.leave_out, reading.repair))
    answered = [call for call in found if call.span.error is None]
    reading.calls = len(found)
    return sorted(answered, key=lambda c: c.span.start_s), asked(FOLDER / name), reading


@pytest.mark.parametrize("recording", FRAMEWORKS, ids=NAMES)
def test_every_request_of_a_framework_is_a_call(recording: FrameworkRecording) -> None:
    some, sent, reading = calls_of(recording.name)

    assert len(some) == len(sent) >= 9
    # Logfire writes no request of a Responses API that failed.
    refused = recording.name != "agents-responses-logfire"
    assert reading.calls - len(some) == refused
    assert [call.model for call in some] == ["base"] * len(sent)


@pytest.mark.parametrize("recording", FRAMEWORKS, ids=NAMES)
def test_a_call_of_a_framework_has_what_was_sent(recording: FrameworkRecording) -> None:
    lost = LOST.get(recording.name, ())
    some, sent, _ = calls_of(recording.name)

    for call, was in zip(some, sent, strict=True):
        gone = {"reasoning_content"} if THOUGHTS in lost else set()
        told = [{k: v for k, v in m.items() if k not in gone} for m in comparable(was.messages)]
        assert plain_results(comparable(call.messages)) == plain_results(told)
        assert (call.unreplayable is None) is not was.has_image
        assert list(call.tools) == sent_tools(was, lost)
        assert given(call.parameters) == sent_parameters(was, lost)


def plain_results(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages with the JSON of tool results as what it holds, since it is written anew."""
    return [
        {**m, "content": json.loads(m["content"])}
        if m["role"] == "tool" and m["content"].startswith("{")
        else m
        for m in messages
    ]


def sent_tools(was: Asked, lost: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the tools that a recorder tells."""
    if TOOLS in lost:
        return []
    gone = {"strict"} if STRICT in lost else set()
    functions = [tool["function"] for tool in was.tools]
    kept = [{k: v for k, v in function.items() if k not in gone} for function in functions]
    return [{"type": "function", "function": function} for function in kept]


def given(parameters: Any) -> dict[str, Any]:
    """Return parameters without those that change nothing."""
    return {k: v for k, v in parameters.items() if k not in DEFAULTS or DEFAULTS[k] != v}


def sent_parameters(was: Asked, lost: tuple[str, ...]) -> dict[str, Any]:
    """Return the parameters that a recorder tells."""
    kept = {k: v for k, v in given(was.parameters).items() if k not in lost}
    form = kept.get("response_format", {})
    if "json_schema" in form and SCHEMA in lost:
        kept["response_format"] = {"type": "json_object"}
    elif "json_schema" in form and STRICT in lost:
        schema = {k: v for k, v in form["json_schema"].items() if k != "strict"}
        kept["response_format"] = {"type": "json_schema", "json_schema": schema}
    return kept


@pytest.mark.parametrize("recording", FRAMEWORKS, ids=NAMES)
def test_a_call_of_a_framework_has_what_came_back(recording: FrameworkRecording) -> None:
    lost = LOST.get(recording.name, ())
    some, sent, _ = calls_of(recording.name)
    lines = (FOLDER / recording.name / "asked.jsonl").read_text(encoding="utf-8").splitlines()

    for call, was, body in zip(some, sent, map(json.loads, lines), strict=True):
        text, called = answer_to(body)
        if ANSWER in lost:
            assert (call.answer, call.answer_calls) == (None, ())
            continue
        made = [one["function"] for one in call.answer_calls]
        assert [(one["name"], json.loads(one["arguments"])) for one in made] == called
        assert call.answer == text
        if not (REASON in lost and call.finish_reason is None):
            assert call.finish_reason == ("tool_calls" if called else "stop")
        if not was.streams:
            assert (call.input_tokens, call.output_tokens) == (11, 9)


def answer_to(body: dict[str, Any]) -> tuple[str, list[tuple[str, Any]]]:
    """Return text and tool calls of what the server answered."""
    answered = reply("base", "/v1/responses" if "input" in body else "/v1/chat/completions", body)
    if "output" in answered:
        texts = [part["text"] for item in answered["output"] for part in item.get("content", ())]
        made = [item for item in answered["output"] if item["type"] == "function_call"]
        return "".join(texts), [(one["name"], json.loads(one["arguments"])) for one in made]
    message = answered["choices"][0]["message"]
    made = [one["function"] for one in message.get("tool_calls", ())]
    return message["content"] or "", [(one["name"], json.loads(one["arguments"])) for one in made]


def test_contradicting_records_of_one_span_are_counted() -> None:
    some, _, reading = calls_of("pydantic-ai-openinference")

    told = {what: noted.count for what, noted in reading.repaired.items()}
    assert told == {"a call whose span holds two records with different messages": 1}
    assert Counter(m["role"] for m in some[6].messages)["tool"] == 2


def test_what_frameworks_lose_is_documented() -> None:
    recorders: dict[tuple[str, str], list[str]] = {}
    for recording in FRAMEWORKS:
        lost = LOST.get(recording.name, ())
        names = [
            f"`{n}`" if n.isidentifier() and n not in (TOOLS, ANSWER, TOKENS) else n for n in lost
        ]
        key = (recording.library.removesuffix("-async"), ", ".join(names) or "nothing")
        if recording.recorder not in recorders.setdefault(key, []):
            recorders[key].append(recording.recorder)
    rows = [
        f"| {library} | {', '.join(by)} | {lost} |" for (library, lost), by in recorders.items()
    ]
    table = ["| asked by | recorded by | not recorded |", "|---|---|---|", *rows]

    assert "\n".join(table) in DOCS.read_text(encoding="utf-8")
