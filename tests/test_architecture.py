"""What import-linter and ruff cannot hold: rooms whose instances are found by their name."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tunegate.harness.contracts import lookup

ROOT = Path(__file__).parents[1]
ROOMS = (
    "harness/gates",
    "harness/judges",
    "harness/judges/backends",
    "harness/metrics",
    "harness/results",
    "harness/run/further_arms",
    "harness/suite/sources",
)
"""Folders with one instance a file."""
FOUND_BY_NAME = (
    *ROOMS,
    "harness/cli",
    "harness/models",
    "harness/models/servers/dialects",
    "harness/production/guardrail/classifiers",
    "harness/run/trackers",
    "harness/telemetry/read/conventions",
    "harness/telemetry/read/stores",
)
"""Folders whose file is found by what a user or a format calls it: an arm, a command, a tracker."""


def modules() -> list[Path]:
    """Return our source files."""
    tops = ("harness", "reports", "trainers")
    return sorted(path for top in tops for path in (ROOT / top).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, lazily or not."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", ROOMS)
def test_instances_know_nothing_of_each_other(room: str) -> None:
    package = "tunegate." + room.replace("/", ".")
    names = lookup.module_names(package)
    wrong = [
        f"{path.name} imports {imported}"
        for path in sorted((ROOT / room).glob("[!_]*.py"))
        for imported in imports(path)
        for name in names
        if name != path.stem and f"{imported}.".startswith(f"{package}.{name}.")
    ]

    assert names
    assert wrong == []


def test_what_is_special_about_a_kind_of_gate_is_in_its_file() -> None:
    """Outside of harness/gates no file imports a kind, and none compares `.kind` with a name."""
    kinds = set(lookup.module_names("tunegate.harness.gates"))
    others = [path for path in modules() if path.parent != ROOT / "harness" / "gates"]
    wrong = [
        f"{path.relative_to(ROOT)} imports {imported}"
        for path in others
        for imported in imports(path)
        if any(f"{imported}.".startswith(f"tunegate.harness.gates.{kind}.") for kind in kinds)
    ]
    wrong += [
        f"{path.relative_to(ROOT)}:{node.lineno} compares a kind with its name"
        for path in others
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Compare)
        if any(isinstance(n, ast.Attribute) and n.attr == "kind" for n in ast.walk(node))
        and any(isinstance(n, ast.Constant) and n.value in kinds for n in ast.walk(node))
    ]
    wrong += [
        f"{path.relative_to(ROOT)} compares a kind with its name"
        for path in sorted((ROOT / "reports" / "templates").rglob("*.html"))
        if re.search(r"\.kind *(==|!=|in) *[\"'(\[]", path.read_text(encoding="utf-8"))
    ]

    assert {"floor", "gain"} < kinds
    assert wrong == []


def test_no_file_imports_itself_through_others() -> None:
    """Lazy imports and those for types count."""
    files = {
        ".".join(("tunegate", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): path
        for path in modules()
    }
    graph = {
        name: {
            target
            for imported in imports(path)
            if (target := imported if imported in files else imported.rpartition(".")[0]) in files
            and target != name
        }
        for name, path in files.items()
    }

    assert "tunegate.harness.records.errors" in graph["tunegate.harness.contracts.model"]
    TopologicalSorter(graph).prepare()  # raises CycleError with the files of a circle


def test_there_is_one_import_name() -> None:
    """Every import of ours begins with `tunegate`: the four folders are no top-level packages."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {imported}"
        for path in modules()
        for imported in imports(path)
        if imported.split(".")[0] in ("harness", "reports", "suites", "trainers")
    ]

    assert wrong == []


def test_harness_has_rooms_and_no_loose_module() -> None:
    loose = [path.name for path in (ROOT / "harness").glob("*.py")]

    assert loose == ["__init__.py"]


def test_a_basename_stands_for_one_thing() -> None:
    """Files that are found by their name may share it; of all other modules each has its own."""
    named = {ROOT / folder for folder in FOUND_BY_NAME}
    paths = defaultdict(list)
    for path in (ROOT / "harness").rglob("*.py"):
        if path.stem != "__init__" and path.parent not in named:
            paths[path.stem].append(str(path.relative_to(ROOT)))

    assert len(paths) > 300
    assert [twins for twins in paths.values() if len(twins) > 1] == []
