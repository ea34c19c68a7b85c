"""Each model call once, whoever wrote its spans."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from tests.made_spans import made_span
from tunegate.harness.telemetry.read.model_calls import (
    AROUND,
    BROKEN,
    NEAR,
    OTHER,
    TWICE,
    WINDOW,
    find_model_calls,
)
from tunegate.harness.telemetry.read.trace_types import ModelCall, Span

CHAIN = {"openinference.span.kind": "CHAIN"}


def genai(asked: str, answer: str = "Yes.", **more: Any) -> dict[str, Any]:
    """Return a call of OpenTelemetry's conventions."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.input.messages": [{"role": "user", "parts": [{"type": "text", "content": asked}]}],
        "gen_ai.output.messages": [
            {"role": "assistant", "parts": [{"type": "text", "content": answer}]}
        ],
        **more,
    }


def openinference(asked: str, **more: Any) -> dict[str, Any]:
    """Return a call of OpenInference's."""
    return {
        "openinference.span.kind": "LLM",
        "llm.input_messages.0.message.role": "user",
        "llm.input_messages.0.message.content": asked,
        "llm.invocation_parameters": '{"seed": 7, "temperature": 1}',
        "llm.tools.0.tool.json_schema": '{"type": "function", "function": {"name": "f"}}',
        **more,
    }


def found(*spans: Span) -> tuple[list[ModelCall], Counter[str]]:
    """Return the calls of spans and how many spans yielded none, by reason."""
    left: Counter[str] = Counter()
    return list(find_model_calls(spans, lambda reason, where: left.update([reason]))), left


def texts(found: list[ModelCall]) -> list[str]:
    """Return the last message of each call."""
    return [call.messages[-1]["content"] for call in found]


def test_two_conventions_in_one_file() -> None:
    one, left = found(made_span(genai("a"), number=1), made_span(openinference("b"), number=2))

    assert [(call.convention, *texts([call])) for call in one] == [
        ("genai", "a"),
        ("openinference", "b"),
    ]
    assert not left


def test_two_conventions_on_one_span_are_one_call() -> None:
    (call,), _ = found(made_span(genai("a") | openinference("a")))

    assert call.convention == "openinference"


def test_a_wrapper_and_the_client_in_it_are_one_call() -> None:
    """Whichever span comes first; the inner one is read, and the outer one fills its gaps."""
    inner = made_span(genai("a", **{"gen_ai.request.temperature": 0.5}), number=1, parent=2)
    between = made_span(CHAIN, number=2, parent=3)
    outer = made_span(openinference("a"), number=3)

    for spans in ((inner, between, outer), (outer, between, inner), (between, inner, outer)):
        (call,), left = found(*spans)

        assert call.span is inner
        assert call.parameters == {"seed": 7, "temperature": 0.5}
        assert [tool["function"]["name"] for tool in call.tools] == ["f"]
        assert left == {AROUND: 1, OTHER: 1}


def test_three_spans_of_one_request_are_one_call() -> None:
    spans = [
        made_span(genai("a"), number=1, parent=2),
        made_span(genai("a"), number=2, parent=3),
        made_span(openinference("a"), number=3),
    ]

    for ordered in (spans, spans[::-1], [spans[1], spans[2], spans[0]]):
        (call,), left = found(*ordered)

        assert call.span is spans[0]
        assert left == {AROUND: 2}


def test_spans_of_two_libraries_beside_each_other_are_one_call() -> None:
    outer = made_span(openinference("a"), number=1, parent=9, scope="langchain")
    inner = made_span(genai("a"), number=2, parent=9, scope="openai")

    for spans in ((inner, outer), (outer, inner)):
        (call,), left = found(*spans)

        assert call.span is inner
        assert call.parameters == {"seed": 7, "temperature": 1}
        assert left == {AROUND: 1}


@pytest.mark.parametrize(
    ("other", "number", "scope", "why"),
    [
        (genai("a"), 2, "langchain", "one library records a request once"),
        (genai("b"), 2, "openai", "another question"),
        (genai("a", "No."), 2, "openai", "another answer"),
        (genai("a"), 4, "openai", "two seconds later"),
        ({"gen_ai.operation.name": "chat"}, 2, "openai", "no content, and not at the same time"),
    ],
)
def test_spans_beside_each_other_are_two_calls(
    other: dict[str, Any], number: int, scope: str, why: str
) -> None:
    first = made_span(genai("a"), number=1, parent=9, scope="langchain")

    two, _ = found(first, made_span(other, number=number, parent=9, scope=scope))

    assert len(two) == 2, why


def test_a_request_that_the_client_notes_without_content_is_the_one_beside_it() -> None:
    bare = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 3}

    (call,), _ = found(
        made_span(bare, number=1, parent=9, scope="anthropic"),
        made_span(genai("a"), number=1, parent=9, scope="openllmetry", span_id="f" * 16),
    )

    assert (call.messages[-1]["content"], call.input_tokens) == ("a", 3)


def test_identical_requests_at_the_same_time_are_paired() -> None:
    spans = [
        made_span(genai("a"), number=1, parent=9, scope=scope, span_id=f"{scope:0>15}{n}")
        for scope in ("aa", "bb")
        for n in range(3)
    ]

    three, left = found(*spans)

    assert len(three) == 3
    assert left == {AROUND: 3}


def test_a_wrapper_is_read_where_the_client_held_no_content() -> None:
    bare = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 3}

    (call,), _ = found(made_span(bare, number=1, parent=2), made_span(openinference("a"), number=2))

    assert (call.convention, call.input_tokens, call.unreplayable) == ("openinference", 3, None)


def test_calls_in_a_call_that_asks_something_else_are_calls() -> None:
    spans = [
        made_span(genai("Is this right?", "9"), number=1, parent=3),
        made_span(genai("And this?", "8"), number=2, parent=3),
        made_span(genai("Write a poem.", "Roses"), number=3),
    ]

    inside_out, left = found(*spans)
    outside_in, _ = found(*spans[::-1])

    assert texts(inside_out) == ["Is this right?", "And this?", "Write a poem."]
    assert sorted(texts(outside_in)) == sorted(texts(inside_out))
    assert not left


def test_the_same_ids_in_another_trace_are_another_span() -> None:
    again = made_span(genai("a"))
    other = made_span(genai("a"), trace="b" * 32)

    both, left = found(again, other, again)

    assert len(both) == 2
    assert left == {TWICE: 1}


def test_spans_that_are_their_own_ancestors_end() -> None:
    some, _ = found(
        made_span(genai("a"), number=1, parent=2),
        made_span(genai("b", "No."), number=2, parent=1),
        made_span(genai("c"), number=3, parent=3),
    )

    assert texts(some) == ["a", "b", "c"]


def test_calls_come_in_order_and_before_the_end() -> None:
    """After `WINDOW` spans the first is yielded: memory does not grow with the file."""
    seen: list[int] = []

    def spans() -> Any:
        for number in range(WINDOW + 10):
            seen.append(number)
            yield made_span(genai(str(number)), number=number + 1)

    stream = find_model_calls(spans())
    first = next(stream)

    assert (texts([first]), len(seen)) == (["0"], WINDOW + 1)
    assert texts(list(stream)) == [str(number) for number in range(1, WINDOW + 10)]


def test_parents_that_never_come_are_forgotten() -> None:
    many = (made_span(genai("a"), number=n, parent=n + 10**6) for n in range(1, 2 * WINDOW))

    assert sum(1 for _ in find_model_calls(many)) == 2 * WINDOW - 1


def test_a_span_that_breaks_its_convention_costs_itself_only() -> None:
    broken = genai("a", model_request_parameters='{"output_mode": "native"}')
    some, left = found(made_span(broken), made_span(genai("b"), number=2))

    assert texts(some) == ["b"]
    assert left == {BROKEN: 1}


def test_the_end_of_a_stream_finds_its_beginning_behind_other_roots() -> None:
    """Logfire writes both; many requests may be answered in between."""
    begun = genai("a")
    del begun["gen_ai.output.messages"]
    first = replace(made_span(begun, trace="f" * 32), start_s=1.0, end_s=400.0)
    others = [made_span(genai(str(n)), number=n, trace=f"{n:032x}") for n in range(2, 2 * NEAR)]
    last = replace(made_span(genai("a"), number=999, trace="e" * 32), start_s=400.0, end_s=400.0)

    some, left = found(first, *others, last)

    assert (len(some), left) == (1 + len(others), {AROUND: 1})


ANSWERED = {"gen_ai.response.id": "msg_1", "gen_ai.request.model": "m"}


@pytest.mark.parametrize(
    ("more", "seconds", "calls"),
    [
        ({}, 0.1, 1),
        ({"gen_ai.response.id": "msg_2"}, 0.1, 2),
        ({}, 9.0, 2),
        ({"gen_ai.request.model": "n"}, 0.1, 2),
    ],
)
def test_two_roots_with_one_reply_are_one_call(
    more: dict[str, Any], seconds: float, calls: int
) -> None:
    """Traceloop's and the one that Anthropic's client writes, with no span around them."""
    outer = made_span(genai("a", **ANSWERED), trace="a" * 32, scope="traceloop")
    bare = {"gen_ai.operation.name": "chat", **ANSWERED, **more}
    inner = made_span(bare, trace="b" * 32, scope="com.anthropic.sdk.python")
    inner = replace(inner, start_s=outer.start_s + seconds, end_s=outer.end_s + seconds - 0.2)

    for spans in ((inner, outer), (outer, inner)):
        some, _ = found(*spans)

        assert len(some) == calls
        assert "a" in [text for call in some if call.messages for text in texts([call])]


def test_a_reply_of_openinference_has_its_id_inside() -> None:
    """Streams of Anthropic's client, with no span around them."""
    reply = {"output.value": '{"id": "msg_1", "content": []}', "llm.model_name": "m"}
    outer = made_span(openinference("a", **reply), trace="a" * 32, scope="openinference")
    bare = {"gen_ai.operation.name": "chat", **ANSWERED}
    inner = made_span(bare, trace="b" * 32, scope="com.anthropic.sdk.python")

    (call,), left = found(inner, outer)

    assert (call.convention, left) == ("openinference", {AROUND: 1})


def test_two_roots_of_one_failure_are_one_call() -> None:
    outer = replace(made_span(genai("a"), trace="a" * 32, scope="traceloop"), error="404")
    bare = made_span({"gen_ai.operation.name": "chat"}, trace="b" * 32, scope="anthropic")
    inner = replace(bare, start_s=outer.start_s + 0.1, end_s=outer.end_s - 0.1, error="404")

    assert [len(found(*spans)[0]) for spans in ((inner, outer), (outer, inner))] == [1, 1]
    assert len(found(replace(inner, error=None), outer)[0]) == 2
