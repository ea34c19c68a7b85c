"""Nodes of PyYAML: every node of a document, and the keys that occur twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def walk_nodes(root: Any) -> Iterator[Any]:
    """Yield a node and all within it, each once: an alias is the node that it stands for."""
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if node.id == "mapping":
            waiting += [part for pair in reversed(node.value) for part in reversed(pair)]
        elif node.id == "sequence":
            waiting += reversed(node.value)


def repeated_keys(node: Any) -> Iterator[str]:
    """Yield `line: problem` for the keys of a mapping that occur twice; YAML takes the last."""
    lines: dict[str, int] = {}
    for key, _ in node.value if node.id == "mapping" else ():
        if key.id != "scalar" or key.value == "<<":
            continue
        line = key.start_mark.line + 1
        if (first := lines.setdefault(key.value, line)) != line:
            yield f"{line}: key {key.value!r} is already in line {first}; keep one of them"
