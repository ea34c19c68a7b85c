"""The guides on comparing and on history print what their example prints."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(name="example", scope="module")
def _example() -> Any:
    """Return the script that makes the guides' runs and pictures."""
    path = DOCS / "images" / "make_comparisons.py"
    spec = importlib.util.spec_from_file_location("make_comparisons", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _printed(page: str, first: str) -> list[str]:
    """Return the lines of the block that begins with `first`; `…` stands for lines left out."""
    text = (DOCS / "guides" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    lines = next(block for block in blocks if first in block).splitlines()
    return [line for line in lines if line != "…" and not line.startswith("$ ")]


def test_the_guides_print_what_the_example_prints(example: Any, tmp_path: Path) -> None:
    """Every line, as it stands there."""
    project, past = tmp_path / "project", tmp_path / "past"
    project.mkdir()
    past.mkdir()
    example.write_project(project)
    example.gate(project)
    compared = example.compare(project).splitlines()
    example.write_history(past, project)
    history = example.tunegate(past, "history").splitlines()

    assert [line for line in _printed("compare.md", "candidates on") if line not in compared] == []
    assert [line for line in _printed("history.md", "has judged") if line not in history] == []
