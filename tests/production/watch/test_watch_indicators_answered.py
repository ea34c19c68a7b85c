"""A traced call as metrics read it: text, finish reason, and what counts as failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.traced_calls import call
from tunegate.harness.production.watch.answered_case import case_of_call
from tunegate.harness.telemetry.read import read_spans
from tunegate.harness.telemetry.read.model_calls import find_model_calls
from tunegate.harness.telemetry.read.types import ImportReport

RECORDED = Path(__file__).parents[2] / "otel_import" / "recorded"
TOOL = {"type": "function", "function": {"name": "order", "arguments": '{"id": "A"}'}}


@pytest.mark.parametrize(
    ("said", "read_as"),
    [
        ("end_turn", "stop"),
        ("tool_calls", "stop"),
        ("STOP", "stop"),
        ("max_tokens", "length"),
        ("length", "length"),
        ("guardrail", "guardrail"),
        (None, None),
    ],
)
def test_finish_reasons(said: str | None, read_as: str | None) -> None:
    """What providers call ended and cut is `stop` and `length`; other words stay as they are."""
    done = case_of_call(call(1, finish_reason=said)).completion

    assert done is not None
    assert done.finish_reason == read_as


def test_tool_calls_are_text() -> None:
    """They are written out as a local model would, for the metrics."""
    done = case_of_call(call(1, answer=None, answer_calls=(TOOL,))).completion

    assert done is not None
    assert done.text == '<tool_call>{"name": "order", "arguments": {"id": "A"}}</tool_call>'


@pytest.mark.parametrize("answer", ["", None])
def test_an_empty_answer_is_not_a_missing_one(answer: str | None) -> None:
    done = case_of_call(call(1, answer=answer)).completion

    assert done is not None
    assert done.text == answer


def test_a_failed_call_has_no_completion() -> None:
    for one in (call(1, error=""), call(1, error="429"), call(1, finish_reason="content_filter")):
        assert case_of_call(one).completion is None


@pytest.mark.parametrize("folder", sorted(RECORDED.glob("*-*")), ids=lambda path: path.name)
def test_real_instrumentations(folder: Path) -> None:
    """Calls that clients' instrumentations recorded have a completion, its model and its time."""
    reading = ImportReport()
    found = [
        case_of_call(one)
        for one in find_model_calls(read_spans([folder], reading), reading.leave_out)
    ]

    assert len(found) == (9 if "responses" in folder.name else 8)
    for one in found:
        assert one.completion is not None
        assert one.completion.answered_by == "base"
        assert one.completion.finish_reason in ("stop", None)
        assert one.completion.latency_s is not None
