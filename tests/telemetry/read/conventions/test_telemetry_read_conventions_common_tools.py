"""Tool definitions in OpenAI's form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tunegate.harness.telemetry.read.conventions._common import tool_definitions

SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
FUNCTION = {"name": "f", "description": "Does.", "parameters": SCHEMA}
TOOL = {"type": "function", "function": FUNCTION}


@pytest.mark.parametrize(
    "written",
    [
        TOOL,
        FUNCTION,
        {"type": "function", **FUNCTION},
        {"name": "f", "description": "Does.", "input_schema": SCHEMA},
        {"type": "custom", "name": "f", "description": "Does.", "input_schema": SCHEMA},
        {"name": "f", "description": "Does.", "inputSchema": SCHEMA},
        {"name": "f", "description": "Does.", "parameters": json.dumps(SCHEMA)},
        {"tool": {"json_schema": json.dumps(TOOL)}},
        {"json_schema": TOOL},
        json.dumps(TOOL),
    ],
)
def test_every_form_is_the_same_tool(written: Any) -> None:
    assert tool_definitions([written]) == ([TOOL], [])
    assert tool_definitions(json.dumps([written])) == ([TOOL], [])


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"type": "web_search_20250305", "name": "web_search"}, "web_search_20250305"),
        ({"type": "function"}, "without a name"),
        (7, "without a name"),
    ],
)
def test_others_are_said(written: Any, told: str) -> None:
    """A tool that the provider runs cannot be offered to another model."""
    assert tool_definitions([written]) == ([], [f"a tool of another kind ({told})"])


def test_a_function_keeps_what_else_matters() -> None:
    """`strict` stays; missing parameters stay missing."""
    function = {"name": "f", "strict": True}

    assert (
        tool_definitions([{"type": "function", "function": function}])[0][0]["function"] == function
    )
