"""Tests that define functions or classes and leave it to a runner to call them."""

from __future__ import annotations

import ast
import sys
from typing import Any

from .names import read_names


def call_uncalled(tree: ast.Module, names: dict[str, Any]) -> None:
    """Call the functions `test…` that nothing calls, and run the test cases of unittest."""
    used = read_names(tree)
    for node in tree.body:
        name = node.name if isinstance(node, ast.FunctionDef) else ""
        if name.startswith("test") and name not in used:
            names[name]()
    unittest = sys.modules.get("unittest")
    if unittest is not None:
        _run_cases(unittest, names)


def _run_cases(unittest: Any, names: dict[str, Any]) -> None:
    class Result(unittest.TestResult):  # type: ignore[misc]  # imported only if a test does
        first: Any = None

        def addError(self, test: Any, error: Any) -> None:
            self.first = self.first or error[1]

        addFailure = addError

        def addSubTest(self, test: Any, subtest: Any, error: Any) -> None:
            self.first = self.first or (error and error[1])

    result = Result()
    for kind in list(names.values()):
        if (
            type(kind) is type
            and issubclass(kind, unittest.TestCase)
            and kind.__module__ == "tests"
        ):
            unittest.defaultTestLoader.loadTestsFromTestCase(kind).run(result)
    if result.first is not None:
        raise result.first
