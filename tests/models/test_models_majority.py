"""The most frequent label as a base."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunegate.harness.contracts.model import ClassifierArm, Request
from tunegate.harness.models.majority import majority
from tunegate.harness.records.answers import Cell, CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.generation import GenerationSettings

ROWS = '{"label": "b"}\n{"label": "a"}\n\n{"expected": "b", "prompt": "x"}\n{"label": "a "}\n'


def test_it_answers_the_first_of_the_most_frequent_labels(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(ROWS, encoding="utf-8")
    arm, case, settings = majority(str(path)), Case(id="x", prompt="hi"), GenerationSettings()
    cell = Cell(suite="s", case="x", arm="base", kind=CellKind.GENERATE, key="k")
    request = Request(cell, case, arm.prompt(case, settings), settings, 0)
    [answer] = arm.complete([request])

    assert answer.completion is not None
    assert answer.completion.text == "a"
    assert answer.completion.label_probabilities == {"a": 0.5, "b": 0.5}
    assert isinstance(arm, ClassifierArm)
    assert arm.labels == ("a", "b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no rows"),
        ('{"label": "a"}\n{"label": 3}', "line 2: no label"),
        ('{"label": " "}', "line 1: no label"),
        ('{"label": "a"}\n[', "line 2: not JSON"),
        ('"a"', "line 1: no label"),
    ],
)
def test_a_file_without_labels_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(content, encoding="utf-8")

    with pytest.raises(ModelError, match=message):
        majority(str(path))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        majority(str(tmp_path / "none.jsonl"))
