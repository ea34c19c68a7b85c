"""The names that the code of a test reads."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from typing import Any

from .remote import Remote


def read_names(tree: ast.AST) -> set[str]:
    """Return the names that code reads."""
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, ast.Load)}


def free_names(tree: ast.AST) -> set[str]:
    """Return the names that code reads and does not define."""
    defined = {"__name__", "__file__", "__debug__"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.arg):
            defined.add(node.arg)
        elif isinstance(node, ast.alias):
            defined.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            defined.add(node.name)
    return read_names(tree) - defined


class Names(dict[str, Any]):
    """The global names of a test: those that it does not define come from the answer.

    An answer must not replace what a test means by `len` or `all`. Only where a test reads no other
    names than those of Python's functions does it test one of that name.
    """

    def __init__(self, tree: ast.AST, offered: frozenset[str], fetch: Callable[[str], Any]) -> None:
        """Take the names that the answer offers, and what returns the value of one."""
        super().__init__(__name__="tests", __builtins__=builtins)
        own = {name for name in offered if not hasattr(builtins, name)}
        tests_own = not all(hasattr(builtins, name) for name in free_names(tree))
        self._offered, self._fetch = own if tests_own else offered, fetch

    def __missing__(self, name: str) -> Any:
        if name not in self._offered or name.startswith("__"):
            raise KeyError(name)
        value = self._fetch(name)
        if type(value) is Remote:  # any other may change until the next time
            self[name] = value
        return value


_DYNAMIC = {"globals", "locals", "vars", "eval", "exec", "__import__"}


def uses_no_answer(tree: ast.AST) -> bool:
    """Return whether a test can take nothing from any answer."""
    return not free_names(tree) - {"print"} and not read_names(tree) & _DYNAMIC
