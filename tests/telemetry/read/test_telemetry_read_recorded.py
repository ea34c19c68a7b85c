"""Traces of real client libraries, recorded by real instrumentations: every call, as it was sent.

`recorded/` is made by `record_traces.py`. Beside each trace lie the requests that the server got
over the wire. What an instrumentation does not record stands in `LOST`, is asserted to be missing,
and is the table of docs/reference/traces.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.telemetry.read.record_traces import RECORDED, RECORDINGS, Recording, reply
from tests.telemetry.read.recorded_spans import recorded_spans
from tests.telemetry.read.wire_requests import Asked, asked, comparable
from tunegate.harness.telemetry.read.model_calls import AROUND, OTHER, find_model_calls
from tunegate.harness.telemetry.read.types import ModelCall

DOCS = Path(__file__).parents[3] / "docs" / "reference" / "traces.md"
NAMES = [recording.name for recording in RECORDINGS]

CHOICE = ("tool_choice",)
LLAMAINDEX = (
    "temperature", "max_tokens", "top_p", "seed", "stop", "frequency_penalty", "presence_penalty",
)  # fmt: skip
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
TOOLS = "tools"
THOUGHTS = "thoughts of earlier messages"
SPOKEN = "thoughts of earlier messages (they become texts)"
ROUNDS = "earlier tool calls and their results (no sign of them)"
SCHEMA = "the schema of `response_format`"
KEPT = "previous_response_id"

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
    "llamaindex-openinference-llamaindex": LLAMAINDEX,
    "llamaindex-openllmetry-llamaindex": (*LLAMAINDEX, STREAMED, UNSEEN),
    "llamaindex-openllmetry-llamaindex-earlier": (
        *LLAMAINDEX, TOOLS, HISTORY, CALLED, STREAMED, UNSEEN,
    ),
}  # fmt: skip
"""Recording → what its instrumentations do not record; nothing where it is not named."""


def found(name: str) -> tuple[list[ModelCall], list[Asked], dict[str, int]]:
    """Return a recording's calls, the requests, and how many spans were no calls, by reason."""
    left: dict[str, int] = {}

    def leave_out(reason: str, where: str) -> None:
        left[reason] = left.get(reason, 0) + 1

    some = list(find_model_calls(recorded_spans(RECORDED / name), leave_out))
    return some, asked(RECORDED / name), left


@pytest.mark.parametrize("recording", RECORDINGS, ids=NAMES)
def test_every_request_is_a_call(recording: Recording) -> None:
    """One each, in their order, however many libraries recorded it; no other span is one."""
    some, sent, left = found(recording.name)

    scenarios = 8 if "responses" in recording.library else 7
    assert len(some) == len(sent) == scenarios + 1
    assert left[OTHER] == scenarios
    # Anthropic's client 2 records its own requests, without their content.
    several = "+openinference-openai" in recording.name or "+openllmetry" in recording.name
    several |= recording.library.startswith("anthropic") and not recording.earlier
    assert left.get(AROUND, 0) == (len(sent) if several else 0)


@pytest.mark.parametrize("recording", RECORDINGS, ids=NAMES)
def test_a_call_has_what_was_sent(recording: Recording) -> None:
    lost = LOST.get(recording.name, ())
    some, sent, _ = found(recording.name)

    for call, was in zip(some, sent, strict=True):
        _assert_messages(call, was, lost)
        assert list(call.tools) == ([] if TOOLS in lost else list(was.tools))
        asked = {k: v for k, v in was.parameters.items() if k not in lost}
        if SCHEMA in lost and "response_format" in asked:
            asked["response_format"] = {"type": "json_object"}
        assert call.parameters == asked
        assert call.model == "base"


def _assert_messages(call: ModelCall, was: Asked, lost: tuple[str, ...]) -> None:
    of_history = any("tool_calls" in message for message in was.messages)
    if was.has_image:
        unseen = UNSEEN in lost
        assert (call.unreplayable is None) is unseen
    elif of_history and HISTORY in lost:
        assert call.unreplayable == "message 2 was recorded without its content"
        return
    elif KEPT in was.parameters and KEPT not in lost:
        assert call.unreplayable == "the conversation before it is kept by the provider"
    else:
        assert call.unreplayable is None
    if was.has_image and IMAGE in lost:
        assert not any(message["content"] for message in call.messages)
        return
    expected = list(_told(comparable(was.messages), lost))
    if BLOCKS in lost:
        expected = [{**m, "content": m["content"].replace("é.\nBe", "é.Be")} for m in expected]
    assert comparable(call.messages) == expected


def _told(messages: list[dict[str, Any]], lost: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield messages with their thoughts and tools as a trace that loses them has them."""
    for message in messages:
        if SPOKEN in lost and "reasoning_content" in message:
            yield {"role": "assistant", "content": message["reasoning_content"]}
        gone = {"reasoning_content"} if {SPOKEN, THOUGHTS} & set(lost) else set()
        gone |= {"tool_calls"} if ROUNDS in lost else set()
        if ROUNDS not in lost or message["role"] != "tool":
            yield {name: value for name, value in message.items() if name not in gone}


@pytest.mark.parametrize("recording", RECORDINGS, ids=NAMES)
def test_a_call_has_what_came_back(recording: Recording) -> None:
    lost = LOST.get(recording.name, ())
    some, sent, _ = found(recording.name)

    for call, was, (text, called) in zip(some, sent, _replies(recording), strict=True):
        if called and (CALLED in lost or (STREAMED in lost and was.streams)):
            assert not call.answer_calls
            continue
        assert [_plain(one) for one in call.answer_calls] == called
        assert call.answer == text
        unsaid = REASON in lost or (STREAMED_REASON in lost and was.streams and not called)
        unsaid |= STREAMED_ENDS in lost and was.streams
        assert call.finish_reason == (None if unsaid else "tool_calls" if called else "stop")
        if not was.streams:
            assert (call.input_tokens, call.output_tokens) == (11, 9)
        elif call.input_tokens is not None:
            assert (call.input_tokens, call.output_tokens) == (11, 10 if TWICE in lost else 9)
        assert call.latency_s > 0


def _replies(recording: Recording) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return text and tool calls of what the server answered."""
    path = "/v1/messages" if "anthropic" in recording.library else "/v1/chat/completions"
    path = "/v1/responses" if "responses" in recording.library else path
    lines = (RECORDED / recording.name / "asked.jsonl").read_text(encoding="utf-8").splitlines()
    said = []
    for body in map(json.loads, lines):
        answer = reply("base", path, body)
        if "choices" in answer:
            message = answer["choices"][0]["message"]
            calls = [_plain(call) for call in message.get("tool_calls", ())]
            said.append((message["content"] or "", calls))
        elif "output" in answer:
            texts = [part["text"] for item in answer["output"] for part in item.get("content", ())]
            made = [item for item in answer["output"] if item["type"] == "function_call"]
            said.append(("".join(texts), [_plain({"function": item}) for item in made]))
        else:
            texts = [block["text"] for block in answer["content"] if block["type"] == "text"]
            used = [block for block in answer["content"] if block["type"] == "tool_use"]
            said.append(("".join(texts), [{"weather": block["input"]} for block in used]))
    return said


def _plain(call: Any) -> dict[str, Any]:
    function = call["function"]
    return {function["name"]: json.loads(function["arguments"])}


def test_what_is_lost_is_documented() -> None:
    """A row for each library and loss; the asynchronous clients record like the others."""
    recorders: dict[tuple[str, str], list[str]] = {}
    for recording in RECORDINGS:
        by = " + ".join(f"`{name}`" for name in recording.instrumentations.split("+"))
        by += " (earlier)" if recording.earlier else ""
        by += " as events" if recording.content != "SPAN_ONLY" else ""
        lost = LOST.get(recording.name, ())
        names = [f"`{n}`" if n.isidentifier() and n != TOOLS else n for n in lost]
        key = (recording.library.removesuffix("-async"), ", ".join(names) or "nothing")
        if by not in recorders.setdefault(key, []):
            recorders[key].append(by)
    rows = [
        f"| {library} | {', '.join(by)} | {lost} |" for (library, lost), by in recorders.items()
    ]
    table = ["| library | recorded by | not recorded |", "|---|---|---|", *rows]

    assert "\n".join(table) in DOCS.read_text(encoding="utf-8")
