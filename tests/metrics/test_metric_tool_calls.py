"""tool_calls: which calls are right, by a table written from BFCL's rules before the code."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics.tool_calls import tool_calls
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.records.scores import Score
from tunegate.harness.suite import load_suite

TABLE = json.loads((Path(__file__).parent / "tool_calls_cases.json").read_text(encoding="utf-8"))
"""Tools, and rows of expected calls with calls that are right or fail in the parts named."""
TOOLS: tuple[dict[str, Any], ...] = tuple(TABLE["tools"])
ROME = {"name": "weather", "arguments": {"city": ["Rome", "Roma"], "unit": ["celsius", ""]}}
OSLO = {"name": "weather", "arguments": {"city": ["Oslo"], "unit": ["celsius", ""]}}
PING: dict[str, Any] = {"name": "ping", "arguments": {}}


def order(**allowed: list[Any]) -> list[dict[str, Any]]:
    """Return the expectation of one call of `order`."""
    return [{"name": "order", "arguments": allowed}]


def call(name: str, **arguments: Any) -> dict[str, Any]:
    """Return a call in the plain JSON form."""
    return {"name": name, "arguments": arguments}


def score(expected: Any, text: str | None, tools: Any = TOOLS, **options: Any) -> Score:
    """Score `text` without the safety net of Metric.__call__, so that an exception shows."""
    case = Case(id="c", prompt="p", tools=tools, expected_calls=expected)
    return tool_calls.score(case, Completion(text=text), **options)


def rows(kind: str) -> list[Any]:
    """Return the rows of one kind, each known by what it is about."""
    return [pytest.param(row, id=row["what"]) for row in TABLE[kind]]


@pytest.mark.parametrize("row", rows("right"))
def test_right_calls_score_one(row: Any) -> None:
    """Every part of a right answer is 1."""
    result = score(row["expected_calls"], json.dumps(row["calls"]))

    assert result.value == 1.0, result.reason
    assert set((result.parts or {}).values()) == {1.0}


@pytest.mark.parametrize("row", rows("wrong"))
def test_wrong_calls_score_zero_and_the_parts_say_why(row: Any) -> None:
    result = score(row["expected_calls"], json.dumps(row["calls"]))
    parts = result.parts or {}

    assert result.value == 0.0
    assert sorted(name for name, value in parts.items() if value < 1.0) == row["failed"]
    assert result.reason


def test_parts_are_shares_of_the_calls() -> None:
    """Two calls, one with a wrong value: names 2/2, values 1/2."""
    calls = [call("weather", city="Paris"), call("weather", city="Oslo")]
    parts = score([ROME, OSLO], json.dumps(calls)).parts or {}

    assert (parts["names"], parts["values"], parts["types"]) == (1.0, 0.5, 1.0)


@pytest.mark.parametrize(
    ("cities", "ordered", "value"),
    [(("Rome", "Oslo"), True, 1.0), (("Oslo", "Rome"), True, 0.0), (("Oslo", "Rome"), False, 1.0)],
)
def test_order_counts_only_when_asked(cities: tuple[str, ...], ordered: bool, value: float) -> None:
    """Parallel calls have no order; steps of a plan have one."""
    text = json.dumps([call("weather", city=city) for city in cities])

    assert score([ROME, OSLO], text, ordered=ordered).value == value


@pytest.mark.parametrize(("city", "value"), [("Rome", 1.0), ("rome", 0.0), ("R.o.m.e", 0.0)])
def test_exact_strings_are_exact(city: str, value: float) -> None:
    """`strings = "exact"` takes BFCL's leniency away."""
    text = json.dumps(call("weather", city=city))

    assert score([ROME], text, strings="exact").value == value


@pytest.mark.parametrize(
    ("calls", "value"),
    [
        (call("weather", city="Rome"), 1.0),
        (call("weather", city="Rome", unit="celsius"), 1.0),
        (call("weather"), 0.0),
        (call("weather", city="Rome", x=1), 0.0),
    ],
)
def test_a_case_without_tools_goes_by_its_expectation(calls: Any, value: float) -> None:
    assert score([ROME], json.dumps(calls), None).value == value


@pytest.mark.parametrize(
    "text", ["I cannot do that.", "", "{}", "[]", '{"answer": 3}', "[Rome](https://a.org)", "42"]
)
def test_an_answer_without_calls(text: str) -> None:
    assert score([], text).value == 1.0
    assert score([PING], text).parts == {"syntax": 1.0, "count": 0.0}


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "ping", "arguments": {}</tool_call>',
        '{"name": "ping", "arguments": [1]}',
        '{"name": "ping", "arguments": {',
        '[TOOL_CALLS] [{"name": "ping"',
        "ping(1)",
        "ping(x=y + 1)",
    ],
)
def test_a_call_that_cannot_be_read_is_never_right(text: str) -> None:
    assert score([PING], text) == score([], text)
    assert score([], text).value == 0.0
    assert score([], text).parts == {"syntax": 0.0}
    assert score([], text).reason


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        ([call("weather", city="Paris")], "weather: city='Paris' is not one of 'Rome', 'Roma'"),
        ([call("weather", city=5)], "weather: city=5 must be a string"),
        ([call("weather")], "weather: the required argument 'city' is missing"),
        ([call("weather", city="Rome", x=1)], "weather: the argument 'x'"),
        ([call("ping")], "no call of weather"),
        ([call("ping"), call("ping")], "2 calls instead of 1"),
    ],
)
def test_the_reason_names_syntax_and_fault(calls: Any, words: str) -> None:
    reason = str(score([ROME], json.dumps(calls)).reason)

    assert reason.startswith("read as json; ")
    assert words in reason


BROKEN: list[tuple[Any, Any, str]] = [
    ([{"name": "wether", "arguments": {}}], TOOLS, "'wether'"),
    ([{"name": "weather", "arguments": {}}], TOOLS, "'city'"),
    ([{"name": "ping", "arguments": {"x": [1]}}], TOOLS, "'x'"),
    ([{"name": "weather", "arguments": {"city": [1]}}], TOOLS, "city"),
    ([{"name": "weather", "arguments": {"city": [""]}}], TOOLS, "city"),
    ([{"name": "weather", "arguments": {"city": "Rome"}}], TOOLS, "list"),
    ([{"name": "weather", "arguments": {"city": []}}], TOOLS, "list"),
    (order(to=[{"street": "Elm"}]), TOOLS, "street"),
    (order(sizes=[[1.5]]), TOOLS, "sizes"),
    ([{"name": "ping"}], TOOLS, "arguments"),
    ([{"arguments": {}}], TOOLS, "name"),
    ([PING], ({"type": "function"},), "name"),
    ([PING], ({"name": "ping"}, {"name": "ping"}), "twice"),
    ([PING], ({"name": "ping", "parameters": "none"},), "parameters"),
    ([PING], ({"name": "ping", "parameters": {"properties": ["x"]}},), "properties"),
    ([PING], ({"name": "ping", "parameters": {"required": [1]}},), "required"),
]


@pytest.mark.parametrize(("expected", "tools", "words"), BROKEN)
def test_an_expectation_that_nothing_meets_is_refused(
    expected: Any, tools: Any, words: str
) -> None:
    """It is found when the suite is loaded, with the case's id; the case is unscored, not 0."""
    assert tool_calls.check is not None
    case = Case(id="odd", prompt="p", tools=tools, expected_calls=expected)
    problems = list(tool_calls.check({}, [case]))

    assert problems
    assert all("case 'odd'" in problem for problem in problems)
    assert words in problems[0]
    assert score(expected, "ping()", tools).value is None


def test_sound_expectations_are_not_refused() -> None:
    assert tool_calls.check is not None
    cases = [
        Case(id="c", prompt="p", tools=TOOLS, expected_calls=row["expected_calls"])
        for row in TABLE["right"] + TABLE["wrong"]
    ]

    assert list(tool_calls.check({}, cases)) == []


def test_a_suite_says_where_an_expectation_is_wrong(tmp_path: Path) -> None:
    """Form and absence come with the case's line, sense with its id; an empty list is fine."""
    rows = [
        {"id": "none", "prompt": "p", "expected_calls": []},
        {"id": "plain", "prompt": "p", "expected_calls": [call("weather", city="Rome")]},
        {"id": "odd", "prompt": "p", "tools": TOOLS, "expected_calls": [call("wether")]},
        {"id": "bare", "prompt": "p"},
    ]
    (tmp_path / "cases.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "suite.toml").write_text(
        'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "tool_calls"\n'
    )
    with pytest.raises(SuiteError) as refused:
        load_suite(tmp_path)

    assert [problem.removeprefix(f"{tmp_path}/") for problem in refused.value.problems] == [
        'cases.jsonl:2: expected_calls.0.arguments.city: "Rome" must be a list',
        "cases.jsonl:4: case 'bare' has no 'expected_calls', which the metric 'tool_calls' needs",
        "suite.toml:4: case 'odd': expected_calls[0]: unknown tool 'wether'; did you mean "
        "'weather'?",
    ]


NAMES = st.sampled_from(["city", "unit", "days", "x"])
VALUES = st.sampled_from(["Rome", "Oslo", "", 1, 1.0, True, None, [], {}, ["a"], {"a": 1}])
CALLS = st.lists(
    st.builds(
        lambda name, arguments: {"name": name, "arguments": arguments},
        st.sampled_from(["weather", "ping", "nope"]),
        st.dictionaries(NAMES, VALUES, max_size=3),
    ),
    max_size=4,
)


@given(CALLS, st.booleans())
def test_the_score_is_one_exactly_when_every_part_is(calls: Any, ordered: bool) -> None:
    """Parts are between 0 and 1, and a right answer has no failed part."""
    result = score([ROME, PING], json.dumps(calls), ordered=ordered)
    parts = result.parts or {}

    assert all(0.0 <= value <= 1.0 for value in parts.values())
    assert (result.value == 1.0) == (set(parts.values()) == {1.0})


@given(st.permutations([ROME, OSLO, PING]))
def test_order_of_the_expectation_means_nothing(expected: Any) -> None:
    calls = [call("ping"), call("weather", city="Oslo"), call("weather", city="Rome")]

    assert score(expected, json.dumps(calls)).value == 1.0


@pytest.mark.parametrize(
    "calls",
    [
        [call("weather", city="x" * 1_000_000)],
        [call("weather", city="Rome")] * 25_000,
        [call("weather", **{f"a{n}": n for n in range(60_000)})],
        [call("weather", city=["a"] * 200_000)],
    ],
    ids=["text", "calls", "arguments", "list"],
)
def test_a_megabyte_takes_no_time(calls: Any) -> None:
    start = time.monotonic()
    result = score([ROME, OSLO, PING], json.dumps(calls))

    assert result.value == 0.0
    assert len(str(result.reason)) < 1000
    assert time.monotonic() - start < 10
