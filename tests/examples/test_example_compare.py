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


def test_the_guides_print_what_the_example_prints(
    example: Any, project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every line of the guides is printed; the commands run in the process of the test."""

    def run(folder: Path, *words: str) -> str:
        monkeypatch.chdir(folder)
        result = project.tunegate(*words)
        assert result.ret in (0, 1, 10, 11), result.stderr.str()
        return str(result.stdout)

    monkeypatch.setattr(example, "tunegate", run)
    now, past = tmp_path / "project", tmp_path / "past"
    now.mkdir()
    past.mkdir()
    example.write_project(now)
    example.gate(now)
    compared = example.compare(now).splitlines()
    example.write_history(past, now)
    history = example.tunegate(past, "history").splitlines()

    assert [line for line in _printed("compare.md", "candidates on") if line not in compared] == []
    assert [line for line in _printed("history.md", "has judged") if line not in history] == []
