"""Write cases.jsonl from the hand-written material next to this file.

Owns what a machine does better than a hand: it copies the definitions of the offered tools into
each case, allows the defaults of optional arguments, and tags what can be counted. Prompts, tools
and right calls are in `material/`. The same material gives the same bytes:

    python -m tunegate.suites.tool_calls.make
"""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
OMITTED = ""
"""Stands among the allowed values of an argument that may be left out."""

Tools = dict[str, dict[str, Any]]


def main() -> None:
    """Write the file."""
    tools, written = material()
    lines = [json.dumps(case(one, tools), ensure_ascii=False) for one in written]
    (HERE / "cases.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def material() -> tuple[Tools, list[dict[str, Any]]]:
    """Return the tools by name and the cases as they are written by hand."""
    tools = json.loads((HERE / "material/tools.json").read_text(encoding="utf-8"))
    cases = tomllib.loads((HERE / "material/cases.toml").read_text(encoding="utf-8"))
    return tools, cases["case"]


def case(written: dict[str, Any], tools: Tools) -> dict[str, Any]:
    """Return one line of cases.jsonl."""
    asked: dict[str, Any] = {k: written[k] for k in ("prompt", "messages") if k in written}
    calls = [expected_call(call, tools) for call in written.get("calls", [])]
    return {
        "id": written["id"],
        **asked,
        "tools": [
            {"type": "function", "function": {"name": name, **tools[name]}}
            for name in written["tools"]
        ],
        "expected_calls": calls,
        "tags": [*_tags(written), *written.get("tags", [])],
        "cluster": written["about"],
    }


def expected_call(call: dict[str, Any], tools: Tools) -> dict[str, Any]:
    """Return a call that also allows what says nothing: a default, or leaving it out."""
    parameters = tools[call["name"]]["parameters"]
    arguments = {name: list(allowed) for name, allowed in call.get("arguments", {}).items()}
    for name, schema in parameters["properties"].items():
        if name in parameters["required"] or "default" not in schema:
            continue
        allowed = arguments.setdefault(name, [schema["default"]])
        if schema["default"] in allowed:
            allowed.append(OMITTED)
    return {"name": call["name"], "arguments": arguments}


def _tags(written: dict[str, Any]) -> Iterator[str]:
    """Yield what can be counted: the number of calls, the turns, how the arguments are built."""
    calls = written.get("calls", [])
    yield ("no_call", "single")[len(calls)] if len(calls) < 2 else "parallel"
    if "messages" in written:
        yield "multi_turn"
    if calls and {call["name"] for call in calls} < set(written["tools"]):
        yield "distractors"
    values = [v for c in calls for allowed in c["arguments"].values() for v in allowed]
    if any(_nested(value) for value in values):
        yield "nested"


def _nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_nested, value)))


if __name__ == "__main__":
    main()
