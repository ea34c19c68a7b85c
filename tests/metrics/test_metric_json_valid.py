"""json_valid: one strict JSON value, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunegate.harness.metrics.json_valid import json_valid
from tunegate.harness.records.answers import CellKind, Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

CASE = Case(id="c", prompt="p")


def score(text: str | None, **options: Any) -> Score:
    """Score a text without the safety net of Metric.__call__."""
    return json_valid.score(CASE, Completion(text=text), **options)


@pytest.mark.parametrize("text", ["{}", ' [1, "a", null]\n', "42", '"sorry"', "true", "-0.5e-3"])
def test_any_json_value_counts(text: str) -> None:
    """RFC 8259: any value is a JSON text, white space around it included."""
    assert score(text) == Score(value=1.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("{'a': 1}", "line 1 column 2"),
        ('{"a": 1,}', "line 1 column 9"),
        ('{"a": 1', "line 1 column 8"),
        ('{"a": 1} done', "Extra data"),
        ('{"a": 1}\n{"a": 2}', "line 2 column 1"),
        ("[NaN]", "NaN"),
        ('{"a": 1, "a": 2}', "'a' occurs twice"),
        ("```json\n{}\n```", "line 1 column 1"),
        ("\ufeff{}", "BOM"),
    ],
)
def test_what_a_strict_reader_refuses_scores_zero(text: str, words: str) -> None:
    result = score(text)

    assert result.value == 0.0
    assert str(result.reason).startswith("not JSON: ")
    assert words in str(result.reason)


@pytest.mark.parametrize(
    ("text", "extract", "value"),
    [
        ("```json\n{}\n```", None, 0.0),
        ("```json\n{}\n```", "fence", 1.0),
        ("```json\n{}\n```", "prose", 1.0),
        ("Here: {}", "fence", 0.0),
        ("Here: {}", "prose", 1.0),
        ("Here: {", "prose", 0.0),
        ("{}", "fence", 1.0),
    ],
)
def test_extraction_is_an_option(text: str, extract: str | None, value: float) -> None:
    result = score(text, extract=extract)

    assert result.value == value
    assert ("JSON taken from" in str(result.reason)) == (value == 1.0 and text != "{}")


def test_a_missing_text_is_unscored() -> None:
    assert score(None).value is None


def test_declares_what_the_statistics_need() -> None:
    """It is 0 or 1, more is better, and a case needs nothing for it."""
    assert json_valid.needs is CellKind.GENERATE
    assert json_valid.binary
    assert json_valid.higher_is_better
    assert json_valid.requires == ()


@given(st.text(st.characters(exclude_categories=())), st.sampled_from([None, "fence", "prose"]))
def test_any_text_scores_zero_or_one(text: str, extract: str | None) -> None:
    """No text raises or is unscored; what scores 1 is what Python's reader reads too."""
    value = score(text, extract=extract).value

    assert value in (0.0, 1.0)
    if value == 1.0 and extract is None:
        json.loads(text)
