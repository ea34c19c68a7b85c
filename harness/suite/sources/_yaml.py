"""Reading YAML and JSON files of other tools, with the line of every value.

Scalars follow YAML 1.2, as in the tools that write such files: `no` is a text, not False, and
`12:30` is a text, not a number of seconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import MissingExtra, SuiteError, error_reason
from tunegate.harness.records.yaml_nodes import repeated_keys, walk_nodes
from tunegate.harness.suite.sources import _text

_SCALARS = {
    "tag:yaml.org,2002:null": r"^(?:~|null|Null|NULL|)$",
    "tag:yaml.org,2002:bool": r"^(?:true|True|TRUE|false|False|FALSE)$",
    "tag:yaml.org,2002:int": r"^[-+]?(?:0|[1-9][0-9]*)$",
    "tag:yaml.org,2002:float": r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$",
    "tag:yaml.org,2002:merge": r"^<<$",
}
"""Tag → form of its plain scalars (YAML 1.2.2, section 10.3, without base 8 and 16)."""


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """Contents of a file, with the line of each value."""

    path: Path
    data: Any
    node: Any = field(default=None, repr=False)
    """The root of its YAML nodes; None for JSON."""

    def where(self, *keys: str | int) -> str:
        """Return `file:line` of a value, or of the nearest value around it."""
        if self.node is None:
            steps = ".".join(str(k + 1) if isinstance(k, int) else k for k in keys)
            return f"{self.path}: {steps}" if steps else str(self.path)
        node = self.node
        for key in keys:
            inner = _child(node, key)
            if inner is None:
                break
            node = inner
        return f"{self.path}:{node.start_mark.line + 1}"


def read_yaml(path: Path, *, form: str) -> YamlDocument:
    """Return the document of a `.json` file or of a YAML file.

    Raises:
        SuiteError: the file cannot be read or parsed.
        MissingExtra: PyYAML is not installed.
    """
    text = _text.read_text(path, form=form)
    if path.suffix == ".json":
        try:
            return YamlDocument(path, _text.json_value(text))
        except ValueError as error:
            raise SuiteError([f"{path}: {error}"]) from error
    try:
        import yaml  # type: ignore[import-untyped]  # ships no types
    except ImportError as error:
        raise MissingExtra("a YAML file", "sources") from error
    try:
        loader = _loader(yaml)(text)
        node = loader.get_single_node()
        if node is None:
            raise SuiteError([f"{path}: the file is empty; {form}"])
        if problems := [f"{path}:{p}" for inner in walk_nodes(node) for p in repeated_keys(inner)]:
            raise SuiteError(problems)
        return YamlDocument(path, loader.construct_document(node), node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}" if mark else ""
        raise SuiteError([f"{path}{place}: broken YAML ({error.problem})"]) from error
    except (yaml.YAMLError, ValueError) as error:
        raise SuiteError([f"{path}: broken YAML ({error_reason(error)})"]) from error
    except RecursionError as error:
        raise SuiteError([f"{path}: nested too deeply"]) from error


def _loader(yaml: Any) -> Any:
    """Return a safe loader with the scalars of YAML 1.2."""

    class StringLoader(yaml.SafeLoader):  # type: ignore[misc]  # untyped library
        yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - the library's own name

    for tag, pattern in _SCALARS.items():
        StringLoader.add_implicit_resolver(tag, re.compile(pattern), None)
    return StringLoader


def _child(node: Any, key: str | int) -> Any:
    if isinstance(key, int):
        inner = node.value if node.id == "sequence" else ()
        return inner[key] if key < len(inner) else None
    pairs = node.value if node.id == "mapping" else ()
    return next((value for name, value in pairs if name.value == key), None)
