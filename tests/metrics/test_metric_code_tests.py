"""Code that is run: pass@k, options, and what leaves a case unscored."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.metric_loading import load_metric
from tunegate.harness.metrics.code_tests import pass_at_k
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.sandbox import bubblewrap, chosen, jobs
from tunegate.harness.sandbox.outcome import End, Outcome
from tunegate.harness.suite.consistency import metric_problems

needs_sandbox = pytest.mark.skipif(
    bubblewrap.SANDBOX.problem() is not None, reason="bubblewrap cannot be used here"
)


def load(**options: Any) -> Metric:
    return load_metric("code_tests", options, name="code_tests", folder=Path(), where="s.toml:3")


def problems(options: dict[str, Any], **fields: Any) -> list[str]:
    case = Case(id="a", prompt="p", **fields)
    return list(metric_problems("s.toml:3", load(**options), [case]))


@pytest.mark.parametrize(
    ("n", "passed", "k"), [(1, 1, 1), (5, 2, 1), (5, 2, 3), (10, 0, 4), (4, 3, 2)]
)
def test_pass_at_k_is_the_share_of_draws_with_a_pass(n: int, passed: int, k: int) -> None:
    values = [1.0] * passed + [0.0] * (n - passed)
    draws = list(combinations(values, k))

    assert pass_at_k(values, k) == pytest.approx(sum(1.0 in draw for draw in draws) / len(draws))


def test_pass_at_k_needs_k_samples_and_is_not_binary() -> None:
    used = load(k=3)

    assert (used.least_samples, used.binary) == (3, False)
    assert (load().least_samples, load().binary) == (1, True)
    assert load(partial=True).binary is False


@pytest.mark.parametrize(
    ("options", "tests", "said"),
    [
        ({"k": 0}, ("assert 1",), "k=0 must be 1 or more"),
        ({"k": 2, "partial": True}, ("assert 1",), "remove k or partial"),
        ({"time_limit": 0.0}, ("assert 1",), "time_limit=0.0 must be above 0"),
        ({"command": ["node"]}, ({"output": "1"},), "no word with {file}"),
        ({"command": ["node", "{file}"]}, ("assert 1",), "its tests are outputs"),
        ({}, ("assert 1", {"output": "1"}), "write one kind"),
    ],
)
def test_what_cannot_work_is_refused_before_a_case_is_spent(
    options: dict[str, Any], tests: tuple[Any, ...], said: str
) -> None:
    (problem,) = problems(options, tests=tests)

    assert said in problem


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("```python\ndef add(a, b):\n    return a + b\n```", 1.0),
        ("Sure!\n\ndef add(a, b): return a - b", 0.0),
        ("def add(a, b): return a - b", 0.0),
        ("   ", 0.0),
    ],
)
@needs_sandbox
def test_an_answer_scores_1_if_all_its_tests_pass(text: str, value: float) -> None:
    case = Case(id="a", prompt="p", tests=("assert add(2, 3) == 5", "assert add(0, 0) == 0"))

    assert load()(case, Completion(text=text)).value == value


@needs_sandbox
def test_a_failure_names_the_test_and_what_came() -> None:
    case = Case(id="a", prompt="p", tests=("assert add(2, 3) == 5",))

    found = load()(case, Completion(text="def add(a, b): return a * b"))

    assert found.reason == "assert add(2, 3) == 5: got 6, not 5"


@needs_sandbox
def test_tests_see_what_an_answer_changed_before_it_raised() -> None:
    test = "given = [1]\ntry:\n    spoil(given)\nexcept ValueError:\n    pass\nassert given == [1]"
    case = Case(id="a", prompt="p", tests=(test,))
    answer = "def spoil(given):\n    given.append(2)\n    raise ValueError"

    found = load()(case, Completion(text=answer))

    assert found.value == 0.0
    assert "got [1, 2], not [1]" in (found.reason or "")


@needs_sandbox
def test_partial_counts_tests_after_a_failure() -> None:
    tests = ("assert one() == 2", "assert one() == 1", "assert one() < 2", "assert None")
    case = Case(id="a", prompt="p", tests=tests)

    assert load(partial=True)(case, Completion(text="def one(): return 1")).value == 0.5


@needs_sandbox
def test_a_case_whose_own_solution_fails_is_unscored() -> None:
    case = Case(id="a", prompt="p", tests=("assert one() == 2",), expected="def one(): return 1")

    found = load()(case, Completion(text="def one(): return 3"))

    assert found.value is None
    assert "own solution fails" in (found.reason or "")


@needs_sandbox
def test_programs_of_other_languages_are_compared_by_what_they_write() -> None:
    test = {"code": "echo $((2 + $(cat)))", "input": "3", "output": "5\n"}
    case = Case(id="a", prompt="p", tests=(test,))
    used = load(command=["sh", "{file}"])

    assert used(case, Completion(text="true")).value == 1.0
    assert used(case, Completion(text="exit 0")).value == 0.0


def test_without_a_sandbox_the_case_is_unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        chosen, "_chosen", type("Broken", (), {"problem": lambda self: "not here"})()
    )
    case = Case(id="a", prompt="p", tests=("assert add(2, 3) == 5",))

    found = load()(case, Completion(text="def add(a, b): return a + b"))

    assert found.value is None
    assert "not here" in (found.reason or "")


def test_a_broken_sandbox_leaves_the_case_unscored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        jobs.TestJob, "outcome", lambda self: Outcome.unknown("the sandbox failed: x")
    )
    case = Case(id="a", prompt="p", tests=("assert add(2, 3) == 5",))

    found = load()(case, Completion(text="def add(a, b): return a + b"))

    assert (found.value, found.reason) == (None, "the sandbox failed: x")


def test_running_out_of_time_is_told_apart_from_a_wrong_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = Outcome(end=End.TIME, tests=(False,), reason="ran out of time (2 s)")
    monkeypatch.setattr(jobs.TestJob, "outcome", lambda self: late)
    case = Case(id="a", prompt="p", tests=("assert add(2, 3) == 5",))

    found = load()(case, Completion(text="def add(a, b): return a + b"))

    assert (found.value, found.reason) == (0.0, "ran out of time (2 s)")
