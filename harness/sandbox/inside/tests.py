"""The process that runs the tests: it calls the answer in the other one."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import Any, NoReturn

from .exception_text import describe_error, last_line, show_value
from .names import Names
from .peer import Ended, Peer
from .remote import came_from_other
from .uncalled import call_uncalled

FILE = "tests.py"
ANSWER_ENDED = 3
"""Exit code if the answer's process ends before the tests do."""
_SHOWN = ("__name__", "__qualname__", "__doc__", "__module__")
"""What functools.wraps() reads of a function."""


class _TestPeer(Peer):
    """The connection to the answer, whose objects arrive by value unless the task asks for them."""

    def __init__(self, *, objects: bool) -> None:
        """Open it; `objects` is whether the task asks for objects."""
        super().__init__()
        self.refuse = _refuse
        self.fault: str | None = None
        """Why the answer fails even if a test catches the error."""
        self._objects_allowed = objects

    def receive(self) -> Any:
        """Return the next message, or end."""
        try:
            return super().receive()
        except Ended:
            os._exit(ANSWER_ENDED)  # an `except` in a test must not hide it

    def ask(self, operation: str, number: int, *arguments: Any) -> Any:
        """Have the answer do something; return or raise what comes of it."""
        try:
            return super().ask(operation, number, *arguments)
        except StopIteration as error:  # would end a loop of the tests
            raise RuntimeError("the answer raised StopIteration") from error
        except ImportError as error:  # of a module that the answer names, not of a test's import
            error.__dict__.setdefault("origin", None)
            raise

    def find(self, tag: str, inside: Any) -> Any:
        """Return what stands for an object of the answer."""
        if tag == "mine" and not self._objects_allowed and inside[1] is not None:
            return self.ask("plain", inside[0])
        if tag == "error" and not self._objects_allowed and not self.raising:
            self._refuse_object("an exception")
        return super().find(tag, inside)

    def stand_in(self, number: int, base: str | None, use: str) -> Any:
        """Return a function that calls the answer's, an iterator over its values, or a proxy."""

        def call(*args: Any, **kwargs: Any) -> Any:
            return self.ask("call", number, args, list(kwargs.items()))

        def iterate() -> Iterator[Any]:
            while values := self.ask("advance", number):
                yield from values

        if self._objects_allowed:
            return super().stand_in(number, base, use)
        if use == "next":
            return iterate()
        if use != "call" and self.raising:  # an argument of an error
            return f"<{use}>"
        if use != "call":
            self._refuse_object(f"an object ({use})")
        with suppress(AttributeError):
            for name in ("__name__", "__qualname__", "__doc__"):
                setattr(call, name, self.ask("getattr", number, name))
        return call

    def _refuse_object(self, what: str) -> NoReturn:
        self.fault = f'the answer gives {what}; tests see those with "objects": true in the case'
        raise TypeError(self.fault)


def main(folder: str) -> None:
    """Run the tests in the folder and send the host what they gave."""
    with open(f"{folder}/tests.json", encoding="utf-8") as file:  # noqa: PTH123 - as in answer.py
        job = json.load(file)
    peer = _TestPeer(objects=job["objects"])
    sys.argv = [FILE]
    try:
        result = _run_tests(job["tests"], job["names"], peer)
    except BaseException as error:  # the answer may send anything
        reason = f"the answer does not keep to the protocol: {type(error).__name__}"
        result = {"passed": 0, "error": type(error).__name__, "reason": reason}
    peer.send_result(result)
    os._exit(0)


def _refuse(operation: str, target: Any, arguments: list[Any]) -> None:
    """Keep the answer from reaching the tests through the objects that they give it."""
    if operation not in ("getattr", "setattr", "delattr"):
        return
    name = str(arguments[0])
    if operation == "getattr" and name in _SHOWN:
        return
    # The attributes of an object whose class the tests define are for the answer.
    if type(target).__module__ != "tests" or name.startswith("_"):
        raise AttributeError(f"an answer may not use {name!r} of an object of the tests")


def _run_tests(tests: list[str], names: list[str] | None, peer: _TestPeer) -> dict[str, Any]:
    """Run the tests until one fails."""
    kind, *rest = peer.receive()
    if kind == "broken":
        name, text, line = rest
        place = f" (line {line} of the answer)" if line else ""
        return {"passed": 0, "error": name, "reason": f"{name}: {text}{place}"}
    offered = frozenset(rest[0]).intersection(rest[0] if names is None else names)
    for index, text in enumerate(tests):
        failure = run_test(text, offered, lambda name: peer.ask("getattr", 0, name))
        if failure is None and peer.fault is not None:
            failure = {"error": "TypeError", "reason": peer.fault}
        if failure is not None:
            return {"passed": index, **failure}
    return {"passed": len(tests)}


def run_test(
    text: str, offered: frozenset[str], fetch: Callable[[str], Any]
) -> dict[str, Any] | None:
    """Run one test; return how it failed, or None."""
    compared: list[Any] = []

    def equal(left: Any, right: Any) -> Any:
        compared[:] = [left, right]
        return left == right

    sys.modules["tests"] = ModuleType("tests")
    try:
        tree = ast.parse(text, FILE)
        code = compile(_Comparisons().visit(ast.parse(text, FILE)), FILE, "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        return {"broken": f"the test cannot be read: {type(error).__name__}: {error}"}
    sys.stdout = sys.__stdout__
    if "unittest" in text:
        import unittest  # takes a while

        unittest.main = lambda *args, **kwargs: None  # type: ignore[assignment]  # see uncalled.py
    try:
        namespace = Names(tree, offered, fetch)
        namespace[_Comparisons.NAME] = equal
        exec(code, namespace)
        call_uncalled(tree, namespace)
    except BaseException as error:
        if isinstance(error, ImportError) and not came_from_other(error):
            return {"broken": f"the test cannot run here: {type(error).__name__}: {error}"}
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
