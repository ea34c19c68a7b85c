"""Writes suite-file.md from the JSON schemas of a suite and a case, and the sources' docstrings.

Run it after one of them has changed: `python docs/reference/make_suite_file.py`.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.json_schema import read_schema
from tunegate.harness.gates.contract.gate_kind import GateKind
from tunegate.harness.gates.contract.registry import gate_kinds
from tunegate.harness.suite.file_schema import suite_schema

PAGE = Path(__file__).with_name("suite-file.md")
_INTRODUCTION = """\
# Suite and case files

A suite is a folder with `suite.toml` and its cases. `tunegate suite check DIR` names every mistake
with its file and line. Other keys are refused.
"""
_TABLES = (
    ("At the top of suite.toml", "suite", ()),
    ("[generation]", "suite", ("generation",)),
    ("[episode]", "suite", ("episode",)),
    ("[prompted] and [teacher]", "suite", ("prompted",)),
    ("[[metrics]]", "suite", ("metrics",)),
    ("[[gates]]", "suite", ("gates",)),
    ("A line of cases.jsonl", "case", ()),
)
_KINDS = """\
## Kinds of gates

A table of `[[gates]]` makes a gate of each kind whose keys it has.
[Add a kind](../contributing/gate.md).

| kind | keys | role | passes if |
|---|---|---|---|
"""
_SOURCES = """\
## Sources of cases

`cases = "cases.jsonl"` reads JSON lines next to suite.toml. A table takes them from where they are
([examples](../guides/cases.md)):

```toml
[cases]
from = "csv"
file = "tickets.csv"
```

Sources that read rows also take `limit` (the first so many), `sample` (so many, drawn at random by
`seed`) and `repeated` (`"refuse"` or `"drop"` rows that are the same as an earlier one).
"""


def render() -> str:
    """Return the page."""
    tables = [f"## {title}\n\n{_table(_object(name, keys))}" for title, name, keys in _TABLES]
    sources = lookup.available_names("tunegate.harness.suite.sources")
    tables.insert(6, _KINDS + "".join(map(_kind, gate_kinds())))
    return "\n".join([_INTRODUCTION, *tables, _SOURCES, *map(_source, sources)])


def _kind(kind: GateKind) -> str:
    keys = ", ".join(f"`{key}`" for key in kind.schema)
    role = "goal" if kind.is_goal else "guardrail"
    return f"| `{kind.name}` | {keys} | {role} | {_cell(kind.summary)} |\n"


def _object(name: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = suite_schema() if name == "suite" else read_schema(name)
    for key in keys:
        found = found["properties"][key]
        found = found.get("items", found)
        tables = [form for form in found.get("anyOf", ()) if "properties" in form]
        found = tables[0] if tables else found
    return found


def _table(schema: Mapping[str, Any]) -> str:
    lines = []
    for key, form in schema["properties"].items():
        must = ", required" if key in schema.get("required", ()) else ""
        meaning = form.get("description", "a table of its own")
        lines.append(f"- `{key}` ({_value(form)}{must}): {_cell(meaning)}")
    return "\n".join(lines) + "\n"


def _value(form: Mapping[str, Any]) -> str:
    if "enum" in form:
        return " or ".join(f"`{value}`" for value in form["enum"])
    if "anyOf" in form and "type" not in form:
        return " or ".join(_value(option) for option in form["anyOf"])
    words = {"array": "list", "object": "table", "string": "text", "boolean": "true or false"}
    return words.get(form["type"], form["type"]) + _range(form)


def _range(form: Mapping[str, Any]) -> str:
    low, high = form.get("minimum"), form.get("maximum")
    above, below = form.get("exclusiveMinimum"), form.get("exclusiveMaximum")
    said = [
        *([] if low is None else [f"from {low}"]),
        *([] if above is None else [f"above {above}"]),
        *([] if high is None else [f"to {high}"]),
        *([] if below is None else [f"below {below}"]),
    ]
    return " " + " ".join(said) if said else ""


def _source(name: str) -> str:
    source = lookup.find_object("tunegate.harness.suite.sources", name, what="source")
    doc = inspect.getdoc(inspect.getmodule(source)) or ""
    summary, _, rest = doc.partition("\n\nExample:\n")
    example = f"\n```toml\n{inspect.cleandoc(rest)}\n```\n" if rest else ""
    rows = [
        f"- `{key}`{_must(source, key)}: {' '.join(text.split())}"
        for key, text in _options(source)
        if key != "selection"
    ]
    return "\n".join([f"### {name}\n\n{summary}\n{example}", *rows, ""])


def _options(source: Any) -> Iterator[tuple[str, str]]:
    body = (inspect.getdoc(source) or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
    told = re.split(r"^(\w+): ", inspect.cleandoc(body), flags=re.MULTILINE)
    known = dict(zip(told[1::2], told[2::2], strict=True))
    for name, parameter in inspect.signature(source).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            yield name, known[name]


def _must(source: Any, key: str) -> str:
    default = inspect.signature(source).parameters[key].default
    if default is inspect.Parameter.empty:
        return " (required)"
    return "" if default in (None, (), "") else f" (default `{json.dumps(default)}`)"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
