"""json_valid: one strict JSON value, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.metrics.json_valid import json_valid
from tunegate.harness.records.answers import Completion
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
        ('{"a": 1}\n{"a": 2}', "line 2 column 1"),
        ("[NaN]", "NaN"),
        ("```json\n{}\n```", "line 1 column 1"),
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
