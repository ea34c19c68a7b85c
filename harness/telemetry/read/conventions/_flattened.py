"""Flattened attributes: lists and objects such as `llm.tools.0.tool.json_schema`, or as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_OWN = None
"""Key of the value of a name that has names below it."""


class _TreeNode(dict[str | None, Any]):
    """A level of the tree, unlike an object that is itself an attribute's value."""


def unflatten_attributes(attributes: Mapping[str, Any], prefix: str) -> Any:
    """Return what the attributes below `prefix` hold; None without any.

    Levels that are named by numbers alone become lists in the order of the numbers, without the
    ones that are missing. Where a name holds a value and has names below it, the value is the first
    of a list, and lost to an object.

    Example:
        >>> unflatten_attributes({"p.0.role": "user", "p.0.content": "Hi", "q": 1}, "p")
        [{'role': 'user', 'content': 'Hi'}]
    """
    tree = _TreeNode()
    for name, value in attributes.items():
        if name.startswith(f"{prefix}."):
            _put(tree, name[len(prefix) + 1 :].split("."), value)
    return _plain(tree) if tree else None


def _put(node: _TreeNode, path: list[str], value: Any) -> None:
    for step in path[:-1]:
        below = node.get(step)
        if not isinstance(below, _TreeNode):
            below = node[step] = _TreeNode({} if below is None else {_OWN: below})
        node = below
    below = node.get(path[-1])
    if isinstance(below, _TreeNode):
        below[_OWN] = value
    else:
        node[path[-1]] = value


def _plain(node: Any) -> Any:
    if not isinstance(node, _TreeNode):
        return node
    below = {step: _plain(value) for step, value in node.items() if step is not None}
    if not all(map(str.isdecimal, below)):
        return below
    first = [node[_OWN]] if _OWN in node else []
    return first + [below[step] for step in sorted(below, key=int)]


def load_json(value: Any) -> Any:
    """Return what a JSON text holds; anything else, a text that is not JSON too, as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def load_structure(value: Any) -> Any:
    """Return the object or array in a JSON text; None for others and for truncated ones."""
    found = load_json(value)
    return found if isinstance(found, Mapping | list | tuple) else None


def load_object(value: Any) -> Mapping[str, Any]:
    """Return the object in a JSON text; an empty one if the text holds something else."""
    found = load_json(value)
    return found if isinstance(found, Mapping) else {}


def dump_text(value: Any) -> str:
    """Return a text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def dump_javascript(value: Any) -> str:
    """Return a value as JavaScript's JSON.stringify writes it, byte for byte."""
    if isinstance(value, Mapping):
        members = (
            f"{json.dumps(k, ensure_ascii=False)}:{dump_javascript(v)}" for k, v in value.items()
        )
        return "{" + ",".join(members) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(dump_javascript, value)) + "]"
    if isinstance(value, float):
        return _javascript_number(value)
    return json.dumps(value, ensure_ascii=False)


def _javascript_number(value: float) -> str:
    """Return a number with digits alone from 1e-6 to below 1e21 (ECMA-262, Number::toString)."""
    text = repr(value + 0.0)  # -0.0 is written as 0
    mantissa, _, exponent = text.partition("e")
    if not exponent or -7 < int(exponent) < 21:
        return format(Decimal(text), "f").removesuffix(".0")
    return f"{mantissa}e{int(exponent):+d}"
