"""The reference pages that are made from the code are fresh, and leave nothing out."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

import tunegate
from tunegate.harness.contracts import lookup
from tunegate.harness.plugin.gate_options import OPTIONS

FOLDER = Path(__file__).parents[1] / "docs" / "reference"


def maker(name: str) -> Any:
    """Return the script that writes a page."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["make_cli", "make_python", "make_suite_file"])
def test_the_page_is_fresh(name: str) -> None:
    """Whoever changes what a page is made from runs `make docs`."""
    made = maker(name)

    assert made.PAGE.read_text(encoding="utf-8") == made.render()


def test_the_command_line_page_has_every_option_of_a_gate_run() -> None:
    text = (FOLDER / "cli.md").read_text(encoding="utf-8")

    assert [o.name for o in OPTIONS if f"\n  --{o.name}" not in text] == []


def test_the_python_page_has_every_public_name_with_a_meaning() -> None:
    """Each name of `tunegate` has its section, which says something."""
    text = (FOLDER / "python.md").read_text(encoding="utf-8")

    assert [n for n in tunegate.__all__ if f"\n## {n}\n" not in text] == []
    assert [n for n in tunegate.__all__ if f"\n## {n}\n\n##" in text] == []


def test_the_suite_page_has_every_source_and_no_key_without_a_meaning() -> None:
    """Each source of cases has its section; no key ends in a colon or an empty cell."""
    text = (FOLDER / "suite-file.md").read_text(encoding="utf-8")

    assert [
        n
        for n in lookup.available_names("tunegate.harness.suite.sources")
        if f"\n### {n}\n" not in text
    ] == []
    rows = [line for line in text.splitlines() if line.startswith(("|", "- "))]
    assert [row for row in rows if row.rstrip().endswith(("|  |", ":"))] == []
