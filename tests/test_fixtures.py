"""Fixtures that more than three files use are listed in tests/README.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from conftest import pytest_plugins

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
SHARED = (ROOT / "conftest.py", *(ROOT / f"{n.replace('.', '/')}.py" for n in pytest_plugins[1:]))
MOST_UNLISTED = 3


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    """Yield the functions of a file, those inside others left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from (node for node in tree.body if isinstance(node, ast.FunctionDef))


def fixtures(path: Path) -> dict[str, str]:
    """Return the fixtures that a file defines: name → first line of the docstring."""
    names = {}
    for function in functions(path):
        for mark in function.decorator_list:
            if ast.unparse(mark).startswith("pytest.fixture"):
                options = {k.arg: k.value for k in getattr(mark, "keywords", ())}
                name = ast.literal_eval(options["name"]) if "name" in options else function.name
                names[name] = (ast.get_docstring(function) or "").partition("\n")[0]
    return names


def test_the_list_of_shared_fixtures_is_complete_and_fresh() -> None:
    places = {path: fixtures(path) for path in (*SHARED, *TESTS.rglob("conftest.py"))}
    users: dict[tuple[Path, str], int] = {}
    for path in TESTS.rglob("test_*.py"):
        rooms = [folder / "conftest.py" for folder in path.parents]
        visible = [place for place in (*rooms, *SHARED) if place in places]
        arguments = {a.arg for f in functions(path) for a in (*f.args.args, *f.args.kwonlyargs)}
        for name in arguments - fixtures(path).keys():
            place = next((place for place in visible if name in places[place]), None)
            if place is not None:
                users[place, name] = users.get((place, name), 0) + 1

    rows = sorted(
        f"| `{name}` | `{place.relative_to(ROOT).as_posix()}` | {places[place][name]} |"
        for (place, name), count in users.items()
        if count > MOST_UNLISTED
    )
    text = (TESTS / "README.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("| `")] == rows
