"""The process that runs the tests: it calls the answer in the other one."""

from __future__ import annotations

import ast
import builtins
import json
import os
import sys
from pathlib import Path
from types import CodeType
from typing import Any

from .failures import describe_error, last_line, show_value
from .peer import Ended, Peer

FILE = "tests.py"
ANSWER_ENDED = 3
"""Exit code if the answer's process ends before the tests do."""
_FOR_ANSWERS = {
    "call", "len", "iter", "next", "getitem", "contains", "bool", "str", "repr", "hash", "eq", "lt",
    "le", "gt", "ge", "add", "sub", "mul", "truediv", "mod",
}  # fmt: skip
"""What the answer may do with an object of the tests, such as a function that it was given."""


class _TestPeer(Peer):
    def receive(self) -> Any:
        """Return the next message, or end."""
        try:
            return super().receive()
        except Ended:
            os._exit(ANSWER_ENDED)  # an `except` in a test must not hide it


def main(folder: str) -> None:
    """Run the tests in the folder and send the host what they gave."""
    tests = json.loads(Path(folder, "tests.json").read_text(encoding="utf-8"))
    peer = _TestPeer()
    peer.refuse = _refuse
    sys.argv = [FILE]
    peer.send_result(_run_tests(tests, peer))
    os._exit(0)


def _refuse(operation: str, target: Any, arguments: list[Any]) -> None:
    """Keep the answer from reaching the tests through the objects that they give it."""
    if operation in _FOR_ANSWERS:
        return
    # The attributes of an object whose class the tests define are for the answer.
    owned = operation == "getattr" and type(target).__module__ == "tests"
    if owned and not str(arguments[0]).startswith("_"):
        return
    raise PermissionError(f"an answer may not use {operation} on an object of the tests")


def _run_tests(tests: list[str], peer: Peer) -> dict[str, Any]:
    """Run the tests until one fails."""
    kind, *rest = peer.receive()
    if kind == "broken":
        name, text, line = rest
        place = f" (line {line} of the answer)" if line else ""
        return {"passed": 0, "error": name, "reason": f"{name}: {text}{place}", "test": None}
    for index, text in enumerate(tests):
        failure = _run_test(text, frozenset(rest[0]), peer)
        if failure is not None:
            return {"passed": index, **failure}
    return {"passed": len(tests), "error": None, "reason": None, "test": None}


def _run_test(text: str, names: frozenset[str], peer: Peer) -> dict[str, Any] | None:
    """Run one test; return how it failed, or None."""
    compared: list[Any] = []

    def equal(left: Any, right: Any) -> Any:
        compared[:] = [left, right]
        return left == right

    namespace = {"__name__": "tests", "__builtins__": builtins, _Comparisons.NAME: equal}
    try:
        tree = _Comparisons().visit(ast.parse(text, FILE))
        code = compile(tree, FILE, "exec", dont_inherit=True)
        for name in _used_names(code) & names:
            # The answer must not replace what the tests mean by `len` or `all`.
            if not hasattr(builtins, name) and not name.startswith("__"):
                namespace[name] = peer.ask("getattr", 0, name)
        exec(code, namespace)
    except BaseException as error:
        line = last_line(error, FILE)
        shown = text.splitlines()[line - 1].strip()[:500] if line else None
        return {"error": type(error).__name__, "reason": _reason(error, compared), "test": shown}
    return None


class _Comparisons(ast.NodeTransformer):
    """Notes both sides of `assert a == b`, so that a failure tells what the answer returned."""

    NAME = "__equal__"

    def visit_Assert(self, node: ast.Assert) -> ast.Assert:
        """Replace the comparison by a call. (ast.NodeTransformer)"""
        test = node.test
        if isinstance(test, ast.Compare) and [type(op) for op in test.ops] == [ast.Eq]:
            call = ast.Call(ast.Name(self.NAME, ast.Load()), [test.left, test.comparators[0]], [])
            node.test = ast.copy_location(call, test)
            ast.fix_missing_locations(node)
        return node


def _reason(error: BaseException, compared: list[Any]) -> str:
    text = describe_error(error)
    if isinstance(error, AssertionError) and compared and not text:
        return f"got {show_value(compared[0])}, not {show_value(compared[1])}"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _used_names(code: CodeType) -> set[str]:
    """Return the names that code reads, and the functions inside it."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _used_names(constant)
    return found
