"""What the recorded traces do not show: settings that hide content, older versions, other spans."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.made_spans import made_span
from tunegate.harness.telemetry.read.conventions import (
    genai,
    genai_events,
    langsmith,
    openinference,
    openllmetry,
    traceai,
)
from tunegate.harness.telemetry.read.trace_types import SpanEvent


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


def test_litellm_numbers_the_calls_of_one_answer() -> None:
    parts = [{"role": "assistant", "parts": [], "finish_reason": "tool_calls"}]
    made = {
        f"gen_ai.completion.{n}.function_call.{k}": v
        for n, name in enumerate(("weather", "clock"))
        for k, v in (("name", name), ("arguments", "{}"))
    }

    call = openllmetry.call(made_span(made | {"gen_ai.output.messages": json.dumps(parts)}))
    mixed = openllmetry.call(made_span(made | {"gen_ai.output.messages": json.dumps(parts * 2)}))

    assert [one["function"]["name"] for one in call.answer_calls] == ["weather", "clock"]
    assert (mixed.answer, mixed.answer_calls) == (None, ())  # calls of two choices, overwritten


def test_a_choice_of_the_older_api_is_no_call_of_litellms() -> None:
    values = {
        "gen_ai.completion.0.finish_reason": "function_call",
        "gen_ai.completion.0.role": "assistant",
        "gen_ai.completion.0.function_call.name": "weather",
        "gen_ai.completion.1.role": "assistant",
        "gen_ai.completion.1.function_call.name": "clock",
    }

    call = openllmetry.call(made_span(values))

    assert [one["function"]["name"] for one in call.answer_calls] == ["weather"]


def test_llamaindex_lists_its_prompts() -> None:
    values = {
        "input.value": '{"args": ["Once upon"]}',
        "llm.prompts": ["Once upon"],
        "llm.finish_reason": "stop",
        "output.value": "a time",
    }

    call = openinference.call(made_span(values))

    assert call.messages == ({"role": "user", "content": "Once upon"},)
    assert (call.answer, call.finish_reason) == ("a time", "stop")


def test_content_that_was_uploaded_is_named() -> None:
    values = {"gen_ai.operation.name": "chat", "gen_ai.input.messages_ref": "s3://x/y.json"}

    call = genai.call(made_span(values))

    assert call.unreplayable == (
        "its content was stored outside the trace (gen_ai.input.messages_ref)"
    )


CITED = {"type": "url_citation", "url_citation": {"url": "https://x.y"}}
REPLY = {"choices": [{"message": {"content": "Good.", "annotations": [CITED]}}]}
ITEMS = [
    {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Good."}]},
]
BLOCKS = [
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
    {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
    {"type": "text", "text": "Good."},
]
ASKED = {"llm.input_messages.0.message.content": "News?"}
SEARCHED = {"id": "ws_1", "name": "web_search", "type": "server_tool_call"}


@pytest.mark.parametrize(
    ("convention", "values", "ran"),
    [
        (openinference, {"output.value": json.dumps(REPLY)}, "web_search"),
        (
            openinference,
            {"llm.invocation_parameters": '{"web_search_options": {}}'},
            "web_search_options",
        ),
        (langsmith, {"gen_ai.completion": json.dumps({"output": ITEMS})}, "web_search"),
        (langsmith, {"gen_ai.completion": json.dumps({"content": BLOCKS})}, "web_search"),
        (
            genai,
            {"gen_ai.output.messages": json.dumps([{"role": "assistant", "parts": [SEARCHED]}])},
            "web_search",
        ),
    ],
)
def test_an_answer_made_with_the_providers_search_is_not_replayed(
    convention: Any, values: dict[str, Any], ran: str
) -> None:
    """Without the tool's definition in the trace, as OpenAI's and Anthropic's clients wrote it."""
    asked = {
        **ASKED,
        "gen_ai.prompt": json.dumps({"messages": [{"role": "user", "content": "News?"}]}),
        "gen_ai.input.messages": json.dumps([{"role": "user", "content": "News?"}]),
        "llm.output_messages.0.message.content": "Good.",
    }

    call = convention.call(made_span(asked | values))

    assert call.unreplayable == f"an answer made with the provider's own tools ({ran})"
    assert call.never_replayable


@pytest.mark.parametrize(
    "setting", [{"enable_search": False}, {"search_parameters": {"mode": "off"}}]
)
def test_a_search_that_is_switched_off_prevents_nothing(setting: dict[str, Any]) -> None:
    given = {"llm.invocation_parameters": json.dumps(setting)}

    assert openinference.call(made_span(ASKED | given)).unreplayable is None


def test_langsmiths_metadata_hold_settings_only_where_langchain_wrote_them() -> None:
    own = {"langsmith.metadata.temperature": 0.5, "langsmith.metadata.stop": '["END"]'}
    asked = {"gen_ai.prompt": '{"messages": [{"role": "user", "content": "Hi"}]}'}

    plain = langsmith.call(made_span(asked | own))
    chained = langsmith.call(made_span(asked | own | {"langsmith.metadata._type": "openai-chat"}))

    assert plain.parameters == {}
    assert chained.parameters == {"temperature": 0.5, "stop": ["END"]}
