"""Lists and objects that were flattened into attributes: `llm.tools.0.tool.json_schema`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DEEPEST = 12
"""Dots of a name that are read as levels; OpenInference's deepest has seven."""
_LONGEST_INDEX = 6


class _Node(dict[str, Any]):
    """A level of the tree, told apart from an object that is itself an attribute's value."""


def nested(attributes: Mapping[str, Any], prefix: str) -> Any:
    """Return what the attributes below `prefix` hold, or None where there are none.

    Levels that are named by numbers alone become lists in the order of the numbers, without the
    ones that are missing. Where a name holds a value and has names below it, the names win.

    Example:
        >>> nested({"p.0.role": "user", "p.0.content": "Hi", "q": 1}, "p")
        [{'role': 'user', 'content': 'Hi'}]
    """
    tree = _Node()
    for name, value in attributes.items():
        if name.startswith(f"{prefix}."):
            _put(tree, name[len(prefix) + 1 :].split(".", _DEEPEST), value)
    return _plain(tree) if tree else None


def _put(node: _Node, path: list[str], value: Any) -> None:
    for step in path[:-1]:
        below = node.get(step)
        if not isinstance(below, _Node):
            below = node[step] = _Node()
        node = below
    if not isinstance(node.get(path[-1]), _Node):
        node[path[-1]] = value


def _plain(node: Any) -> Any:
    if not isinstance(node, _Node):
        return node
    if all(step.isascii() and step.isdecimal() and len(step) <= _LONGEST_INDEX for step in node):
        return [_plain(node[step]) for step in sorted(node, key=int)]
    return {step: _plain(below) for step, below in node.items()}
