"""The bundled suite `tool_calls`: its expectations can be met, and only by the right calls."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.suite_templates import commonest_opening, largest_template
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.suite import Suite
from tunegate.suites.tool_calls import make

FOLDER = Path(__file__).parents[2] / "suites/tool_calls"

Choose = Callable[[Sequence[Any]], Any]


def first(allowed: Sequence[Any]) -> Any:
    """Choose the value that is written first."""
    return allowed[0]


def last(allowed: Sequence[Any]) -> Any:
    """Choose the value that is written last: where an argument may be left out, that."""
    return allowed[-1]


def ideal(case: Case, choose: Choose) -> list[dict[str, Any]]:
    """Return right calls, made from the expected ones by choosing one allowed value of each."""
    return [
        {"name": call["name"], "arguments": _chosen(call["arguments"], choose)}
        for call in case.expected_calls or ()
    ]


def _chosen(arguments: dict[str, list[Any]], choose: Choose) -> dict[str, Any]:
    chosen = {name: choose(allowed) for name, allowed in arguments.items()}
    return {name: _plain(value, choose) for name, value in chosen.items() if value != make.OMITTED}


def _plain(value: Any, choose: Choose) -> Any:
    if isinstance(value, dict):
        return _chosen(value, choose)
    return [_plain(one, choose) for one in value] if isinstance(value, list) else value


def definitions(case: Case) -> dict[str, Any]:
    """Return the tools that the case offers, by name."""
    return {tool["function"]["name"]: tool["function"] for tool in case.tools or ()}


def text(case: Case) -> str:
    """Return what the user says."""
    said = [m["content"] for m in case.input_messages() if m["role"] == "user"]
    return " ".join(said)


def test_the_file_is_what_the_material_makes(cases: list[Case]) -> None:
    """`python -m tunegate.suites.tool_calls.make` would change no byte."""
    tools, written = make.material()
    lines = [json.dumps(make.case(one, tools), ensure_ascii=False) for one in written]

    assert (FOLDER / "cases.jsonl").read_text(encoding="utf-8").splitlines() == lines
    assert {one["about"] for one in written} == set(tools)


def test_it_is_as_large_and_as_varied_as_it_says(cases: list[Case]) -> None:
    """220 cases, 25 tools or more, every kind with enough cases to be seen."""
    kinds = {kind: sum(kind in c.tags for c in cases) for kind in ("no_call", "parallel", "nested")}

    assert len(cases) == 220
    assert len({name for case in cases for name in definitions(case)}) >= 25
    assert kinds["no_call"] >= 40
    assert kinds["parallel"] >= 30
    assert kinds["nested"] >= 20
    for case in cases:
        assert ("no_call" in case.tags) == (not case.expected_calls)
        assert ("parallel" in case.tags) == (len(case.expected_calls or ()) > 1)


def test_no_template_makes_more_than_a_twentieth(cases: list[Case]) -> None:
    prompts = [text(case) for case in cases]

    assert len(set(prompts)) == len(prompts)
    assert largest_template(prompts) <= 0.05
    assert commonest_opening(prompts) <= 0.05


def test_every_tool_is_a_sound_schema(cases: list[Case]) -> None:
    """As the jsonschema library sees it; each requires only arguments that it has."""
    for case in cases:
        assert len(definitions(case)) == len(case.tools or ())
        for function in definitions(case).values():
            Draft202012Validator.check_schema(function["parameters"])
            assert set(function["parameters"]["required"]) <= set(
                function["parameters"]["properties"]
            )


@pytest.mark.parametrize("choose", [first, last])
def test_right_calls_obey_the_schemas(cases: list[Case], choose: Choose) -> None:
    for case in cases:
        for call in ideal(case, choose):
            parameters = definitions(case)[call["name"]]["parameters"]
            strict = {**parameters, "additionalProperties": False}
            errors = [
                e.message for e in Draft202012Validator(strict).iter_errors(call["arguments"])
            ]
            assert errors == [], case.id


@pytest.mark.parametrize("choose", [first, last])
def test_right_calls_score_one(suite: Suite, choose: Choose) -> None:
    for case in suite.cases:
        calls = ideal(case, choose)
        said = json.dumps(calls) if calls else "No tool of mine can do that."
        score = suite.metric("tool_calls")(case, Completion(text=said))
        assert score.value == 1.0, (case.id, score.reason)


def test_no_call_is_right_where_none_is_wanted_and_wrong_elsewhere(suite: Suite) -> None:
    for case in suite.cases:
        for said in ("", "I would rather talk about it first."):
            score = suite.metric("tool_calls")(case, Completion(text=said))
            assert score.value == float("no_call" in case.tags), case.id


def test_a_wrong_value_a_missing_call_and_another_tool_score_zero(suite: Suite) -> None:
    tool_calls = suite.metric("tool_calls")
    for case in suite.cases:
        calls = ideal(case, first)
        if not calls:
            spoilt = [[{"name": name, "arguments": {}}] for name in definitions(case)]
        else:
            invented = {**calls[0]["arguments"], "not_an_argument": 1}
            spoilt = [
                calls[1:],
                [*calls, calls[0]],
                [{"name": "no_such_tool", "arguments": {}}, *calls[1:]],
                [{"name": calls[0]["name"], "arguments": invented}, *calls[1:]],
            ]
        for wrong in spoilt:
            score = tool_calls(case, Completion(text=json.dumps(wrong)))
            assert score.value == 0.0, (case.id, wrong)


def test_a_model_that_always_does_the_same_breaks_the_floor(suite: Suite) -> None:
    """Never calling gets the no-call cases right; always calling all others at best."""
    [floor] = [float(gate.margin) for gate in suite.gates if gate.kind == "floor"]
    silent = sum("no_call" in case.tags for case in suite.cases) / len(suite.cases)

    assert silent < floor
    assert 1 - silent < floor
