"""What the recorded traces do not show: settings that hide content, older versions, other spans."""

from __future__ import annotations

import json

import pytest

from tests.made_spans import made_span
from tunegate.harness.telemetry.read.conventions import (
    genai_events,
    openinference,
    openllmetry,
    traceai,
)
from tunegate.harness.telemetry.read.types import SpanEvent


def test_azures_clients_write_messages_as_json_in_events_of_the_span() -> None:
    said = {"gen_ai.event.content": json.dumps({"role": "user", "content": "Well?"})}
    choice = {"message": {"content": "Yes."}, "finish_reason": "stop", "index": 0}
    events = [
        SpanEvent("gen_ai.user.message", said),
        SpanEvent("gen_ai.choice", {"gen_ai.event.content": json.dumps(choice)}),
        SpanEvent("gen_ai.choice", {}, {"index": 1, "message": {"content": "No."}}),
    ]

    call = genai_events.call(made_span({"gen_ai.system": "az.ai.inference"}, events=events))

    assert call.messages == ({"role": "user", "content": "Well?"},)
    assert (call.answer, call.unreplayable) == ("Yes.", None)


def test_events_without_their_content_prevent_a_replay() -> None:
    events = [SpanEvent("gen_ai.user.message", {"gen_ai.system": "openai"})]

    call = genai_events.call(made_span({"gen_ai.operation.name": "chat"}, events=events))

    assert call.unreplayable == "message 1 was recorded without its content"


def test_openllmetry_lists_thoughts_and_azures_filter_results_with_the_messages() -> None:
    values = {
        "gen_ai.prompt.0.role": "user",
        "gen_ai.prompt.0.content": '[{"type": "text", "text": "Well?"}]',
        "gen_ai.prompt.prompt_filter_results": "[]",
        "gen_ai.completion.0.role": "thinking",
        "gen_ai.completion.0.content": "Hm.",
        "gen_ai.completion.1.role": "assistant",
        "gen_ai.completion.1.content": "Seven.",
    }

    call = openllmetry.call(made_span(values))

    assert call.messages == ({"role": "user", "content": "Well?"},)
    assert call.answer == "Seven."


def test_a_text_that_is_json_stays_a_text() -> None:
    text = json.dumps([{"sku": 1}])
    values = {"gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": text}

    assert openllmetry.call(made_span(values)).messages == ({"role": "user", "content": text},)


def test_embeddings_are_not_calls() -> None:
    values = {"llm.request.type": "embedding", "gen_ai.prompt.0.content": "x"}

    assert not openllmetry.matches(made_span(values))


def test_openinference_says_where_it_hides_a_text() -> None:
    values = {
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "__REDACTED__",
    }

    call = openinference.call(made_span(values))

    assert call.unreplayable == "message 1 was recorded as __REDACTED__"


def test_text_completions_have_prompts_and_choices() -> None:
    values = {
        "llm.prompts.0.prompt.text": "Once upon",
        "llm.choices.0.completion.text": " a time",
    }

    call = openinference.call(made_span(values))

    assert call.messages == ({"role": "user", "content": "Once upon"},)
    assert call.answer == " a time"


@pytest.mark.parametrize(
    ("kind", "is_call"), [("LLM", True), ("llm", True), ("CHAIN", False), (None, False)]
)
def test_the_kind_of_a_span_decides(kind: str | None, is_call: bool) -> None:
    assert openinference.matches(made_span({"openinference.span.kind": kind})) is is_call
    assert traceai.matches(made_span({"gen_ai.span.kind": kind})) is is_call
    assert traceai.matches(made_span({"fi.span.kind": kind})) is is_call


def test_the_first_versions_of_traceai_had_other_names() -> None:
    values = {
        "fi.span.kind": "LLM",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": "Well?",
        "llm.invocation_parameters": '{"temperature": 1}',
    }

    call = traceai.call(made_span(values))

    assert call.messages == ({"role": "user", "content": "Well?"},)
    assert call.parameters == {"temperature": 1}
