"""Tool calls as Python calls: `[f(a=1), g(b="x")]`.

The text is parsed, never run. Only names with literal arguments are calls; a variable, arithmetic
or another call as an argument would need a Python program to mean anything.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from typing import Any

from harness.metrics._calls_form import Call, Malformed, show

_LONGEST = 100_000
"""Characters of the longest text that is parsed: Python's parser takes 10 MB for it."""
_LARGEST_BITS = 14_000
"""Bits of the largest whole number: beyond about 4,300 digits Python refuses to print it."""
_CALL = re.compile(r"\[?\s*+[^\W\d]\w*+(?:\.\w++)*+\s*+\(")
_SURELY = re.compile(r"\[?\s*+[^\W\d]\w*+(?:\.\w++)*+\(\s*+\w++\s*+=")
"""A name, a bracket and a named argument: no prose looks like that."""


def python(text: str) -> list[Call] | None:
    """Return the calls that the whole text is, with or without brackets around them, or None.

    Raises:
        Malformed: it is calls, but of other things than literals, or calls that break off.
    """
    if not _CALL.match(text):
        return None
    try:
        calls = _parsed(text)
    except Malformed as error:
        if _SURELY.match(text):
            raise Malformed(f"not Python: {error}") from error
        return None
    return [_call(node) for node in calls]


def _parsed(text: str) -> list[ast.Call]:
    if len(text) > _LONGEST:
        raise Malformed(f"{len(text)} characters are more than the {_LONGEST} that are parsed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a string is no fault of ours
            tree = ast.parse(text if text.startswith("[") else f"[{text}]", mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        # The parser raises the last two, too, for texts that are nested too deeply.
        words = error.msg if isinstance(error, SyntaxError) else "it cannot be parsed"
        raise Malformed(words) from error
    nodes = tree.body.elts if isinstance(tree.body, ast.List) else []
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    if not calls or len(calls) < len(nodes):
        raise Malformed("it is no list of calls")
    return calls


def _call(node: ast.Call) -> Call:
    name = _name(node.func)
    if node.args:
        raise Malformed(f"an argument of {name} has no name")
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise Malformed(f"{name} unpacks ** instead of naming its arguments")
        if keyword.arg in arguments:
            raise Malformed(f"{name} has {keyword.arg!r} twice")
        try:
            arguments[keyword.arg] = _json_value(ast.literal_eval(keyword.value))
        except (ValueError, TypeError, MemoryError, RecursionError) as error:
            raise Malformed(f"{name}: {keyword.arg} is no literal that JSON has") from error
    return Call(name, arguments)


def _name(node: ast.expr) -> str:
    steps = []
    while isinstance(node, ast.Attribute):
        steps.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise Malformed("what is called is no name")
    return ".".join([node.id, *reversed(steps)])


def _json_value(value: Any) -> Any:
    """Return a literal as JSON has it: tuples become lists.

    Raises:
        ValueError: JSON has no such value.
    """
    if isinstance(value, list | tuple):
        return [_json_value(part) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _json_value(part) for key, part in value.items()}
    plain = value is None or isinstance(value, str | bool)
    whole = isinstance(value, int) and value.bit_length() <= _LARGEST_BITS
    if plain or whole or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ValueError(f"{show(type(value))} is not JSON")
