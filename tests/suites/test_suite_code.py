"""code: tasks that can be solved, and hidden tests that wrong solutions fail."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.suite_templates import commonest_opening, largest_template
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.run.code_execution import dry_run
from tunegate.harness.sandbox import bubblewrap
from tunegate.harness.suite import load_suite

needs_sandbox = pytest.mark.skipif(
    bubblewrap.SANDBOX.problem() is not None, reason="bubblewrap cannot be used here"
)

FOLDER = Path(__file__).parents[2] / "suites" / "code"
SUITE = load_suite(FOLDER)
CASES = SUITE.cases
BY_HEART = """
right = {name}
def {name}(*arguments):
    call = "{name}(" + ", ".join(map(repr, arguments)) + ")"
    return right(*arguments) if call in {prompt!r}.replace('"', "'") else None
"""
"""Wraps a function so that it knows only the calls that the prompt shows."""


def wrong_answers() -> dict[str, list[str]]:
    """Return the completions of wrong.jsonl by the id of their case."""
    answers = defaultdict(list)
    for row in map(json.loads, (FOLDER / "wrong.jsonl").read_text(encoding="utf-8").splitlines()):
        assert row["sample"] == len(answers[row["id"]])
        answers[row["id"]].append(row["completion"])
    return answers


def code_in(completion: str) -> str:
    """Return what is in the only fence."""
    return completion.removeprefix("```python\n").removesuffix("\n```")


def failures(case: Case, code: str) -> list[str]:
    """Return the errors of the tests, each run beside fresh definitions of the code."""
    found = []
    for test in case.tests or ():
        names: dict[str, Any] = {}
        exec(code, names)
        try:
            exec(str(test), names)
        except Exception as error:
            found.append(f"{type(error).__name__}: {error}")
    return found


def test_there_are_enough_cases_of_each_level() -> None:
    """30 easy, 30 medium and 20 hard; the id begins with the level, which is the first tag."""
    assert Counter(case.tags[0] for case in CASES) == {"easy": 30, "medium": 30, "hard": 20}
    assert [case.id.partition("-")[0] for case in CASES] == [case.tags[0] for case in CASES]
    assert min(Counter(case.tags[1] for case in CASES).values()) >= 2
    assert all(4 <= len(case.tests or ()) <= 8 for case in CASES)


def test_the_references_pass_their_tests() -> None:
    found = {case.id: failures(case, case.expected_texts()[0]) for case in CASES}

    assert {name: errors for name, errors in found.items() if errors} == {}


def test_three_wrong_answers_to_each_task_fail() -> None:
    answers = wrong_answers()

    assert {name: len(wrong) for name, wrong in answers.items()} == {c.id: 3 for c in CASES}
    passing = [
        (case.id, sample)
        for case in CASES
        for sample, answer in enumerate(answers[case.id])
        if not failures(case, code_in(answer))
    ]
    assert passing == []


def test_the_examples_of_the_prompt_learned_by_heart_are_not_enough() -> None:
    passing = []
    for case in CASES:
        code = case.expected_texts()[0]
        for name in re.findall(r"^def (\w+)", code, re.MULTILINE):
            by_heart = f"{code}\n{BY_HEART.format(name=name, prompt=case.prompt)}"
            if not failures(case, by_heart):
                passing.append(case.id)

    assert passing == []


def test_the_prompt_names_what_the_tests_call() -> None:
    for case in CASES:
        defined = re.findall(r"^(?:def|class) (\w+)", case.expected_texts()[0], re.MULTILINE)
        called = [name for name in defined if any(name in str(t) for t in case.tests or ())]

        assert called, case.id
        assert all(name in (case.prompt or "") for name in called), case.id
        assert re.search(r"fence|block|```", case.prompt or "", re.IGNORECASE), case.id


def test_only_tasks_that_ask_for_a_class_let_objects_through() -> None:
    defining = {case.id for case in CASES if re.search(r"^class ", case.expected_texts()[0], re.M)}

    assert {case.id for case in CASES if case.objects} == defining
    assert len(defining) == 6


@needs_sandbox
def test_the_tests_fail_on_answers_that_raise_or_return_None() -> None:
    assert dry_run(SUITE) == []


def test_no_template_fills_the_suite() -> None:
    prompts = [case.prompt or "" for case in CASES]

    assert commonest_opening(prompts) <= 1 / 20
    assert largest_template(prompts) <= 1 / 20


@needs_sandbox
def test_the_metric_tells_the_references_from_wrong_answers() -> None:
    """One case of each level, in the sandbox; the other tests run them all outside of it."""
    (metric,) = [one for one in SUITE.metrics if one.name == "code_tests"]
    for case in (CASES[0], CASES[40], CASES[-1]):
        assert metric(case, Completion(text=case.expected_texts()[0])).value == 1.0
        for answer in wrong_answers()[case.id]:
            assert metric(case, Completion(text=answer)).value == 0.0
