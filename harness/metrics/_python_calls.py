"""Tool calls as Python calls: `[f(a=1), g(b="x")]`. The text is parsed, never run.

Only names with literal arguments are calls; a variable, arithmetic or another call as an argument
would need a Python program to mean anything. Within prose a name may be a text without its
quotation marks.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from typing import Any

from tunegate.harness.metrics._tool_call import MalformedCall, ToolCall, format_value

_LONGEST = 100_000
"""Characters of the longest text that is parsed: Python's parser takes 10 MB for it."""
_LARGEST_BITS = 14_000
"""Bits of the largest whole number: beyond about 4,300 digits Python refuses to print it."""
_CALL = re.compile(r"\[?\s*+[^\W\d]\w*+(?:\.\w++)*+\s*+\(")
_SURELY = re.compile(r"\[?\s*+[^\W\d]\w*+(?:\.\w++)*+\(\s*+\w++\s*+=")
"""A name, a bracket and a named argument: no prose looks like that."""


def python(text: str, *, bare_texts: bool = False) -> list[ToolCall] | None:
    """Return the calls if the whole text is calls, with or without brackets; else None.

    With `bare_texts` a name as an argument is a text without quotation marks: `f(city=Rome)`.

    Raises:
        MalformedCall: an argument is not a literal, or the calls are cut off.
    """
    if not _CALL.match(text):
        return None
    try:
        calls = _parse_python(text)
    except MalformedCall as error:
        steps = _parse_steps(text)
        if steps:
            return [_call(node, bare_texts) for node in steps]
        if _SURELY.match(text):
            raise MalformedCall(f"not Python: {error}") from error
        return None
    return [_call(node, bare_texts) for node in calls]


def _parse_python(text: str) -> list[ast.Call]:
    if len(text) > _LONGEST:
        raise MalformedCall(f"{len(text)} characters are more than the {_LONGEST} that are parsed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a string is not our fault
            tree = ast.parse(text if text.startswith("[") else f"[{text}]", mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        # The parser raises the last two, too, for texts that are nested too deeply.
        words = error.msg if isinstance(error, SyntaxError) else "it cannot be parsed"
        raise MalformedCall(words) from error
    nodes = tree.body.elts if isinstance(tree.body, ast.List) else []
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    if not calls or len(calls) < len(nodes):
        raise MalformedCall("it is not a list of calls")
    return calls


def _parse_steps(text: str) -> list[ast.Call]:
    """Return the calls of a text that has semicolons between them, as Nexus Raven writes them."""
    if ";" not in text or len(text) > _LONGEST:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            steps = ast.parse(text).body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return []
    calls = [
        step.value
        for step in steps
        if isinstance(step, ast.Expr) and isinstance(step.value, ast.Call)
    ]
    return calls if len(calls) == len(steps) else []


class _NamesAsTexts(ast.NodeTransformer):
    def visit_Name(self, node: ast.Name) -> ast.Constant:
        return ast.Constant(node.id)


def _call(node: ast.Call, bare_texts: bool) -> ToolCall:
    name = _name(node.func)
    if node.args:
        raise MalformedCall(f"an argument of {name} has no name")
    arguments: dict[str, Any] = {}
    for keyword in node.keywords:
        if keyword.arg is None:
            raise MalformedCall(f"{name} unpacks ** instead of naming its arguments")
        if keyword.arg in arguments:
            raise MalformedCall(f"{name} has {keyword.arg!r} twice")
        try:
            value = _NamesAsTexts().visit(keyword.value) if bare_texts else keyword.value
            arguments[keyword.arg] = _json_value(ast.literal_eval(value))
        except (ValueError, TypeError, MemoryError, RecursionError) as error:
            raise MalformedCall(f"{name}: {keyword.arg} is not a JSON literal") from error
    return ToolCall(name, arguments)


def _name(node: ast.expr) -> str:
    steps = []
    while isinstance(node, ast.Attribute):
        steps.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise MalformedCall("the function is not called by its name")
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
    raise ValueError(f"{format_value(type(value))} is not JSON")
