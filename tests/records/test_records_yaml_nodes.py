"""Nodes of YAML, and keys that occur twice."""

from __future__ import annotations

import pytest

from tunegate.harness.records.yaml_nodes import repeated_keys, walk_nodes


def test_every_node_comes_once_and_in_order() -> None:
    """`*x` is the node of `&x`; a text that holds a hundred million aliases is walked at once."""
    yaml = pytest.importorskip("yaml")
    text = "a: &x [1, 2]\nb: {c: *x, d: 3}\n"

    values = [node.value for node in walk_nodes(yaml.compose(text)) if node.id == "scalar"]

    assert values == ["a", "1", "2", "b", "c", "d", "3"]
    bomb = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 28))]
    assert len(list(walk_nodes(yaml.compose("\n".join(bomb))))) == 1 + 28 + 28 + 2


def test_a_key_that_occurs_twice_is_named_with_both_lines() -> None:
    yaml = pytest.importorskip("yaml")
    root = yaml.compose("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n<<: {}\n<<: {}\n[x]: 1\n[x]: 2\n")

    problems = [problem for node in walk_nodes(root) for problem in repeated_keys(node)]

    assert problems == [
        "5: key 'a' is already in line 1; keep one of them",
        "4: key 'c' is already in line 3; keep one of them",
    ]
