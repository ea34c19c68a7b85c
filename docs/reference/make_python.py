"""Writes python.md from the docstrings of the public names of `tunegate`.

Run it after one of them has changed: `python docs/reference/make_python.py`.
"""

from __future__ import annotations

import ast
import enum
import inspect
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import tunegate
from tunegate.harness.plugin import fixture

PAGE = Path(__file__).with_name("python.md")
_INTRODUCTION = """\
# Python

Import these names from `tunegate`: `from tunegate import Score, load_suite`. Names that are not on
this page may change without notice.
"""
_NAMES_ALONE = (tunegate.Metric, tunegate.MetricRecord)  # contributing/metric.md explains them


def render() -> str:
    """Return the page: the pytest fixture, then every public name."""
    names = [(name, getattr(tunegate, name)) for name in tunegate.__all__]
    index = ",\n".join(f"[`{name}`](#{name.lower()})" for name, _ in names)
    gate = _section("The gate fixture", fixture.GateFixture, "def test_refunds(gate): ...")
    return "\n".join([_INTRODUCTION, index, "", gate, *(_section(n, v) for n, v in names)])


def _section(title: str, value: Any, shown: str | None = None) -> str:
    doc = inspect.getdoc(value) or ""
    parts = [f"## {title}", *([f"```python\n{shown}\n```"] if shown else _signature(title, value))]
    return "\n\n".join(part for part in (*parts, _prose(doc), *_members(value)) if part) + "\n"


def _signature(name: str, value: Any) -> Iterator[str]:
    if inspect.isfunction(value):
        signature = inspect.signature(value)
        kinds = ((p, p.kind) for p in signature.parameters.values())
        first = next((p for p, kind in kinds if kind is kind.KEYWORD_ONLY), None)
        lines = []
        for parameter in signature.parameters.values():
            lines += ["    *,"] if parameter is first else []
            lines.append(f"    {parameter},".replace("'", ""))  # annotations are not evaluated
        returned = str(signature.return_annotation).strip("'")
        shown = "\n".join([f"def {name}(", *lines, f") -> {returned}: ..."])
        yield f"```python\n{shown}\n```"


def _prose(doc: str) -> str:
    """Return a docstring as Markdown: Google's sections as lists, examples as code."""
    doc, example, code = doc.partition("\nExample:\n")
    text = re.sub(r"^(Args|Returns|Raises):$", r"\n**\1**\n", doc, flags=re.MULTILINE)
    lines = []
    for line in text.splitlines():
        option = re.match(r"^    (\w[\w.*]*): (.*)$", line)
        lines.append(f"- `{option[1]}`: {option[2]}" if option else re.sub("^ {8}", "  ", line))
    shown = f"\n\n```python\n{inspect.cleandoc(code)}\n```" if example else ""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + shown


def _members(value: Any) -> Iterator[str]:
    if not inspect.isclass(value):
        return
    told = _told(value)
    if issubclass(value, enum.Enum):
        yield "\n".join(f"- `{m.name}`: {told.get(m.name, '')}" for m in value)
        return
    if value is tunegate.Case:
        keys = "[a line of cases.jsonl](suite-file.md#a-line-of-casesjsonl)"
        yield f"Its fields are the keys of {keys}."
    else:
        fields = [n if n not in told else f"{n}`: {_sentence(told[n])}" for n in _fields(value)]
        if value in _NAMES_ALONE:
            fields = list(_fields(value))
        plain = ", ".join(f"`{name}`" for name in fields if "`" not in name)
        if plain and told:
            yield f"Fields: {plain}."
        yield "\n".join(f"- `{field}" for field in fields if "`" in field)
    yield "\n".join(_methods(value))


def _fields(value: type) -> Iterator[str]:
    known = getattr(value, "__pydantic_fields__", None) or getattr(
        value, "__dataclass_fields__", {}
    )
    yield from (name for name in known if not name.startswith("_"))


def _told(value: type) -> dict[str, str]:
    """Return name → the docstring under it, which only the source has."""
    (tree,) = ast.parse(inspect.getsource(value)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for node, after in pairwise(tree.body):
        target = node.target if isinstance(node, ast.AnnAssign) else None
        if isinstance(node, ast.Assign):
            target = node.targets[0]
        if isinstance(target, ast.Name) and isinstance(after, ast.Expr):
            found[target.id] = _cell(str(ast.literal_eval(after.value)))
    return found


def _methods(value: type) -> Iterator[str]:
    for name, member in vars(value).items():
        function = (
            member.fget
            if isinstance(member, property)
            else inspect.unwrap(getattr(member, "__func__", member))
        )
        if name.startswith("_") or not inspect.isfunction(function) or not function.__doc__:
            continue
        if function.__module__.startswith("pydantic") or "[transformers]" in function.__doc__:
            continue
        call = name if isinstance(member, property) else f"{name}{_arguments(function)}"
        yield f"- `{call}`: {_sentence(_first(function))}"


def _arguments(function: Any) -> str:
    parameters = list(inspect.signature(function).parameters.values())
    shown = [str(p).partition(":")[0].partition("=")[0].strip() for p in parameters[1:]]
    stars = any(p.kind is p.KEYWORD_ONLY for p in parameters)
    first = next((i for i, p in enumerate(parameters[1:]) if p.kind is p.KEYWORD_ONLY), None)
    if stars and first is not None:
        shown.insert(first, "*")
    return f"({', '.join(shown)})"


def _sentence(text: str) -> str:
    """Return the first sentence of a text."""
    return re.split(r"(?<=[.?!]) |; ", text)[0].removesuffix(".") + "."


def _first(value: Any) -> str:
    return " ".join((inspect.getdoc(value) or "").partition("\n\n")[0].split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
