"""Traces of real clients and frameworks, recorded by real instrumentations: every call, as sent.

The scripts in `tools/recordings/` make `recorded/`. Beside each trace lie the requests
that the server got over the wire. What a recorder does not write stands in `LOST`, which
docs/reference/recorded.md shows as tables.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.telemetry.read.trace_recordings import (
    FRAMEWORKS,
    RECORDED,
    RECORDINGS,
    FrameworkRecording,
    Recording,
    reply,
)
from tests.telemetry.read.wire_requests import Asked, asked, comparable
from tunegate.harness.suite.sources._request_settings import NAMES as REPLAYED
from tunegate.harness.telemetry.read import read_spans
from tunegate.harness.telemetry.read.model_calls import AROUND, OTHER, find_model_calls
from tunegate.harness.telemetry.read.trace_types import ImportReport, ModelCall

DOCS = Path(__file__).parents[3] / "docs" / "reference" / "recorded.md"
Recorded = Recording | FrameworkRecording
every_recording = pytest.mark.parametrize(
    "recording", [*RECORDINGS, *FRAMEWORKS], ids=lambda recording: recording.name
)

CHOICE = ("tool_choice",)
SETTINGS = (
    "temperature", "max_tokens", "top_p", "seed", "stop", "frequency_penalty", "presence_penalty",
)  # fmt: skip
ALL_SETTINGS = ", ".join(f"`{name}`" for name in SETTINGS)
HISTORY = "tool calls of earlier messages"
STREAMED = "tool calls of streamed answers"
CALLED = "tool calls of answers"
UNSEEN = "images (no sign of them)"
IMAGE = "messages with images"
REASON = "finish reason"
STREAMED_REASON = "finish reason of streamed answers"
STREAMED_ENDS = "finish reason of streams"
TWICE = "output tokens of streamed answers (the first is counted twice)"
BLOCKS = "breaks between blocks of a system prompt"
TOOLS, STRICT = "tools", "whether tools are strict"
THOUGHTS = "thoughts of earlier messages"
SPOKEN = "thoughts of earlier messages (they become texts)"
ROUNDS = "earlier tool calls and their results (no sign of them)"
SCHEMA, FORMAT = "the schema of `response_format`", "response_format"
ANSWER, TOKENS = "answers", "tokens"
KEPT = "previous_response_id"
STREAMED_SETTINGS = "settings of streamed requests except `temperature`, `top_p` and `max_tokens`"

_RESPONSES = {
    "genai-openai": (*CHOICE, SCHEMA, "reasoning_effort", KEPT),
    "openllmetry-openai": (*CHOICE, "response_format", KEPT, THOUGHTS),
    "traceai-openai": (REASON, SPOKEN),
}

LOST: dict[str, tuple[str, ...]] = {
    "openai-genai-openai": CHOICE,
    "openai-genai-openai-events": CHOICE,
    "openai-openai-v2-earlier": (*CHOICE, TOOLS, IMAGE),
    "openai-openai-v2-events-earlier": (*CHOICE, TOOLS),
    "openai-openllmetry-openai": (*CHOICE, "seed", "stop", IMAGE),
    "openai-openllmetry-openai-earlier": (*CHOICE, "seed", "stop", IMAGE),
    "openai-traceai-openai": (STREAMED, REASON),
    "openai-async-genai-openai": CHOICE,
    "openai-async-openllmetry-openai": (*CHOICE, "seed", "stop", IMAGE),
    "openai-async-traceai-openai": (STREAMED, REASON),
    **{f"openai-responses-{by}": lost for by, lost in _RESPONSES.items()},
    **{f"openai-responses-async-{by}": lost for by, lost in _RESPONSES.items()},
    "openai-responses-openllmetry-openai-earlier": (
        *CHOICE, "response_format", "reasoning_effort", KEPT, THOUGHTS, ROUNDS, REASON,
    ),
    "anthropic-async-genai-anthropic": CHOICE,
    "anthropic-async-openllmetry-anthropic": (*CHOICE, "stop", TWICE),
    "anthropic-genai-anthropic": CHOICE,
    "anthropic-openllmetry-anthropic": (*CHOICE, "stop", TWICE),
    "anthropic-openllmetry-anthropic-earlier": (*CHOICE, "max_tokens", "stop", "top_k", BLOCKS),
    "anthropic-traceai-anthropic-earlier": (STREAMED_ENDS,),
    "huggingface-traceai-huggingface": (HISTORY, STREAMED_REASON),
    "langchain-openllmetry-langchain": ("stop", "seed", "frequency_penalty", "presence_penalty"),
    "langchain-openllmetry-langchain-earlier": (
        "stop", "seed", "frequency_penalty", "presence_penalty",
    ),
    "langchain-traceai-langchain": (HISTORY,),
    "llamaindex-openinference-llamaindex": SETTINGS,
    "llamaindex-openllmetry-llamaindex": (*SETTINGS, STREAMED, UNSEEN),
    "llamaindex-openllmetry-llamaindex-earlier": (
        *SETTINGS, TOOLS, HISTORY, CALLED, STREAMED, UNSEEN,
    ),
    "ai-sdk-6": (STRICT,),
    "ai-sdk-7": ("seed", SCHEMA),
    "openai-langfuse": ("stop", REASON),
    "openai-logfire": (FORMAT,),
    "litellm-litellm-otel": (STREAMED_SETTINGS,),
    "anthropic-openllmetry": (*CHOICE, "stop", TWICE),
    "smolagents-openinference": (*CHOICE, REASON),
    "adk-own": (REASON, UNSEEN),
    "agents-logfire": (TOOLS, "seed", "stop", REASON),
    "agents-openinference": (TOOLS, "seed", "stop", REASON),
    "agents-openllmetry": (TOOLS, *SETTINGS, ANSWER, REASON, TOKENS),
    "agents-responses-openllmetry": (STRICT, THOUGHTS),
    "pydantic-ai-own": ("stop",),
    "pydantic-ai-openinference": ("stop",),
}  # fmt: skip
"""Recording → what is not recorded; nothing where it is not named."""
FAILURES_UNSEEN = ("agents-responses-logfire", "adk-own")
DEFAULTS = {"tool_choice": "auto", "parallel_tool_calls": True, "include": []}
"""Settings that recorders add or leave away since they change nothing."""
PLAIN = (TOOLS, ANSWER, TOKENS)
UNRECORDED = "message 2 was recorded without its content"


def folder_of(recording: Recorded) -> Path:
    frameworks = RECORDED / "frameworks"
    return (frameworks if isinstance(recording, FrameworkRecording) else RECORDED) / recording.name


def calls_of(recording: Recorded) -> tuple[list[ModelCall], list[Asked], ImportReport]:
    """Return the calls that were answered by their start, the requests, and the report."""
    folder, reading = folder_of(recording), ImportReport()
    spans = read_spans([folder / "traces.jsonl"], reading)
    found = list(find_model_calls(spans, reading.leave_out, reading.repair))
    reading.calls = len(found)
    answered = [call for call in found if call.span.error is None]
    return sorted(answered, key=lambda call: call.span.start_s), asked(folder), reading


@every_recording
def test_every_request_is_a_call(recording: Recorded) -> None:
    some, sent, reading = calls_of(recording)

    assert len(some) == len(sent) >= 8
    assert {str(call.model).removeprefix("openai/") for call in some} == {"base"}
    if isinstance(recording, FrameworkRecording):
        # Logfire writes no request of a Responses API that failed, and ADK none at all.
        assert reading.calls - len(some) == (recording.name not in FAILURES_UNSEEN)
        return
    assert reading.left_out[OTHER].count == len(sent) - 1
    # Anthropic's client 2 records its own requests, without their content.
    several = "+openinference-openai" in recording.name or "+openllmetry" in recording.name
    several |= recording.library.startswith("anthropic") and not recording.earlier
    assert (AROUND in reading.left_out) is several
    assert not several or reading.left_out[AROUND].count == len(sent)


@every_recording
def test_a_call_has_what_was_sent(recording: Recorded) -> None:
    lost = LOST.get(recording.name, ())
    some, sent, _ = calls_of(recording)

    for call, was in zip(some, sent, strict=True):
        assert list(call.tools) == sent_tools(was, lost)
        assert given(call.parameters) == sent_parameters(was, lost)
        obstacle = sent_obstacle(was, lost)
        assert (call.unreplayable is None) is (obstacle is None)
        assert (call.unreplayable or "").startswith(obstacle or "")
        if was.has_image and IMAGE in lost:
            assert not any(message["content"] for message in call.messages)
        elif obstacle != UNRECORDED:
            assert comparable(call.messages) == [*sent_messages(was, lost)]


def sent_obstacle(was: Asked, lost: tuple[str, ...]) -> str | None:
    """Return how the reason begins that prevents a replay of a request."""
    if was.has_image:
        return None if UNSEEN in lost else ""
    if HISTORY in lost and any("tool_calls" in message for message in was.messages):
        return UNRECORDED
    kept = KEPT in was.parameters and KEPT not in lost
    return "the conversation before it is kept by the provider" if kept else None


def sent_messages(was: Asked, lost: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield messages with their thoughts and tools as a trace that loses them has them."""
    for message in comparable(was.messages):
        if SPOKEN in lost and "reasoning_content" in message:
            yield {"role": "assistant", "content": message["reasoning_content"]}
        gone = {"reasoning_content"} if {SPOKEN, THOUGHTS} & set(lost) else set()
        gone |= {"tool_calls"} if ROUNDS in lost else set()
        if BLOCKS in lost:
            message["content"] = message["content"].replace("é.\nBe", "é.Be")
        if ROUNDS not in lost or message["role"] != "tool":
            yield {name: value for name, value in message.items() if name not in gone}


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
    if STREAMED_SETTINGS in lost and was.streams:
        kept = {k: v for k, v in kept.items() if k in ("temperature", "top_p", "max_tokens")}
    form = kept.get("response_format", {})
    if "json_schema" in form and SCHEMA in lost:
        kept["response_format"] = {"type": "json_object"}
    elif "json_schema" in form and STRICT in lost:
        schema = {k: v for k, v in form["json_schema"].items() if k != "strict"}
        kept["response_format"] = {"type": "json_schema", "json_schema": schema}
    return kept


@every_recording
def test_a_setting_that_was_lost_is_one_that_the_recorder_does_not_write(
    recording: Recorded,
) -> None:
    some, sent, _ = calls_of(recording)

    for call, was in zip(some, sent, strict=True):
        named = (*REPLAYED, "reasoning_effort")
        lost = {name for name in named if given(was.parameters).get(name)}
        held = {k for k, v in call.parameters.items() if v != {"type": "json_object"}}
        asked_for_json = was.parameters.get("response_format") == {"type": "json_object"}
        lost -= held | ({"response_format"} if asked_for_json else set())
        assert lost <= call.unrecorded
        assert not call.unrecorded & held


@every_recording
def test_a_call_has_what_came_back(recording: Recorded) -> None:
    lost = LOST.get(recording.name, ())
    some, sent, _ = calls_of(recording)
    lines = (folder_of(recording) / "asked.jsonl").read_text(encoding="utf-8").splitlines()

    for call, was, body in zip(some, sent, map(json.loads, lines), strict=True):
        text, called = answer_to(body, recording.library)
        if ANSWER in lost or (called and (CALLED in lost or (STREAMED in lost and was.streams))):
            assert not call.answer_calls
            continue
        made = [one["function"] for one in call.answer_calls]
        assert [(one["name"], json.loads(one["arguments"])) for one in made] == called
        assert call.answer == text
        unsaid = REASON in lost or (STREAMED_REASON in lost and was.streams and not called)
        unsaid |= STREAMED_ENDS in lost and was.streams
        if not (unsaid and call.finish_reason is None):
            assert call.finish_reason == ("tool_calls" if called else "stop")
        if not was.streams or call.input_tokens:
            tokens = 10 if TWICE in lost and was.streams else 9
            assert (call.input_tokens, call.output_tokens) == (11, tokens)
        assert call.latency_s > 0 or was.streams


def answer_to(body: dict[str, Any], library: str) -> tuple[str, list[tuple[str, Any]]]:
    """Return text and tool calls of what the server answered."""
    path = "/v1/messages" if "anthropic" in library else "/v1/chat/completions"
    answered = reply("base", "/v1/responses" if "input" in body else path, body)
    if "output" in answered:
        texts = [part["text"] for item in answered["output"] for part in item.get("content", ())]
        made = [item for item in answered["output"] if item["type"] == "function_call"]
        return "".join(texts), [(one["name"], json.loads(one["arguments"])) for one in made]
    if "content" in answered:
        blocks = answered["content"]
        texts = [block["text"] for block in blocks if block["type"] == "text"]
        return "".join(texts), [(b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"]
    message = answered["choices"][0]["message"]
    made = [one["function"] for one in message.get("tool_calls", ())]
    return message["content"] or "", [(one["name"], json.loads(one["arguments"])) for one in made]


def test_contradicting_records_of_one_span_are_counted() -> None:
    (recording,) = [one for one in FRAMEWORKS if one.name == "pydantic-ai-openinference"]
    some, _, reading = calls_of(recording)

    counts = {what: noted.count for what, noted in reading.repaired.items()}
    assert counts == {"a call whose span holds two records with different messages": 1}
    assert Counter(m["role"] for m in some[6].messages)["tool"] == 2


def recorder(recording: Recorded) -> str:
    if isinstance(recording, FrameworkRecording):
        return recording.recorder
    by = " + ".join(f"`{name}`" for name in recording.instrumentations.split("+"))
    return by + (" as events" if recording.content != "SPAN_ONLY" else "")


@pytest.mark.parametrize(
    ("recordings", "first"), [(RECORDINGS, "library"), (FRAMEWORKS, "asked by")]
)
def test_the_reference_shows_what_is_lost(recordings: Sequence[Recorded], first: str) -> None:
    """A row for each library and loss; only litellm records asynchronous requests differently.

    Earlier versions, and what loses nothing, have no row.
    """
    rows: dict[tuple[str, str], list[str]] = {}
    for recording in recordings:
        lost = LOST.get(recording.name, ())
        if not lost or (isinstance(recording, Recording) and recording.earlier):
            continue
        names = [f"`{n}`" if n.isidentifier() and n not in PLAIN else n for n in lost]
        is_client = isinstance(recording, Recording)
        library = recording.library.removesuffix("-async") if is_client else recording.library
        lost = ", ".join(names).replace(ALL_SETTINGS, "sampling settings and `max_tokens`")
        key = (library, lost)
        if recorder(recording) not in rows.setdefault(key, []):
            rows[key].append(recorder(recording))
    lines = [f"| {library} | {', '.join(by)} | {lost} |" for (library, lost), by in rows.items()]
    table = [f"| {first} | recorded by | not recorded |", "|---|---|---|", *lines]

    assert "\n".join(table) in DOCS.read_text(encoding="utf-8")
