"""Scores of programs: pass@k, shares of tests, and cases whose tests say nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.test_sandbox_jobs import Kept
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.metric_loading import load_metric
from tunegate.harness.metrics.code_tests import _check, _dry_run, pass_at_k
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.sandbox import chosen, jobs, stub_answers
from tunegate.harness.sandbox.none import NoSandbox

TESTS = ("assert double(4) == 8", "assert double(0) == 0")


@pytest.fixture(autouse=True)
def no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "_chosen", NoSandbox())
    monkeypatch.setattr(jobs, "_known", {})


def made(**options: Any) -> Metric:
    return load_metric("code_tests", options, name="code_tests", folder=Path(), where="")


def case(*tests: Any, **fields: Any) -> Case:
    return Case.model_validate(
        {"id": "a", "prompt": "Write double.", "tests": tests or TESTS, **fields}
    )


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
        ("assert (double(4) == 8, 'no')", "asserts a tuple, which is always true"),
        ("assert math.isclose(double(4), 8)", "reads 'math', which neither it"),
        ("assertEqual(double(4), 8)", "reads 'assertEqual', which neither it"),
        ("def test_it(tmp_path):\n    assert double(4) == 8", "leaves the arguments of test_it()"),
        (
            "import pytest\n@pytest.mark.parametrize('x', [4])\ndef test_it(x):\n    double(x)",
            "leaves the arguments of test_it()",
        ),
        ("import asyncio\nassert asyncio.run(double(4)) == 8", "is asynchronous"),
        ("async def test_it():\n    assert await double(4) == 8", "is asynchronous"),
    ],
)
def test_tests_that_can_be_read_as_useless_are_refused(test: str, problem: str) -> None:
    (found,) = _check({}, [case(test)])

    assert problem in found


def test_asynchronous_code_is_tested_by_what_a_program_writes() -> None:
    test = {"code": "import asyncio\nprint(asyncio.run(double(4)))", "output": "8"}

    assert _check({}, [case(test)]) == []
    assert made()(case(test), Completion(text="async def double(x): return 2 * x")).value == 1.0


TAKEN = {
    "a function that is called": "def test_it():\n    assert double(4) == 8",
    "a function whose argument a decorator fills": "from unittest import mock\n"
    "@mock.patch('time.time')\ndef test_it(now):\n    assert double(4) == 8",
    "a function that is called with an argument": "def test_it(x):\n"
    "    assert double(x)\ntest_it(4)",
    "a name of Python": "assert sum(1, 2) == 3",
    "everything of a module": "from math import *\nassert floor(double(4)) == 8",
    "a helper": "def check(f):\n    for x, y in [(4, 8)]:\n        assert f(x) == y\ncheck(double)",
    "a caught error": "try: double()\nexcept TypeError as e: assert e.args\nassert double(1) == 2",
    "a pattern": "match double(4):\n    case 8 as x: assert x\n    case _: assert False",
}


@pytest.mark.parametrize("test", TAKEN.values(), ids=TAKEN)
def test_tests_that_use_the_answer_are_taken(test: str) -> None:
    assert _check({}, [case(test)]) == []


def test_an_answer_brings_what_the_solution_defines_or_the_prompt_names() -> None:
    lying = Completion(text="approx = lambda x: 7\ndouble = lambda x: 7")
    test, solution = "assert double(4) == approx(8)", "def double(x): return 2 * x"
    given = case(test, prompt="Write double and approx.")

    assert made()(given, lying).value == 1.0
    assert made()(given.model_copy(update={"expected": solution}), lying).value is None
    assert made()(case(test, expected="approx = double = int"), lying).value == 1.0
    assert made()(case(test), lying).value == 0.0
    assert made()(case(TESTS[0], prefix="def double(x):"), Completion(text="  return 2 * x")).value


def test_a_case_says_that_its_tests_use_objects() -> None:
    code = "class Box:\n    def put(self, x): self.x = x"
    given = case("b = Box(); b.put(4); assert b.x == 4", expected=code)
    error = "class Full(ValueError): pass\ndef put(x): raise Full"
    raising = case("try: put(1); assert False\nexcept Full: pass", expected=error)

    assert _check({}, [given]) == [
        "case 'a': its tests use objects of the class 'Box': add \"objects\": true to the case"
    ]
    assert str(made()(given, Completion(text=code)).reason).endswith(
        'the answer gives an object (Box); tests see those with "objects": true in the case'
    )
    objects = given.model_copy(update={"objects": True})
    assert _check({}, [objects, raising]) == []
    assert made()(objects, Completion(text=code)).value == 1.0
    assert made()(raising, Completion(text=error)).value == 1.0


POINTLESS = {
    "an uncalled check": ("def check(candidate):\n    assert candidate(4) == 8", "raises"),
    "nothing": ("assert True", "raises"),
    "a class of pytest": ("class TestIt:\n    def test_it(self): assert double(4) == 8", "raises"),
    "a guard": ("if __name__ == '__main__':\n    assert double(4) == 8", "raises"),
    "any error": ("try: assert double(4) == 8\nexcept Exception: pass", "raises"),
    "a truth": ("assert double(4) or True", "returns None"),
    "a comparison without an assertion": ("double(4) == 8", "returns None"),
    "a loop over nothing": ("for got in double(4) or (): assert got == 8", "returns None"),
    "None": ("assert double(4) is None", "returns None"),
    "a loop over the answer": ("for got in double(4): assert got == 8", "returns []"),
    "all of nothing": ("assert all(got > 4 for got in double(4))", "returns []"),
    "an end": ("double(4)\nimport sys; sys.exit(0)", ""),
    "an exit code": ("import os; os._exit(0)", ""),
    "an endless loop": ("while double(4) != 8: pass", ""),
    "a solution": ("assert double(4) == 8", ""),
    "an error and a value": (
        "try: double('a'); assert False\nexcept TypeError: pass\nassert double(4) == 8",
        "",
    ),
}


@pytest.mark.parametrize(("test", "stub"), POINTLESS.values(), ids=POINTLESS)
def test_tests_that_pass_on_an_answer_that_does_nothing_are_refused(test: str, stub: str) -> None:
    found = _dry_run({}, [case(test)])

    assert len(found) == bool(stub)
    assert not stub or f"its tests pass on an answer that {stub}: assert what" in found[0]


def test_a_case_may_have_a_test_that_None_passes_but_none_that_any_answer_passes() -> None:
    assert _dry_run({}, [case(*TESTS, "assert double(None) is None")]) == []
    (found,) = _dry_run({}, [case(*TESTS, "class TestIt: pass")])

    assert found.startswith("case 'a': test 3 passes on an answer that raises and on one that ret")


def test_the_stubs_run_for_each_of_many_cases() -> None:
    useless = case("assert True").model_copy(update={"id": "u"})
    cases = [case(), useless, case(), case(), useless, case()]

    assert [line.partition(":")[0] for line in _dry_run({}, cases)] == ["case 'u'"] * 2


def test_the_stubs_of_many_cases_show_how_many_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stub_answers, "_A_SANDBOX", 2)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    seen = []

    class Seen(Kept):
        def report(self, done: int, total: int, what: str) -> None:
            seen.append((done, total, what))

    with jobs.job_session(Seen()):
        _dry_run({}, [case(f"assert double(4) == {n}") for n in range(5)])

    assert seen == [(n, 5, "checking that tests can fail") for n in (2, 4, 5)]


def test_the_stubs_run_once_for_stored_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, cases = Kept(), [case(), case("assert True"), case()]
    with jobs.job_session(kept):
        first = _dry_run({}, cases)
        monkeypatch.setattr(NoSandbox, "invoke", None)
        again = _dry_run({}, cases)

    assert len(kept.outcomes) == 2
    assert first == again
    assert len(first) == 1


PROGRAMS = {
    "no output": ({"input": "4", "output": "\n"}, 1),
    "its own output": ({"code": "print(8)", "output": "8"}, 1),
    "the answer's output": ({"code": "print(double(4))", "output": "8"}, 0),
    "an output": ({"input": "4", "output": "8"}, 0),
}


@pytest.mark.parametrize(("test", "problems"), PROGRAMS.values(), ids=PROGRAMS)
def test_tests_that_an_empty_program_passes_are_refused(
    test: dict[str, str], problems: int
) -> None:
    assert len(_dry_run({}, [case(test)])) == problems


@pytest.mark.parametrize("options", [{"k": 0}, {"k": 2, "partial": True}, {"time_limit": 0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    assert len(_check(options, [])) == 1


def test_a_command_needs_the_place_of_the_file() -> None:
    assert "has no word with {file}" in _check({"command": ("node",)}, [])[0]
