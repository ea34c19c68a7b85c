"""Scores of programs: pass@k, shares of tests, and cases whose tests say nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.metric_loading import load_metric
from tunegate.harness.metrics.code_tests import _check, pass_at_k
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.sandbox import chosen, jobs
from tunegate.harness.sandbox.none import NoSandbox

TESTS = ("assert double(4) == 8", "assert double(0) == 0")


@pytest.fixture(autouse=True)
def no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "_chosen", NoSandbox())
    monkeypatch.setattr(jobs, "_known", {})


def made(**options: Any) -> Metric:
    return load_metric("code_tests", options, name="code_tests", folder=Path(), where="")


def case(*tests: Any, **fields: Any) -> Case:
    return Case.model_validate({"id": "a", "prompt": "q", "tests": tests or TESTS, **fields})


@pytest.mark.parametrize(
    ("values", "k", "expected"),
    [
        ((1, 0, 0, 0), 1, 0.25),
        ((1, 0, 0, 0), 4, 1.0),
        ((0, 0, 0, 0), 4, 0.0),
        ((1, 1, 0, 0, 0), 2, 0.7),
        ((1, 1, 1, 0), 2, 1.0),
    ],
)
def test_pass_at_k_is_the_unbiased_estimate(
    values: tuple[int, ...], k: int, expected: float
) -> None:
    assert pass_at_k(values, k) == pytest.approx(expected)


def test_wrong_code_scores_0_with_the_line_and_what_came_out() -> None:
    found = made()(case(), Completion(text="double = abs"))

    assert (found.value, found.reason) == (0.0, "assert double(4) == 8: got 4, not 8")


def test_partial_scores_the_share_of_tests() -> None:
    assert made(partial=True)(case(), Completion(text="def double(x): return 8")).value == 0.5


def test_an_empty_answer_scores_0_and_a_missing_one_nothing() -> None:
    assert made()(case(), Completion(text=" ")).value == 0.0
    assert made()(case(), Completion(text=None)).value is None


def test_an_answer_fails_where_the_own_solution_passes_and_else_says_nothing() -> None:
    wrong = Completion(text="double = abs")

    assert made()(case(expected="def double(x): return 2 * x"), wrong).value == 0.0
    broken = made()(case(expected="double = int"), wrong)
    assert broken.value is None
    assert str(broken.reason).startswith("the case's own solution fails its tests")


@pytest.mark.parametrize(
    ("test", "problem"),
    [
        ("assert double(4) = 8", "one of its tests is not Python code"),
        ("def check(candidate):\n    assert candidate(4) == 8", "uses nothing of the answer"),
        ("assert True", "uses nothing of the answer"),
        ("import asyncio\nassert asyncio.run(double(4)) == 8", "is asynchronous"),
        ("async def test_it():\n    assert await double(4) == 8", "is asynchronous"),
    ],
)
def test_tests_that_say_nothing_about_any_answer_are_refused(test: str, problem: str) -> None:
    (found,) = _check({}, [case(test)])

    assert problem in found


def test_asynchronous_code_is_tested_by_what_a_program_writes() -> None:
    test = {"code": "import asyncio\nprint(asyncio.run(double(4)))", "output": "8"}

    assert _check({}, [case(test)]) == []
    assert made()(case(test), Completion(text="async def double(x): return 2 * x")).value == 1.0


@pytest.mark.parametrize(
    "test", ["def test_it():\n    assert double(4) == 8", "assert sum(1, 2) == 3", "check(double)"]
)
def test_tests_that_use_the_answer_are_taken(test: str) -> None:
    assert _check({}, [case(test)]) == []


@pytest.mark.parametrize("options", [{"k": 0}, {"k": 2, "partial": True}, {"time_limit": 0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    assert len(_check(options, [])) == 1


def test_a_command_needs_the_place_of_the_file() -> None:
    assert "has no word with {file}" in _check({"command": ("node",)}, [])[0]
