"""Turns that are put together of pieces, as OpenAI's Responses API has them."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.telemetry.read.conventions._messages import (
    FirstAnswer,
    MessageParts,
    MessageTranscript,
    answer_of,
)

ASKED = {"role": "user", "content": "Weather?"}
THOUGHT = {"role": "assistant", "content": [{"type": "reasoning", "text": "Hm."}]}
SAID = {"role": "assistant", "content": "I look."}


def called(known: str) -> dict[str, Any]:
    """Return a turn that calls a tool."""
    call = {"id": known, "function": {"name": "weather", "arguments": "{}"}}
    return {"role": "assistant", "tool_calls": [call]}


def result(known: str) -> dict[str, Any]:
    """Return what the tool of a call said."""
    return {"role": "tool", "content": "rain", "tool_call_id": known}


def read(*turns: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a transcript."""
    transcript = MessageTranscript()
    for turn in turns:
        transcript.add(turn)
    transcript.pair()
    return transcript.messages


def test_the_items_of_an_answer_are_one_turn() -> None:
    """Thought, text and two calls; the results follow as they are."""
    turns = (ASKED, THOUGHT, SAID, called("a"), called("b"), result("a"), result("b"))

    _, turn, *results = read(*turns)

    assert (turn["content"], turn["reasoning_content"]) == ("I look.", "Hm.")
    assert [call["id"] for call in turn["tool_calls"]] == ["a", "b"]
    assert [one["tool_call_id"] for one in results] == ["a", "b"]


def test_two_texts_stay_two_turns() -> None:
    assert [turn["content"] for turn in read(SAID, SAID)] == ["I look.", "I look."]


@pytest.mark.parametrize(
    ("calls", "results", "expected"),
    [
        (["fc_1", "fc_2"], ["call_1", "call_2"], ["call_1", "call_2"]),
        (["a", "b"], ["b", "a"], ["a", "b"]),
        (["fc_1", "fc_2"], ["call_1"], ["fc_1", "fc_2"]),
    ],
)
def test_calls_have_the_ids_of_their_results(
    calls: list[str], results: list[str], expected: list[str]
) -> None:
    turn, *_ = read(*map(called, calls), *map(result, results))

    assert [call["id"] for call in turn["tool_calls"]] == expected


def test_an_answer_is_put_together_and_a_choice_is_not() -> None:
    whole = answer_of([THOUGHT, SAID, called("a")])

    assert (whole.text, [call["id"] for call in whole.calls]) == ("I look.", ["a"])
    assert answer_of([SAID, {**SAID, "content": "Or so."}]) == FirstAnswer("I look.")
    assert answer_of([called("a"), called("b")], 2).calls == answer_of([called("a")]).calls
    assert answer_of([]) == FirstAnswer()


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ({"type": "json", "value": {"a": 1e-7, "b": [1, None]}}, '{"a":1e-7,"b":[1,null]}'),
        ({"type": "json", "value": None}, "null"),
        ({"type": "text", "value": '{"a": 1}'}, '{"a": 1}'),
        ({"type": "error-text", "value": "no sky"}, "no sky"),
        (
            {"type": "content", "value": [{"type": "text", "text": "x"}]},
            '[{"type":"text","text":"x"}]',
        ),
    ],
)
def test_a_tool_result_of_the_ai_sdk_is_what_it_sends(output: Any, text: str) -> None:
    """As `ai` 6 and 7 sent them to a server of OpenAI's form."""
    read = MessageParts()
    read.add({"type": "tool-result", "id": "call_1", "output": output})

    assert [one["content"] for one in read.results] == [text]
    assert not read.obstacles


def test_an_image_in_a_tool_result_cannot_be_sent_again() -> None:
    read = MessageParts()
    value = [{"type": "media", "data": "iVBOR", "mediaType": "image/png"}]
    read.add({"type": "tool-result", "output": {"type": "content", "value": value}})

    assert read.obstacles == ["a part of the type 'media'"]


@pytest.mark.parametrize(
    ("part", "ran"),
    [
        ({"type": "server_tool_use", "name": "web_fetch"}, "web_fetch"),
        ({"type": "web_search_tool_result"}, "web_search"),
        ({"type": "mcp_tool_use", "name": "f"}, "mcp"),
        ({"type": "code_interpreter_call"}, "code_interpreter"),
        ({"type": "text", "text": "x", "citations": [{"type": "char_location"}]}, None),
        ({"type": "text", "text": "x", "annotations": 3}, None),
        *(
            ({"type": kind}, None)
            for kind in ("tool_use", "tool_call", "function_call", "tool_result")
        ),
    ],
)
def test_what_the_provider_ran_is_told_from_the_users_tools(part: Any, ran: str | None) -> None:
    """By the types of Anthropic's and OpenAI's APIs; citing a sent document is no search."""
    read = MessageParts()
    read.add(part)

    assert read.ran == ran
