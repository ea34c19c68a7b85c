"""Tool definitions, whoever wrote them → OpenAI's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.tracing.conventions._json import loaded


def tools(values: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the definitions of a list, or of its JSON, and what stands against offering them.

    A tool that the provider runs itself (`web_search`) is none that another model could be given.
    """
    found = loaded(values)
    if isinstance(found, Mapping):
        found = [found]
    known, obstacles = [], []
    for value in found if isinstance(found, list | tuple) else ():
        plain = _unwrapped(loaded(value))
        kind = plain.get("type", "function")
        if kind in ("function", "custom", "object") and (tool := _function(plain)):
            known.append(tool)
        else:
            name = str(kind if kind != "function" else plain.get("name", "without a name"))
            obstacles.append(f"a tool of another kind ({name[:40]})")
    return known, obstacles


def _unwrapped(value: Any) -> Mapping[str, Any]:
    """Return the definition in `{"tool": {"json_schema": "{…}"}}`, as OpenInference has it."""
    for name in ("tool", "json_schema"):
        if isinstance(value, Mapping) and name in value and "name" not in value:
            value = loaded(value[name])
    return value if isinstance(value, Mapping) else {}


def _function(value: Mapping[str, Any]) -> dict[str, Any] | None:
    inner = value.get("function", value)
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        return None
    function: dict[str, Any] = {"name": inner["name"]}
    if inner.get("description"):
        function["description"] = inner["description"]
    for name in ("parameters", "input_schema", "inputSchema"):
        schema = loaded(inner.get(name))
        if isinstance(schema, Mapping):
            function["parameters"] = dict(schema)
            break
    if isinstance(inner.get("strict"), bool):
        function["strict"] = inner["strict"]
    return {"type": "function", "function": function}
