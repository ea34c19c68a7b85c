"""The names that the code of a test reads."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from typing import Any


def read_names(tree: ast.AST) -> set[str]:
    """Return the names that code reads."""
    names = (node for node in ast.walk(tree) if isinstance(node, ast.Name))
    return {node.id for node in names if isinstance(node.ctx, ast.Load)}


def bound_names(tree: ast.AST) -> set[str]:
    """Return the names that code defines, at any depth."""
    bound = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, ast.alias):
            bound.add((node.asname or node.name).partition(".")[0])
        elif name := getattr(node, "name", None):  # a function, class, caught error or pattern
            bound.add(name)
    return bound


def free_names(tree: ast.AST) -> set[str]:
    """Return the names that code reads and does not define."""
    return read_names(tree) - bound_names(tree) - {"__name__", "__file__", "__debug__"}


class Names(dict[str, Any]):
    """The global names of a test: those that it does not define come from the answer.

    An answer must not replace what a test means by `len` or `all`. Only where a test reads no other
    names than those of Python's functions does it test one of that name.
    """

    def __init__(self, tree: ast.AST, offered: frozenset[str], fetch: Callable[[str], Any]) -> None:
        """Take the names that the answer offers, and what returns the value of one."""
        super().__init__(__name__="tests", __builtins__=builtins)
        unshadowed = {name for name in offered if not hasattr(builtins, name)}
        tests_own = not all(hasattr(builtins, name) for name in free_names(tree))
        self._offered, self._fetch = unshadowed if tests_own else offered, fetch

    def __missing__(self, name: str) -> Any:
        if name not in self._offered or name.startswith("__"):
            raise KeyError(name)
        value = self._fetch(name)
        if callable(value):  # any other may change until the next time
            self[name] = value
        return value
