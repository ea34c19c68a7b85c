"""The checks of an answer: the suite's metrics, tool calls, refusal and length."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.production.guardrail.response_checks import ResponseChecks
from tunegate.harness.production.guardrail.settings import parse_settings
from tunegate.harness.records.errors import UsageError

SUITE = """
name = "tickets"
cases = "cases.jsonl"
[[metrics]]
use = "json_valid"
[[metrics]]
use = "loops"
[[metrics]]
use = "exact_match"
[[gates]]
metric = "exact_match"
floor = 0.5
"""
TOOL = {
    "type": "function",
    "function": {
        "name": "order",
        "parameters": {
            "type": "object",
            "properties": {"id": {"type": "string"}},
            "required": ["id"],
        },
    },
}


@pytest.fixture
def suite(tmp_path: Path) -> str:
    """Return the folder of a suite with three metrics; one needs the right answer."""
    (tmp_path / "suite.toml").write_text(SUITE, encoding="utf-8")
    case = {"id": "c", "prompt": "?", "expected": "{}"}
    (tmp_path / "cases.jsonl").write_text(json.dumps(case) + "\n", encoding="utf-8")
    return str(tmp_path)


def _found(message: dict[str, Any], request: dict[str, Any] | None = None, **given: Any) -> Any:
    asked = {"messages": [{"role": "user", "content": "?"}], **(request or {})}
    choice = {"message": {"role": "assistant", **message}, "finish_reason": "stop"}
    found = ResponseChecks(parse_settings(given)).violations(asked, [choice])
    return [(one.check, one.reason) for one in found]


def _called(name: str, arguments: str) -> dict[str, Any]:
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    return {"content": None, "tool_calls": [call]}


def test_the_suites_metrics_without_expected_answers_check(suite: str) -> None:
    (only,) = _found({"content": "{"}, suite=suite)

    assert only[0] == "json_valid"
    assert _found({"content": "{}"}, suite=suite) == []
    assert [name for name, _ in _found({"content": "[" + "1, " * 50}, suite=suite)] == [
        "json_valid",
        "loops",
    ]


def test_only_the_named_metrics_check(suite: str) -> None:
    assert _found({"content": "{"}, suite=suite, metrics=["loops"]) == []


def test_a_metric_that_needs_the_expected_answer_is_refused(suite: str) -> None:
    with pytest.raises(UsageError, match=r"metrics='exact_match'.*with json_valid, loops"):
        ResponseChecks(parse_settings({"suite": suite, "metrics": ["exact_match"]}))


def test_metrics_without_a_suite_are_refused() -> None:
    with pytest.raises(UsageError, match="give suite: FOLDER"):
        ResponseChecks(parse_settings({"metrics": ["loops"]}))


def test_length_and_refusal_are_checked_only_if_set() -> None:
    refusal = {"content": "I'm sorry, but I can't help with that."}

    assert _found(refusal) == []
    ((check, reason),) = _found(refusal, refusal=True)
    assert (check, "refused" in reason) == ("refusal", True)
    assert _found(refusal, max_answer_characters=10) == [
        ("length", "38 characters, and 10 are allowed")
    ]


def test_a_tool_call_must_match_an_offered_tool() -> None:
    request = {"tools": [TOOL]}

    assert _found(_called("order", '{"id": "A"}'), request) == []
    assert _found(_called("refund", "{}"), request) == [
        ("calls", "'refund' is not a tool of the request")
    ]
    ((check, reason),) = _found(_called("order", '{"id": 7}'), request)
    assert check == "calls"
    assert reason.startswith("arguments of order: $.id")
    assert _found(_called("order", '{"id": '), request)[0][1].startswith(
        "arguments of order: not JSON"
    )
    assert _found(_called("order", "[]"), request, calls=False) == []


def test_a_tool_call_is_not_the_suites_form(suite: str) -> None:
    assert _found(_called("order", '{"id": "A"}'), {"tools": [TOOL]}, suite=suite) == []


def test_every_choice_is_checked(suite: str) -> None:
    choices = [{"text": "{}", "finish_reason": "stop"}, {"text": "{", "finish_reason": "stop"}]

    found = ResponseChecks(parse_settings({"suite": suite})).violations({"prompt": "?"}, choices)

    assert [one.check for one in found] == ["json_valid"]


def test_content_in_parts_is_joined(suite: str) -> None:
    parts = [{"type": "text", "text": "{"}, {"type": "text", "text": "}"}]

    assert _found({"content": parts}, suite=suite) == []


def test_an_empty_answer_is_not_json(suite: str) -> None:
    assert [check for check, _ in _found({"content": None}, suite=suite)] == ["json_valid"]


@pytest.mark.parametrize(
    "message",
    [
        {"content": "x", "reasoning": "jo@example.org"},
        {"content": "x", "refusal": "jo@example.org"},
        {"content": "x", "audio": {"transcript": "jo@example.org"}},
        {"content": "x", "thinking_blocks": [{"type": "thinking", "thinking": "jo@example.org"}]},
    ],
)
def test_leaks_beside_the_content_are_found(message: dict[str, Any]) -> None:
    (found,) = ResponseChecks(parse_settings({})).violations({}, [{"message": message}])

    assert (found.check, found.reason) == ("leaks", "1 email")


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "function_call": {"name": "wipe", "arguments": "{}"}},
        {"content": "x", "tool_calls": ["wipe"]},
        {"content": "x", "tool_calls": [{"function": {"arguments": "{}"}}]},
    ],
)
def test_malformed_calls_are_violations(message: dict[str, Any]) -> None:
    (found,) = ResponseChecks(parse_settings({})).violations({}, [{"message": message}])

    assert found.check == "calls"
