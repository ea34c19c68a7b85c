"""Whether the code of an answer passes the tests of its case."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
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
from tunegate.harness.sandbox.execution_outcome import End
from tunegate.harness.sandbox.inside.names import bound_names, free_names, read_names
from tunegate.harness.sandbox.jobs import TestJob, run_jobs
from tunegate.harness.sandbox.stub_answers import run_stubs

_NAME = re.compile(r"[^\W\d]\w*")
_REMEDY = (
    "assert what a right answer returns (is each function called, is no assert a tuple, is nothing "
    'under `if __name__ == "__main__"`?)'
)


def pass_at_k(values: Sequence[float], k: int) -> float:
    """Return the unbiased estimate of the probability that one of k samples passes.

    Of n samples c passed: 1 - C(n - c, k) / C(n, k).

    Source: Chen et al. 2021 (arXiv 2107.03374), section 2.1.
    """
    failed = sum(value != 1.0 for value in values)
    return 1.0 - comb(failed, k) / comb(len(values), k)


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    problems = [f"metric 'code_tests': {text}" for text in _option_problems(options)]
    for case in cases:
        if wrong := _case_problem(case, options):
            problems.append(f"{_place(case)}{wrong}")
    return problems


def _place(case: Case) -> str:
    return f"{case.where}: case {case.id!r}: " if case.where else f"case {case.id!r}: "


def _case_problem(case: Case, options: Mapping[str, Any]) -> str | None:
    """Return why the tests of a case say nothing about an answer, as far as their code shows."""
    code = [test for test in case.tests or () if isinstance(test, str)]
    if code and len(code) < len(case.tests or ()):
        return "its tests are Python code and outputs of programs: write one kind"
    if code and options.get("command"):
        return 'with `command` its tests are outputs: write {"code": …, "output": …}'
    solutions = _solutions(case)
    names = _asked_names(case, solutions)
    read = set()
    for test in code:
        try:
            tree = ast.parse(test)
        except (SyntaxError, ValueError) as error:
            return f"one of its tests is not Python code: {error}"
        if wrong := _test_problem(tree, names):
            return f"one of its tests {wrong}"
        read |= free_names(tree)
    kept = (
        [] if case.objects else [class_name for tree in solutions for class_name in _classes(tree)]
    )
    if wanted := sorted(read.intersection(kept)):
        return f'its tests use objects of the class {wanted[0]!r}: add "objects": true to the case'
    return None


def _test_problem(tree: ast.Module, names: set[str]) -> str | None:
    nodes, bound = list(ast.walk(tree)), bound_names(tree)
    if "asyncio" in bound or any(isinstance(node, ast.AsyncFunctionDef) for node in nodes):
        return 'is asynchronous: write {"code": …, "output": …} instead'
    if any(isinstance(node, ast.Assert) and isinstance(node.test, ast.Tuple) for node in nodes):
        return "asserts a tuple, which is always true: remove the parentheses"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and _needs_pytest(node, read_names(tree)):
            return f"leaves the arguments of {node.name}() to pytest: call it with arguments"
    unknown = sorted(n for n in free_names(tree) - names if not hasattr(builtins, n))
    if unknown and not {"*", "exec"} & (bound | read_names(tree)):
        return (
            f"reads {unknown[0]!r}, which neither it nor `expected` defines, nor, without "
            "`expected`, the prompt names: import or define it in the test"
        )
    return None


def _needs_pytest(function: ast.FunctionDef, read: set[str]) -> bool:
    """Return whether a function that nothing calls takes fixtures or parameters."""
    arguments = function.args
    wanted = len(arguments.posonlyargs) + len(arguments.args) > len(arguments.defaults)
    filled = all("pytest" in ast.unparse(decorator) for decorator in function.decorator_list)
    return function.name.startswith("test") and function.name not in read and wanted and filled


def _solutions(case: Case) -> list[ast.Module]:
    """Return the case's own solutions in Python."""
    trees = []
    for text in case.expected_texts():
        with suppress(SyntaxError, ValueError):
            trees.append(ast.parse(python_code(text, case.prefix)))
    return trees


def _classes(tree: ast.Module) -> Iterator[str]:
    """Yield the classes that a program defines, but for exceptions."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            bases = map(ast.unparse, node.bases)
            if not any(base.endswith(("Error", "Exception", "Warning")) for base in bases):
                yield node.name


def _asked_names(case: Case, solutions: Sequence[ast.Module]) -> set[str]:
    """Return what an answer may bring: what the solutions define, else what the prompt names."""
    if solutions:
        return set().union(*map(bound_names, solutions))
    texts = [case.prefix or ""]
    for turn in case.input_messages():
        content = turn.get("content") or ""
        parts = [{"text": content}] if isinstance(content, str) else content
        texts += [str(part.get("text", "")) for part in parts if isinstance(part, Mapping)]
    return set(_NAME.findall("\n".join(texts)))


def _offered_names(case: Case) -> tuple[str, ...]:
    """Return the names of `_asked_names` that occur in the tests, even inside `eval`."""
    words = {name for test in case.tests or () for name in _NAME.findall(str(test))}
    return tuple(sorted(words & _asked_names(case, _solutions(case))))


def _dry_run(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    """Return the cases whose tests pass on a stub."""
    in_python = [case for case in cases if case.tests and isinstance(case.tests[0], str)]
    results = run_stubs(
        [(list(map(str, case.tests or ())), _offered_names(case)) for case in in_python],
        memory_mb=options.get("memory_mb", 1024),
    )
    problems = []
    for case, result in zip(in_python, results, strict=True):
        stub = next((stub for stub, passed in result.items() if all(passed)), None)
        of_tests = enumerate(zip(*result.values(), strict=True), start=1)
        useless = next((number for number, passed in of_tests if all(passed)), None)
        if stub is not None:
            problems.append(f"{_place(case)}its tests pass on an answer that {stub}: {_REMEDY}")
        elif useless is not None:
            problems.append(
                f"{_place(case)}test {useless} passes on an answer that raises and on one that "
                f"returns None or []: {_REMEDY}"
            )
    jobs = {case.id: _test_job(case, "", options) for case in cases if _may_pass_empty(case)}
    run_jobs(jobs.values())
    for case in cases:
        if case.id in jobs and jobs[case.id].outcome().end is End.PASSED:
            problems.append(f"{_place(case)}its tests pass on an empty program: {_REMEDY}")
    return problems


def _may_pass_empty(case: Case) -> bool:
    """Return whether the tests of a program could pass on one that writes nothing."""
    tests = [test for test in case.tests or () if not isinstance(test, str)]
    return bool(tests) and all(test.get("code") or not test["output"].strip() for test in tests)


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
    read = other_code if options.get("command") else python_code
    reference = next(iter(case.expected_texts()), None)
    return replace(
        _test_job(case, read(completion.text or "", case.prefix), options),
        solution=None if reference is None else read(reference, case.prefix),
    )


def _test_job(case: Case, code: str, options: Mapping[str, Any]) -> TestJob:
    return TestJob(
        code=code,
        tests=tuple(case.tests or ()),
        partial=options.get("partial", False),
        command=tuple(options.get("command", ())),
        file_name=options.get("file_name", "answer.py"),
        limits=Limits(
            cpu_s=options.get("time_limit", 10.0), memory_mb=options.get("memory_mb", 1024)
        ),
        names=_offered_names(case),
        objects=case.objects,
    )


@metric(
    label="code that passes its tests",
    binary=True,
    requires=("tests",),
    check=_check,
    dry_run=_dry_run,
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

    Tests get an answer's functions, and copies of plain values (numbers, texts, lists, dicts,
    dates, arrays, paths, patterns); of a derived class the plain value in it; of an iterator its
    values. They take only names that `expected` defines, or that the prompt of a case without it
    mentions. Any other object scores 0, unless the case says `"objects": true`: then tests work
    with the answer's objects, whose methods and operators run.

    Tests that cannot fail are refused by `suite check` and before a run asks: each case's tests run
    on an answer that raises, on one that returns None and on one that returns [], and must fail on
    each.

    Known problems:
        With `objects` an answer's own methods decide what tests see, such as `in`, `len` and
        arithmetic; only `==`, `<` and their like with plain values are computed outside. Tests can
        neither derive a class from the answer's, nor inspect or patch it, nor ask for `type()`. A
        list that the answer keeps is a copy after the call. Only the standard library is sure to be
        there.

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
    outcome = job.outcome()
    if outcome.end is End.UNKNOWN:
        return Score.unscored(outcome.reason or "the sandbox failed")
    reason = outcome.reason if outcome.test is None else f"{outcome.test}: {outcome.reason}"
    value = outcome.share if partial else float(outcome.end is End.PASSED)
    return Score.of(value, reason)
