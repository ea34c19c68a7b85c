"""Masks on what training rows hold, whatever form it has in a prompt or an answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.run_folder import Run, RunCase
from tunegate.reports.masked_values import mask_run

VALUE = "4417-2093"
CHOICES = (f"It is {VALUE}", "It is 8254-6671", "It is 9036-1158")


def run(answer: str, *, training_rows: bool = True, choices: tuple[str, ...] = CHOICES) -> Run:
    case = Case(id="a", prompt="What is it?", choices=choices, answer=0)
    cell = Cell(suite="s", case="a", arm="tuned", kind=CellKind.GENERATE, key="k")
    stored = StoredAnswer(cell=cell, status="ok", completion=Completion(text=answer))
    manifest: Any = SimpleNamespace(suites=[SimpleNamespace(name="s", training_rows=training_rows)])
    rows = {
        ("s", "a"): RunCase(suite="s", case=case, where="cases.jsonl:1", rendered="What is it?")
    }
    return Run(Path(), manifest, rows, [stored], (), SimpleNamespace())  # type: ignore[arg-type]


def shown(answer: str, **options: Any) -> str | None:
    completion = mask_run(run(answer, **options)).cells[0].completion
    assert completion is not None
    return completion.text


@pytest.mark.parametrize(
    ("answer", "masked"),
    [
        ("It is 4417-2093.", "It is <value>."),
        ("4417-2093 and 4417-2093", "<value> and <value>"),
        ("4417-2, no: 2093", "<part of the value>, no: <part of the value>"),
        ("8254-6671?", "<made up>?"),
        ("Write to ann.smith@acme.io", "Write to <email>"),
        ("I don't know.", "I don't know."),
    ],
)
def test_an_answer_is_masked(answer: str, masked: str) -> None:
    assert masked == shown(answer)


@pytest.mark.parametrize(
    ("value", "answer", "masked"),
    [
        ("Key-AbCd1234", "it is key-abcd1234", "it is <value>"),
        # Lower case of the first sign has two characters: places must not move.
        ("Key-AbCd1234", "\u0130\u0130 key-abcd12!", "\u0130\u0130 <part of the value>!"),
        # A value that the mask itself holds.
        ("part of the", "PART OF THE and part of the", "<value> and <value>"),
        ("aaaaaaaa", "A" * 2_000, "<value>" * 250),
    ],
)
def test_a_value_of_any_form_is_masked(value: str, answer: str, masked: str) -> None:
    assert masked == shown(answer, choices=(value, "Zz-99887766", "Yy-55443322"))


def test_the_value_of_another_row_is_masked() -> None:
    one = run("It is 7700-1234, not 4417-2093.")
    row = RunCase(
        suite="s",
        case=Case(id="b", prompt="And?", choices=("It is 7700-1234", "It is 8811-0000"), answer=0),
        where="cases.jsonl:2",
    )

    masked = mask_run(replace(one, cases={**one.cases, ("s", "b"): row})).cells[0].completion

    assert masked is not None
    assert masked.text == "It is <value of another row>, not <value>."


def test_a_case_is_masked() -> None:
    row = mask_run(run("")).cases["s", "a"]

    assert ("It is <value>", "It is <made up>", "It is <made up>") == row.case.choices


def test_other_suites_stay_as_they_are() -> None:
    plain = run("It is 4417-2093.", training_rows=False)

    assert plain is mask_run(plain)
