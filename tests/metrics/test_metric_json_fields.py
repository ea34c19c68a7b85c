"""json_fields: F1 over leaves, counted by hand."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics.json_fields import json_fields
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=10,
)


def score(expected: Any, text: str | None, **options: Any) -> Score:
    """Score `text` without the safety net of Metric.__call__, so that an exception shows."""
    case = Case(id="c", prompt="p", expected=expected)
    return json_fields.score(case, Completion(text=text), **options)


@pytest.mark.parametrize(
    ("expected", "text", "value"),
    [
        # 2 · right / (given + wanted)
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', 1.0),  # 4/4, order of keys is nothing
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 3}', 0.5),  # 2·1/(2+2)
        ('{"a": 1, "b": 2}', '{"a": 1}', 2 / 3),  # 2·1/(1+2): missing
        ('{"a": 1}', '{"a": 1, "b": 2}', 2 / 3),  # 2·1/(2+1): invented
        ('{"city": "Rome", "days": 3}', '{"city": "Rome", "days": 4, "vip": true}', 0.4),  # 2/5
        ('{"a": {"b": {"c": 1, "d": 2}}}', '{"a": {"b": {"c": 1}}}', 2 / 3),
        ('{"a": {"b": 1}}', '{"b": 1}', 0.0),  # the path belongs to the leaf
        ('{"a": 1}', '{"A": 1}', 0.0),
        ("{}", "{}", 1.0),  # an empty object is one leaf: 2·1/2
        ("{}", '{"a": 1}', 0.0),
        ('{"a": []}', '{"a": []}', 1.0),
        ('{"a": []}', '{"a": {}}', 0.0),
        ('{"a": []}', '{"a": null}', 0.0),
        ('{"a": null}', "{}", 0.0),  # absent is not null
        ("[1, 2]", "[1, 2]", 1.0),  # any JSON value can be expected
        ("3", "3", 1.0),
        ("3", "[3]", 0.0),
        # strict types
        ('{"a": 1}', '{"a": "1"}', 0.0),
        ('{"a": 1}', '{"a": true}', 0.0),
        ('{"a": 0}', '{"a": false}', 0.0),
        ('{"a": null}', '{"a": "null"}', 0.0),
        ('{"a": 1}', '{"a": 1.0}', 1.0),  # JSON has one kind of number
        ('{"a": 0.1}', '{"a": 0.10000000000000001}', 1.0),
        ('{"a": 1}', '{"a": 1.0000001}', 0.0),
        ('{"a": "x"}', '{"a": "x "}', 0.0),
        # lists as sequences
        ("[1, 2, 3]", "[1, 2, 3]", 1.0),
        ("[1, 2, 3]", "[3, 2, 1]", 1 / 3),  # only the middle one: 2·1/6
        ("[1, 2, 3]", "[0, 1, 2, 3]", 0.0),  # one too many in front, the documented limit
        ("[1, 2]", "[1, 2, 2, 2]", 2 / 3),  # 2·2/6
        ('[{"a": 1}, {"a": 2}]', '[{"a": 2}, {"a": 2}]', 0.5),
    ],
)
def test_counts_equal_leaves(expected: str, text: str, value: float) -> None:
    """Each row is 2 · right / (given + wanted), counted by hand."""
    assert score(expected, text).value == pytest.approx(value)


@pytest.mark.parametrize(
    ("expected", "text", "value"),
    [
        ("[1, 2, 3]", "[3, 1, 2]", 1.0),
        ("[1, 2, 3]", "[0, 1, 2, 3]", 6 / 7),  # 2·3/(4+3)
        ("[1, 1, 2]", "[1, 2, 2]", 2 / 3),  # repeats count: one 1 and one 2 pair up
        ("[true]", "[1]", 0.0),
        ('[{"a": 1}, {"a": 2}]', '[{"a": 2}, {"a": 1}]', 1.0),
        ('[{"a": 1, "b": 1}, {"a": 2, "b": 2}]', '[{"a": 1, "b": 2}, {"a": 2, "b": 1}]', 1.0),
        ("[[1, 2], [3]]", "[[3], [2, 1]]", 1.0),
        ("[[], {}]", "[{}, []]", 1.0),
        ('{"a": [1]}', '{"a": {"0": 1}}', 0.0),
        ('["1"]', "[1]", 0.0),
    ],
)
def test_sets_ignore_the_order(expected: str, text: str, value: float) -> None:
    assert score(expected, text, lists="set").value == pytest.approx(value)


@pytest.mark.parametrize(
    ("expected", "text", "tolerance", "lists", "value"),
    [
        ("1.0", "1.1", 0.1, "sequence", 1.0),  # decimal: 1.1 - 1.0 is 0.1, though floats say more
        ("1.0", "1.11", 0.1, "sequence", 0.0),
        ("0.3", "0.1", 0.2, "sequence", 1.0),
        ("100", "98", 2, "sequence", 1.0),
        ("1", "true", 5, "sequence", 0.0),
        ("1", '"1"', 5, "sequence", 0.0),
        ("1e300", "-1e300", 1e308, "sequence", 1.0),
        ("1" + "0" * 400, "1.5", 0.5, "sequence", 0.0),  # an integer beyond any float
        # 1 reaches 1.4 only, 2 reaches both: the most pairs are two
        ("[1, 2]", "[1.6, 1.4]", 0.5, "set", 1.0),
        ("[1, 2, 9]", "[1.5]", 0.5, "set", 0.5),  # one leaf pairs once: 2·1/(1+3)
        ('[1, "x", null]', '[null, "x", 1.5]', 0.5, "set", 1.0),
        ("[1, 2, 9]", "[5, 9]", 0.5, "set", 0.4),  # 2·1/5: those without a partner are passed over
        ("[5, 9]", "[1, 2, 9]", 0.5, "set", 0.4),  # on either side
        ("1", "5", math.inf, "sequence", 1.0),
    ],
)
def test_tolerance_is_for_numbers(
    expected: str, text: str, tolerance: float, lists: str, value: float
) -> None:
    """Numbers may differ by the tolerance, border included; nothing else may."""
    assert score(expected, text, numeric_tolerance=tolerance, lists=lists).value == value


@pytest.mark.parametrize("tolerance", [-1.0, math.nan])
def test_a_senseless_tolerance_is_refused(tolerance: float) -> None:
    result = json_fields(
        Case(id="c", prompt="p", expected="1"), Completion(text="1"), numeric_tolerance=tolerance
    )

    assert result.value is None
    assert "numeric_tolerance" in str(result.reason)


@pytest.mark.parametrize(
    "text", ["", "no", "{'a': 1}", '{"a": NaN}', '{"a": 1, "a": 1}', "[" * 9999]
)
def test_an_unreadable_answer_is_the_models_zero(text: str) -> None:
    """The model was asked for JSON and failed: 0 with the reason."""
    result = score('{"a": 1}', text)

    assert result.value == 0.0
    assert str(result.reason).startswith("not JSON: ")


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ('{"a": 1}', None),
        (None, "{}"),
        ((), "{}"),
        ("{a: 1}", "{}"),
        ('{"a": NaN}', "{}"),
        (("{}", "oops"), "{}"),
    ],
)
def test_missing_data_and_broken_expectations_are_unscored(
    expected: str | tuple[str, ...] | None, text: str | None
) -> None:
    result = score(expected, text)

    assert result.value is None
    assert result.reason


def test_the_best_of_several_expectations_counts() -> None:
    """Alternatives are scored one by one: 1/2 against the first, 1 against the second."""
    assert score(('{"a": 1, "b": 2}', '{"a": 1, "b": 3}'), '{"a": 1, "b": 3}').value == 1.0


@pytest.mark.parametrize(
    ("expected", "text", "place"),
    [
        ('{"a": 1, "b": {"c": [1, 2]}}', '{"a": 1, "b": {"c": [1, 3]}}', "$.b.c[1]"),
        ('{"a": 1, "b": 2}', '{"b": 2}', "$.a"),
        ("1", "2", "$"),
    ],
)
def test_the_reason_names_the_first_wrong_field(expected: str, text: str, place: str) -> None:
    assert str(score(expected, text).reason).endswith(f"first wrong: {place}")


def test_fences_count_only_when_asked() -> None:
    """`extract` takes the JSON out of a fence or prose; the reason says that it did."""
    text = 'Sure!\n```json\n{"a": 1}\n```'

    assert score('{"a": 1}', text).value == 0.0
    assert score('{"a": 1}', text, extract="fence").value == 1.0
    assert "JSON taken from a ``` fence" in str(score('{"a": 1}', text, extract="fence").reason)
    assert score('{"a": 1}', 'Sure: {"a": 1}', extract="fence").value == 0.0
    assert score('{"a": 1}', 'Sure: {"a": 1}', extract="prose").value == 1.0


@pytest.mark.parametrize(
    ("expected", "text", "precision", "recall"),
    [
        ('{"a": 1, "b": 2}', '{"a": 1}', 1.0, 0.5),  # 1 of 1 given, 1 of 2 wanted
        ('{"a": 1}', '{"a": 1, "b": 2, "c": 3, "d": 4}', 0.25, 1.0),  # 1 of 4, 1 of 1
        ('{"a": 1, "b": 2}', '{"a": 1, "b": 3, "c": 4, "d": 5}', 0.25, 0.5),
        ("[1, 2]", "[1, 2]", 1.0, 1.0),
        ('{"a": 1}', "no", 0.0, 0.0),
        (('{"a": 1}', '{"a": 2, "b": 3}'), '{"a": 2}', 1.0, 0.5),  # those of the best alternative
    ],
)
def test_the_parts_say_what_costs(
    expected: Any, text: str, precision: float, recall: float
) -> None:
    """Precision falls with what was invented, recall with what is missing; F1 is the score."""
    result = score(expected, text)
    assert result.parts is not None

    assert (result.parts["precision"], result.parts["recall"]) == (precision, recall)
    assert result.parts["f1"] == result.value
    if precision + recall:
        harmonic = 2 * precision * recall / (precision + recall)
        assert result.value == pytest.approx(harmonic)


def test_what_can_be_known_before_is_refused_before() -> None:
    assert json_fields.check is not None
    cases = [Case(id="good", prompt="p", expected="{}"), Case(id="bad", prompt="p", expected="{")]

    tolerance, expected = json_fields.check({"numeric_tolerance": -1.0}, cases)

    assert "numeric_tolerance=-1.0 must be 0 or more" in tolerance
    assert "case 'bad'" in expected
    assert "'{'" in expected
    assert list(json_fields.check({}, cases[:1])) == []


OPTIONS = st.fixed_dictionaries(
    {
        "lists": st.sampled_from(["sequence", "set"]),
        "numeric_tolerance": st.sampled_from([0.0, 0.5]),
    }
)


@given(JSON, JSON, OPTIONS)
def test_is_a_symmetric_share(one: Any, two: Any, options: dict[str, Any]) -> None:
    """F1 lies in [0, 1] and does not care which side is which."""
    there = score(json.dumps(one), json.dumps(two), **options).value
    back = score(json.dumps(two), json.dumps(one), **options).value

    assert there == back
    assert there is not None
    assert 0.0 <= there <= 1.0


@given(JSON, OPTIONS)
def test_a_value_equals_itself(value: Any, options: dict[str, Any]) -> None:
    """Identity scores 1 in every mode, in any layout."""
    assert score(json.dumps(value), json.dumps(value, indent=2), **options).value == 1.0


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> dict[tuple[Any, ...], Any]:
    """Flatten plainly: the definition of the specification, without its speed."""
    if isinstance(value, dict) and value:
        parts = [_leaves(child, (*path, key)) for key, child in value.items()]
    elif isinstance(value, list) and value:
        parts = [_leaves(child, (*path, index)) for index, child in enumerate(value)]
    else:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return {path: Fraction(value) if number else repr(value)}
    return {key: leaf for part in parts for key, leaf in part.items()}


@given(JSON, JSON)
def test_agrees_with_the_plain_definition(expected: Any, answer: Any) -> None:
    wanted, given_ = _leaves(expected), _leaves(answer)
    right = sum(path in given_ and given_[path] == leaf for path, leaf in wanted.items())

    result = score(json.dumps(expected), json.dumps(answer))

    assert result.value == pytest.approx(2 * right / (len(wanted) + len(given_)))
    assert (right < len(wanted)) == ("first wrong" in str(result.reason))


@pytest.mark.parametrize(
    "text",
    [
        lambda n: "[" + "1," * n + "1]",
        # Long paths must not multiply.
        lambda n: '{"a":' * (n // 100) + "[" + "1," * n + "1]" + "}" * (n // 100),
        lambda n: "[" + '{"a":[1]},' * (n // 3) + "1]",
        lambda n: json.dumps({str(index): index / 7 for index in range(n // 5)}),
        lambda n: "[1," * n,
    ],
    ids=["list", "nested", "objects", "numbers", "unclosed"],
)
def test_time_grows_with_the_answer_and_not_with_its_square(text: Callable[[int], str]) -> None:
    """In both modes, with a tolerance: 16 times the text may take 64 times as long, not 256."""

    def seconds(n: int) -> float:
        answer = text(n)
        start = time.process_time()
        score("[1]", answer, lists="set", numeric_tolerance=0.5)
        score(answer if answer.endswith(("]", "}")) else "[1]", answer)
        return time.process_time() - start

    assert seconds(16 * 5_000) < 64 * max(seconds(5_000), 0.01)
