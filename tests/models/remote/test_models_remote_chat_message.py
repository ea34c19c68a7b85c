"""What a chat message answers, and which messages answer nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunegate.harness.metrics.tool_calls import tool_calls
from tunegate.harness.models.remote.chat_message import UnansweredMessage, answer_of
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}


def calling(arguments: str, **message: Any) -> dict[str, Any]:
    """Return a message that calls `weather` with arguments."""
    function = {"name": "weather", "arguments": arguments}
    return {"content": None, "tool_calls": [{**CALL, "function": function}], **message}


def scored(text: str) -> float | None:
    """Return what the metric `tool_calls` gives an answer that should call `weather`."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    case = Case(
        id="c",
        prompt="Weather in Rome?",
        tools=({"type": "function", "function": {"name": "weather", "parameters": schema}},),
        expected_calls=({"name": "weather", "arguments": {"city": ["Rome"]}},),
    )
    return tool_calls(case, Completion(text=text)).value


def test_content_is_the_answer_as_it_came() -> None:
    assert answer_of({"content": " Paris\n"}, "stop") == " Paris\n"


def test_content_in_parts_is_one_text() -> None:
    parts = [{"type": "text", "text": "Par"}, {"type": "image"}, {"type": "text", "text": "is"}]
    assert answer_of({"content": parts}, "stop") == "Paris"


@pytest.mark.parametrize("call", [7, {"type": "function"}, {"function": "weather"}])
def test_what_is_no_call_is_no_answer(call: object) -> None:
    with pytest.raises(UnansweredMessage, match="is not a call"):
        answer_of({"content": "I look it up.", "tool_calls": [call]}, "tool_calls")


@pytest.mark.parametrize("message", [{}, {"content": "I look it up."}])
def test_a_tool_call_is_scored_as_one(message: dict[str, Any]) -> None:
    assert scored(answer_of(calling('{"city": "Rome"}', **message), "tool_calls")) == 1.0


@pytest.mark.parametrize("arguments", ['{"city": "Oslo"}', '{"city": "Ro', "", "[]"])
def test_a_wrong_or_broken_tool_call_is_wrong(arguments: str) -> None:
    """Broken arguments are the model's, and are scored, not left out."""
    assert scored(answer_of(calling(arguments), "tool_calls")) == 0.0


def test_the_older_form_of_a_call_is_one_too() -> None:
    """`function_call`, as some servers still send it."""
    message = {"content": "", "function_call": {"name": "weather", "arguments": '{"city": "Rome"}'}}

    assert scored(answer_of(message, "function_call")) == 1.0


def test_the_parts_of_a_content_are_one_text() -> None:
    parts = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "Par"},
        {"text": "is"},
    ]

    assert answer_of({"content": parts}, "stop") == "Paris"


def test_ids_that_differ_each_time_are_left_out() -> None:
    one, two = calling("{}"), calling("{}")
    two["tool_calls"][0]["id"] = "call_2"

    assert answer_of(one, "tool_calls") == answer_of(two, "tool_calls")
    assert "call_" not in json.dumps(answer_of(one, "tool_calls"))


def test_a_refusal_in_words_is_an_answer() -> None:
    """It is what the user would read; the metric `refusal` finds it."""
    assert answer_of({"content": None, "refusal": "I can't."}, "stop") == "I can't."


@pytest.mark.parametrize(
    ("message", "finish_reason", "why"),
    [
        ({"content": ""}, "stop", r"empty answer \(finish reason stop\)"),
        ({"content": None}, None, r"empty answer \(finish reason unknown\)"),
        ({"content": 7}, "stop", "empty answer"),
        ({"content": None, "tool_calls": ["f"]}, "tool_calls", "tool call is not a call: f"),
        ({"content": "", "tool_calls": []}, "stop", "empty answer"),
        ({"content": ""}, "content_filter", "content filter"),
        ({"content": "The first half"}, "content_filter", "content filter"),
        ({"content": "", "reasoning_content": "hm"}, "length", "reasoning used up .* max_new_tok"),
        ({"content": None}, "length", "used up unseen; raise max_new_tokens"),
        ({"content": "", "reasoning": "hm"}, "stop", "reasoned and then wrote nothing"),
    ],
)
def test_a_message_without_an_answer_says_why(
    message: dict[str, Any], finish_reason: str | None, why: str
) -> None:
    """So that its case is unscored; an empty text would be scored as a wrong answer."""
    with pytest.raises(UnansweredMessage, match=why):
        answer_of(message, finish_reason)
