"""A traced call as metrics read it: text, finish reason, and what counts as failed."""

from __future__ import annotations

import pytest

from tests.traced_calls import call
from tunegate.harness.production.watch.answered_case import case_of_call

TOOL = {"type": "function", "function": {"name": "order", "arguments": '{"id": "A"}'}}


def test_tool_calls_are_text() -> None:
    done = case_of_call(
        call(1, answer=None, answer_calls=(TOOL,), finish_reason="tool_calls")
    ).completion

    assert done is not None
    assert done.finish_reason == "stop"
    assert done.text == '<tool_call>{"name": "order", "arguments": {"id": "A"}}</tool_call>'


@pytest.mark.parametrize("answer", ["", None])
def test_an_empty_answer_is_not_a_missing_one(answer: str | None) -> None:
    done = case_of_call(call(1, answer=answer)).completion

    assert done is not None
    assert done.text == answer


def test_a_failed_call_has_no_completion() -> None:
    for one in (call(1, error=""), call(1, error="429"), call(1, finish_reason="content_filter")):
        assert case_of_call(one).completion is None
