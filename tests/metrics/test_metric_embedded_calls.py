"""Tool calls in fences, prose and other markup: a table written from real models' styles."""

from __future__ import annotations

import json
import time
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.contracts.reasoning import without_thoughts
from tunegate.harness.metrics._embedded_calls import read_calls
from tunegate.harness.metrics._expected_calls import offered_tools
from tunegate.harness.metrics._tool_call_parsers import SYNTAXES
from tunegate.harness.metrics.tool_calls import tool_calls
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

TABLE = json.loads(
    (Path(__file__).parent / "tables" / "tool_call_texts.json").read_text(encoding="utf-8")
)
"""Tools, and texts with the calls that they hold and their form."""
TOOLS: tuple[dict[str, Any], ...] = tuple(TABLE["tools"])
OFFERED = offered_tools(Case(id="c", prompt="p", tools=TOOLS))
READ_BY = {"right": ("strict", "fence", "prose"), "fence": ("fence", "prose"), "prose": ("prose",)}
"""Form → the values of `extract` that read it."""
CALL = '{"name": "weather", "arguments": {"city": "Rome"}}'
ROME = [{"name": "weather", "arguments": {"city": ["Rome"]}}]


def expectation(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the expectation that the calls meet; an underscore may replace a name's dot."""
    names = {name.replace(".", "_"): name for name in OFFERED}
    return [
        {
            "name": names.get(call["name"], call["name"]),
            "arguments": {key: [value] for key, value in call["arguments"].items()},
        }
        for call in calls
    ]


def score(expected: Any, text: str, tools: Any = TOOLS, **options: Any) -> Score:
    """Score `text` without the safety net of Metric.__call__, so that an exception shows."""
    case = Case(id="c", prompt="p", tools=tools, expected_calls=expected)
    return tool_calls.score(case, without_thoughts(Completion(text=text)), **options)


def test_a_call_counts_in_the_forms_that_are_read() -> None:
    """The right calls score 1 where `extract` reads their form, else 0 with the part `form`."""
    for row, extract in product(TABLE["texts"], ("strict", "fence", "prose")):
        result = score(expectation(row["calls"]) or ROME, row["text"], extract=extract)
        read = extract in READ_BY.get(row["form"], ())

        assert result.value == float(read), (row["text"], result.reason)
        if row["calls"]:
            failed = {part for part, value in (result.parts or {}).items() if value < 1.0}
            assert failed == (set() if read else {"form"}), row["text"]


def test_a_text_with_a_call_is_no_abstention() -> None:
    """Where no tool may be called, only a text without any call scores 1, in every setting.

    What cannot be read in any syntax is an attempt where every syntax counts.
    """
    for row in TABLE["texts"]:
        others = () if row["form"] == "unreadable" else (*SYNTAXES, "markup")
        for syntax, extract in product(("auto", *others), ("strict", "fence", "prose")):
            result = score([], row["text"], syntax=syntax, extract=extract)

            wanted = float(row["form"] == "none")
            assert result.value == wanted, (row["text"], syntax, result.reason)


def test_the_reason_says_which_option_reads_the_form() -> None:
    """A user who meets a 0 for the form sees where the call is and what to set."""
    fenced, prose = (str(score(ROME, text).reason) for text in (f"```\n{CALL}\n```", f"So: {CALL}"))

    assert "in a ``` fence" in fenced
    assert 'extract = "fence"' in fenced
    assert "within other text" in prose
    assert 'extract = "prose"' in prose


def test_another_syntax_than_the_named_one_is_in_the_wrong_form() -> None:
    """A program that reads Hermes does not see Python calls, and `extract` changes nothing."""
    for extract in ("strict", "prose"):
        result = score(ROME, '[weather(city="Rome")]', syntax="hermes", extract=extract)

        assert (result.value, (result.parts or {})["form"]) == (0.0, 0.0)
    assert score(ROME, f"Sure: {CALL}", syntax="openai", extract="prose").value == 1.0


def test_the_calls_are_compared_in_every_form() -> None:
    """A wrong value in a fence fails by form and value; when the fence is read, by value alone."""
    text = f"```json\n{CALL.replace('Rome', 'Oslo')}\n```"
    strict, fence = score(ROME, text), score(ROME, text, extract="fence")

    assert {k for k, v in (strict.parts or {}).items() if v < 1} == {"form", "values"}
    assert {k for k, v in (fence.parts or {}).items() if v < 1} == {"values"}


def test_without_offered_tools_the_expected_ones_are_looked_for() -> None:
    assert score(ROME, f"Sure: {CALL}", None, extract="prose").value == 1.0
    assert score([], f"Sure: {CALL}", None).value == 0.0
    assert score([], 'Sure: weather(city="Rome")', None).value == 1.0


def test_a_tool_that_is_not_offered_is_called_in_json_only() -> None:
    """An object with name and arguments is a call of whatever name; Python code is not."""
    assert score([], f"Sure: {CALL.replace('weather', 'forecast')}").value == 0.0
    assert score([], 'Sure: forecast(city="Rome")').value == 1.0


PIECES = st.sampled_from(
    [
        *("weather", "weather(", "ping()", "shop.find", "```", "```json\n", "~~~", "</think>"),
        *(CALL, CALL[:-1], '{"name": "weather"', "{'a': 1}", "city=", "<function=weather>"),
        *("<parameter=city>", "</function>", "<tool_call>", "<arg_key>", ">>>weather\n"),
        *"()[]{},;:\"'\\. \n1=\0\ud800",
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join), st.sampled_from(["auto", *SYNTAXES, "markup"]))
def test_any_text_is_read(text: str, syntax: Any) -> None:
    found = read_calls(text, OFFERED, syntax)

    assert all(json.dumps(dict(call.arguments)) for call in found.reading.calls)


@pytest.mark.parametrize("before", ["Sure: ", "```\nx\n```\n", "I think [1]. "])
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["city", "unit"]), st.text(max_size=8), min_size=1, max_size=2
        ),
        min_size=1,
        max_size=3,
    )
)
def test_what_was_written_is_what_is_read(before: str, arguments: list[dict[str, str]]) -> None:
    calls = [{"name": "weather", "arguments": one} for one in arguments]
    as_json = " and ".join(map(json.dumps, calls))
    as_python = "\n".join(
        f"weather({', '.join(f'{key}={value!r}' for key, value in one.items())})"
        for one in arguments
    )
    for text in (as_json, as_python):
        found = read_calls(f"{before}{text} so", OFFERED)

        assert [dict(call.arguments) for call in found.reading.calls] == arguments
        assert found.form == "prose"


@pytest.mark.parametrize(
    "unit",
    [
        "weather(",
        "weather",
        "weather ",
        "weather()",
        "weather(a",
        'weather(city="Rome") ',
        'weather("',
        "weather(city=x) ",
        "weather " * 9 + '{"',
        '{"name": "weather", ',
        '{"name": "weather", "arguments": {',
        "{'name': 'weather', ",
        '{"weather": {',
        f"{CALL} ",
        f"```\n{CALL}\n```\n",
        "```",
        '{"a": ',
        "<function=weather>",
        "<function=weather><parameter=city>",
        "<invoke name=",
        "<weather>",
        "<weather><city>",
        '<function name="weather"><param name="city" ',
        "<tool_call>\n",
        "<start_function_call>call:weather{",
        "Action: weather\n",
        "</think>",
    ],
)
def test_the_time_grows_with_the_length_of_a_text(unit: str) -> None:
    def took(characters: int) -> float:
        text = unit * (characters // len(unit)) + " weather"
        start = time.process_time()
        read_calls(text, OFFERED)
        return time.process_time() - start

    # The second half is for slow machines: a square would take four times as long.
    assert (once := took(60_000)) < 2 or took(120_000) < 3 * once
