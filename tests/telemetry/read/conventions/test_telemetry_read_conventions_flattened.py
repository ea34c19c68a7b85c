"""Lists and objects that were flattened into attributes."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.telemetry.read.conventions._flattened import unflatten_attributes


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
