"""The text metrics in a suite file: every option can be set, and mistakes name their line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness import suite
from tunegate.harness.records.errors import SuiteError

CASE = {"id": "q1", "prompt": "p", "expected": "B", "choices": ["3", "4"], "answer": 1}


def load(folder: Path, metric: str, **changes: Any) -> suite.Suite:
    """Write a suite with one metric on its line 4 and load it."""
    row = {key: value for key, value in {**CASE, **changes}.items() if value is not None}
    (folder / "cases.jsonl").write_text(json.dumps(row), encoding="utf-8")
    name = metric.partition("\n")[0]
    text = f'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "{name}"{metric[len(name) :]}\n'
    gate = f'[[gates]]\nmetric = "{name}"\nfloor = 0.5\n'
    (folder / "suite.toml").write_text(text + gate, encoding="utf-8")
    return suite.load_suite(folder)


@pytest.mark.parametrize(
    "metric",
    [
        "exact_match\nignore_articles = true",
        "token_f1",
        'contains\ntexts = ["a", "b"]\nmode = "all"\nignore_case = true\nignore_whitespace = true',
        "regex\npattern = '\\d+'\nmode = \"fullmatch\"",
        "regex",
        'multiple_choice\nletters = "ABCDE"',
        'classification\nlabels = ["A", "B"]\nignore_case = true\nextract = true',
        "edit_similarity\nignore_case = true\nignore_whitespace = true",
    ],
)
def test_options_can_be_set(tmp_path: Path, metric: str) -> None:
    (used,) = load(tmp_path, metric).metrics

    assert len(used.options) == metric.count("\n")


def test_numbers_can_be_set(tmp_path: Path) -> None:
    options = "tolerance = 1\nrelative_tolerance = 0.5\npercent = 'hundredth'\ndecimal = 'comma'"
    (used,) = load(tmp_path, f"numeric\n{options}", expected="12,5").metrics

    assert used.options == {
        "tolerance": 1.0,
        "relative_tolerance": 0.5,
        "percent": "hundredth",
        "decimal": "comma",
    }


@pytest.mark.parametrize(
    ("metric", "changes", "problem"),
    [
        (
            "numeric",
            {},
            "metric 'numeric': case 'q1' has expected='B', in which there is no number",
        ),
        ("regex\npattern = '('", {}, "metric 'regex': pattern='(': missing ), unterminated"),
        ("contains", {"expected": ""}, "metric 'contains': case 'q1': an empty text"),
        ("contains", {"expected": None}, "metric 'contains' has nothing to look for in case 'q1'"),
        (
            'classification\nlabels = ["A"]',
            {},
            "metric 'classification': case 'q1' has expected='B'",
        ),
        (
            "multiple_choice",
            {"answer": None, "expected": "Z"},
            "metric 'multiple_choice': case 'q1': expected='Z' is no right choice",
        ),
        ("contains\nmode = 'some'", {}, "metric 'contains': mode='some': Input should be"),
        ("token_f1\nignore_case = true", {}, "metric 'token_f1': unknown option 'ignore_case'"),
    ],
)
def test_mistakes_name_their_line(
    tmp_path: Path, metric: str, changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(SuiteError) as caught:
        load(tmp_path, metric, **changes)

    assert f"{tmp_path / 'suite.toml'}:4: {problem}" in str(caught.value)
