"""Who may import whom, and how large things may grow: read from the source, nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("harness", "suites", "trainers", "reports")
LONGEST_MODULE = 300
LONGEST_FUNCTION = 50

HEAVY = {
    "jinja2", "litellm", "opentelemetry", "peft", "ray", "torch", "transformers", "trl",
}  # fmt: skip
"""Imported inside functions only: plain pytest must not load them because we are installed."""

ROOMS: dict[str, set[str]] = {
    "contracts": set(),
    "stats": set(),
    "metrics": set(),
    "judges": set(),
    "sources": {"tracing"},
    "checks": set(),
    "remote": set(),
    "guarding": {"remote", "tracing"},
    "verdict": {"stats"},
    "models": {"checks", "remote"},
    "engine": {"models"},
    "tracing": {"remote", "stats", "verdict"},
    "judging": {"engine", "models", "remote"},
    "calibrating": {"engine", "judging", "stats", "verdict"},
    "plugin": {
        "calibrating",
        "checks",
        "engine",
        "judging",
        "models",
        "remote",
        "tracing",
        "verdict",
    },
    "cli": {
        "calibrating",
        "checks",
        "engine",
        "judging",
        "models",
        "plugin",
        "remote",
        "sources",
        "tracing",
        "verdict",
    },
}
"""Room of harness → rooms it may import, beside the contracts at the top and itself."""

EXCEPTIONS = {
    ("harness.run", "harness.verdict.record"),  # a run is read with its verdict
    # `from harness import GateCallback` and the like: the public names, under TYPE_CHECKING
    ("harness", "harness.verdict.compare"),
    ("harness", "harness.verdict.record"),
    ("harness", "trainers.callback"),
}
COMPOSITION = ("harness.plugin.session", "harness.plugin.evaluate", "harness.cli")
"""Places that may import reports and trainers, lazily."""


@dataclass(frozen=True)
class Import:
    """One imported module and the place of the import."""

    importer: str
    imported: str
    line: int
    lazy: bool
    """Inside a function, or for type checkers only."""

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def name_of(path: Path) -> str:
    """Return the dotted name of a module."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> list[Path]:
    """Return the source files of the four packages."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path) -> Iterator[Import]:
    """Yield what a module imports; `from a import b` is `a.b` where that is a module of ours."""
    lazy = {
        inner
        for outer in ast.walk(parsed(path))
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.dump(outer.test))
        for inner in ast.walk(outer)
    }
    for node in ast.walk(parsed(path)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            names = [_submodule(node.module or "", alias.name) for alias in node.names]
        for name in names:
            yield Import(name_of(path), name, node.lineno, node in lazy)


def _submodule(package: str, name: str) -> str:
    place = ROOT.joinpath(*package.split("."))
    is_module = (place / f"{name}.py").is_file() or (place / name / "__init__.py").is_file()
    return f"{package}.{name}" if is_module else package


def room_of(module: str) -> str:
    """Return the room of a module of harness; the files at the top are the contracts."""
    parts = module.split(".")
    is_room = len(parts) > 1 and (ROOT / "harness" / parts[1]).is_dir()
    return parts[1] if is_room else "contracts"


def within(module: str, *places: str) -> bool:
    """Return whether the module is one of the places or lies below one."""
    return any(module == place or module.startswith(f"{place}.") for place in places)


ALL = [found for path in modules() for found in imports(path)]


def test_packages_depend_on_harness_and_not_the_other_way_round() -> None:
    """reports → harness ← trainers; suites is data; the composition roots alone look back."""
    wrong = [
        str(found)
        for found in ALL
        for ours, theirs in [(found.importer.split(".")[0], found.imported.split(".")[0])]
        if theirs in PACKAGES
        and ours != theirs
        and not (ours in ("reports", "trainers") and theirs == "harness")
        and not (
            ours == "harness"
            and theirs in ("reports", "trainers")
            and found.lazy
            and (
                within(found.importer, *COMPOSITION)
                or (found.importer, found.imported) in EXCEPTIONS
            )
        )
    ]

    assert wrong == []


def test_rooms_depend_downwards() -> None:
    """A room imports the contracts, itself and the rooms below it, lazily or not."""
    wrong = [
        str(found)
        for found in ALL
        if within(found.importer, "harness") and within(found.imported, "harness")
        for ours, theirs in [(room_of(found.importer), room_of(found.imported))]
        if theirs not in ("contracts", ours)
        and theirs not in ROOMS[ours]
        and (found.importer, found.imported) not in EXCEPTIONS
    ]

    assert wrong == []


def test_every_room_has_its_place() -> None:
    """A new folder of harness is entered in the table above."""
    folders = {
        path.name for path in (ROOT / "harness").iterdir() if (path / "__init__.py").is_file()
    }

    assert folders == set(ROOMS) - {"contracts"}


def test_implementations_know_nothing_of_each_other() -> None:
    """A metric or source imports no other one; what they share starts with an underscore."""
    wrong = [
        str(found)
        for found in ALL
        for room in ("harness.judges", "harness.metrics", "harness.sources")
        if within(found.importer, room) and within(found.imported, room)
        if not found.imported.rpartition(".")[2].startswith("_")
        and found.imported not in (room, found.importer)
    ]

    assert wrong == []


def test_heavy_libraries_are_imported_where_they_are_used() -> None:
    """At the top of no module of ours."""
    wrong = [str(i) for i in ALL if i.imported.split(".")[0] in HEAVY and not i.lazy]

    assert wrong == []


def test_the_cli_is_known_to_nobody() -> None:
    """Nothing imports the plugin or the command line but the command line itself."""
    wrong = [
        str(found)
        for found in ALL
        if within(found.imported, "harness.cli", "harness.plugin")
        and not within(found.importer, "harness.cli", "harness.plugin")
    ]

    assert wrong == []


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_sizes_and_sentences(path: Path) -> None:
    """No module above 300 lines, no function above 50; module and public names have docstrings."""
    tree = parsed(path)
    lines = path.read_text(encoding="utf-8").count("\n")
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [f"{n.name} is {s} lines" for n in functions if (s := _length(n)) > LONGEST_FUNCTION]
    public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    bare = [n.name for n in public if not n.name.startswith("_") and not ast.get_docstring(n)]
    private = path.name.startswith("_") and path.name != "__init__.py"

    assert lines <= LONGEST_MODULE
    assert long == []
    assert ast.get_docstring(tree)
    assert private or bare == []


def _length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring."""
    whole = (node.end_lineno or node.lineno) - node.lineno + 1
    first = node.body[0]
    has = ast.get_docstring(node, clean=False) is not None
    return whole - ((first.end_lineno or first.lineno) - first.lineno + 1 if has else 0)


def test_every_test_is_a_sentence() -> None:
    """Each test has a docstring; no folder of tests is a package; file names are unique."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    bare = [
        f"{path.relative_to(ROOT)}::{node.name}"
        for path in files
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    names = [path.name for path in files if path.name != "conftest.py"]

    assert bare == []
    assert "__init__.py" not in names
    assert sorted({name for name in names if names.count(name) > 1}) == []
