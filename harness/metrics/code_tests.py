"""Whether the code of an answer passes the tests of its case."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import comb
from typing import Any

from tunegate.harness.contracts.metric import Metric, metric
from tunegate.harness.metrics._answer_code import other_code, python_code
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score
from tunegate.harness.sandbox.contract import Limits
from tunegate.harness.sandbox.inside.names import uses_no_answer
from tunegate.harness.sandbox.jobs import TestJob
from tunegate.harness.sandbox.outcome import End


def pass_at_k(values: Sequence[float], k: int) -> float:
    """Return the unbiased estimate of the probability that one of k samples passes.

    Of n samples c passed: 1 - C(n - c, k) / C(n, k).

    Source: Chen et al. 2021 (arXiv 2107.03374), section 2.1.
    """
    failed = sum(value != 1.0 for value in values)
    return 1.0 - comb(failed, k) / comb(len(values), k)


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    problems = [f"metric 'code_tests': {text}" for text in _option_problems(options)]
    command = options.get("command", ())
    for case in cases:
        code = [isinstance(test, str) for test in case.tests or ()]
        broken = (_code_problem(test) for test in case.tests or () if isinstance(test, str))
        if wrong := next(filter(None, broken), ""):
            pass
        elif any(code) and not all(code):
            wrong = "its tests are Python code and outputs of programs: write one kind"
        elif any(code) and command:
            wrong = 'with `command` its tests are outputs: write {"code": …, "output": …}'
        else:
            continue
        problems.append(f"case {case.id!r}: {wrong}")
    return problems


def _code_problem(test: str) -> str | None:
    """Return why a test says nothing about any answer."""
    try:
        tree = ast.parse(test)
    except (SyntaxError, ValueError) as error:
        return f"one of its tests is not Python code: {error}"
    if uses_no_answer(tree):
        return "one of its tests uses nothing of the answer: call what it defines, as `check(add)`"
    if "asyncio" in test or any(isinstance(node, ast.AsyncFunctionDef) for node in ast.walk(tree)):
        return 'one of its tests is asynchronous: write {"code": …, "output": …} instead'
    return None


def _option_problems(options: Mapping[str, Any]) -> Iterator[str]:
    k = options.get("k", 1)
    if k < 1:
        yield f"k={k} must be 1 or more"
    if k > 1 and options.get("partial"):
        yield "pass@k counts whole passes: remove k or partial"
    for name in ("time_limit", "memory_mb"):
        if options.get(name, 1) <= 0:
            yield f"{name}={options[name]} must be above 0"
    command = options.get("command", ())
    if command and not any("{file}" in word for word in command):
        yield f"command={list(command)} has no word with {{file}}"


def _with_samples(used: Metric) -> Metric:
    """Return the metric with what its options ask of scores and samples."""
    k = used.options.get("k", 1)
    if k > 1:
        return replace(used, over_samples=partial(pass_at_k, k=k), least_samples=k, binary=False)
    return replace(used, binary=False) if used.options.get("partial") else used


def _job(case: Case, completion: Completion, **options: Any) -> TestJob | None:
    """Return the run of an answer's tests; None if there is nothing to run."""
    if not case.tests or not (completion.text or "").strip():
        return None
    command = tuple(options.get("command", ()))
    read = other_code if command else python_code
    own = next(iter(case.expected_texts()), None)
    return TestJob(
        code=read(completion.text or "", case.prefix),
        tests=tuple(case.tests),
        solution=None if own is None else read(own, case.prefix),
        partial=options.get("partial", False),
        command=command,
        file_name=options.get("file_name", "answer.py"),
        limits=Limits(
            cpu_s=options.get("time_limit", 10.0), memory_mb=options.get("memory_mb", 1024)
        ),
    )


@metric(
    label="code that passes its tests",
    binary=True,
    requires=("tests",),
    check=_check,
    adapt=_with_samples,
    judges_content=True,
    job=_job,
)
def code_tests(  # noqa: PLR0913 - each is a key of the suite file
    case: Case,
    completion: Completion,
    *,
    partial: bool = False,
    k: int = 1,
    command: tuple[str, ...] = (),
    file_name: str = "answer.py",
    time_limit: float = 10.0,
    memory_mb: int = 1024,
) -> Score:
    """Score 1 if the answer's code passes all tests of its case, else 0.

    The code runs in a sandbox: bubblewrap, or what `--sandbox` names. Tests that are Python code
    run in a sandbox of their own and call the answer from there, so an answer cannot end, replace
    or read them. Any other test gives a program its `input` and compares what it writes with
    `output`. A case whose `expected` solution fails is unscored, and so is one whose sandbox
    failed. Running out of time or memory scores 0 and says so.

    Known problems:
        Tests see plain values (numbers, texts, lists, dicts, dates), and other objects through a
        proxy: they can call and compare them, but neither derive a class from the answer's, nor
        inspect or patch it, nor ask for `type()`. An object that does not derive from a plain class
        equals no plain value, and is neither above nor below one. A list that the answer keeps is a
        copy after the call. Python code in tests imports what it uses. Only the standard library is
        sure to be there.

    Example:
        ```toml
        [[metrics]]
        use = "code_tests"
        ```
        ```json
        {"prompt": "Write a Python function add(a, b).", "tests": ["assert add(2, 3) == 5"]}
        ```

    Options:
        partial: Score the share of the tests that pass.
        k: Score pass@k: the probability that one of k samples passes, 1 - C(n - c, k) / C(n, k).
        command: What runs a program of another language, such as `["node", "{file}"]`.
        file_name: The program's file name, for its ending.
        time_limit: Seconds of processor time; three times as long on the clock, and 5 s.
        memory_mb: Largest memory of all its processes, in MB.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if not case.tests:
        return Score.unscored("the case has no tests")
    job = _job(
        case,
        completion,
        partial=partial,
        command=command,
        file_name=file_name,
        time_limit=time_limit,
        memory_mb=memory_mb,
    )
    if job is None:
        return Score.of(0.0, "the answer is empty")
    found = job.outcome()
    if found.end is End.UNKNOWN:
        return Score.unscored(found.reason or "the sandbox failed")
    reason = found.reason if found.test is None else f"{found.test}: {found.reason}"
    value = found.share if partial else float(found.end is End.PASSED)
    return Score.of(value, reason)
