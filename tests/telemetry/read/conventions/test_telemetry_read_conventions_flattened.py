"""Lists and objects that were flattened into attributes."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.telemetry.read.conventions._flattened import (
    dump_javascript,
    unflatten_attributes,
)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"q": 1}, None),
        ({"p": 1, "pp.0": 2}, None),
        ({"p.1.a": 2, "p.0.a": 1, "p.10.a": 3}, [{"a": 1}, {"a": 2}, {"a": 3}]),
        ({"p.a.b": 1, "p.a.c": 2}, {"a": {"b": 1, "c": 2}}),
        ({"p.0": "x", "p.0.a": 1}, [{"a": 1}]),
        ({"p.0.c": "x", "p.0.c.1.t": "y"}, [{"c": ["x", {"t": "y"}]}]),
        ({"p.0.c.1.t": "y", "p.0.c": "x"}, [{"c": ["x", {"t": "y"}]}]),
        ({"p.0.a": {"0": "own"}}, [{"a": {"0": "own"}}]),
    ],
)
def test_names_become_a_tree(attributes: dict[str, Any], expected: Any) -> None:
    assert unflatten_attributes(attributes, "p") == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (1e-5, "0.00001"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.5e16, "15000000000000000"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (5e-324, "5e-324"),
        (123456789012345680000, "123456789012345680000"),
        ({"é": [None, True, "“\u2028\n"]}, '{"é":[null,true,"“\u2028\\n"]}'),
    ],
)
def test_json_as_node_writes_it(value: Any, text: str) -> None:
    assert dump_javascript(value) == text
