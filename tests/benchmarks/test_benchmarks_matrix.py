"""The compatibility matrix: its rows, what it hands to the doctor, and that its tests exist."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from benchmarks import matrix

ROOT = Path(__file__).parents[2]
PASSED = matrix.StackResult(
    "3.11.2",
    {"torch": "2.13.0+cpu", "transformers": "5.16.1", "pydantic": "2.12.5", "numpy": "2.4.6"},
    "30 passed, 1 skipped",
    "passed",
)
FAILED = matrix.StackResult("3.12", {}, "–", "cannot be installed: torch")


def test_every_test_of_a_stack_exists() -> None:
    """A file that was renamed would leave a stack without it."""
    for stack in matrix.STACKS:
        for test in stack.tests:
            path, _, name = test.partition("::")
            text = (ROOT / path).read_text(encoding="utf-8")
            assert f"def {name.partition('[')[0]}(" in text if name else text


def test_every_extra_is_one_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert {e for s in matrix.STACKS for e in s.extras} <= set(project["optional-dependencies"])


def test_the_page_keeps_the_rows_of_other_stacks() -> None:
    """One stack's run replaces one row; the order is that of the stacks."""
    empty = f"before\n{matrix.BEGIN}{matrix.END}after\n"

    first = matrix.page(empty, {"newest": PASSED}, "2026-11-01")
    both = matrix.page(first, {"oldest": FAILED}, "2026-11-02")

    lines = both.splitlines()
    rows = [line for line in lines if line.startswith(("| oldest", "| newest"))]
    assert [row.split(" | ")[0] for row in rows] == ["| oldest", "| newest"]
    assert rows[0].endswith("| cannot be installed: torch |")
    cells = rows[1].split(" | ")
    assert cells[2] == "2026-11-01"
    assert cells[4:7] == ["3.11.2", "2.13.0", "5.16.1"]
    assert cells[-2:] == ["30 passed, 1 skipped", "passed |"]
    assert (lines[0], lines[-1]) == ("before", "after")


def test_only_what_passed_reaches_the_doctor() -> None:
    """A stack that fails is taken out; another stays as it was."""
    before: dict[str, object] = {
        "newest": {"date": "2026-11-01", "python": "3.11.2", "torch": "2.14.0"},
        "ppo": {"date": "2026-11-01", "python": "3.11.2", "torch": "2.13.0"},
    }

    text = matrix.tested(before, {"newest": FAILED, "axolotl-like": PASSED}, "2026-11-28")

    found = tomllib.loads(text)
    assert list(found) == ["axolotl-like", "ppo"]
    assert found["ppo"] == before["ppo"]
    assert found["axolotl-like"] == {
        "date": "2026-11-28",
        "python": "3.11.2",
        "torch": "2.13.0+cpu",
        "transformers": "5.16.1",
        "pydantic": "2.12.5",
    }


def test_a_name_with_a_dot_is_one_key() -> None:
    """`python-3.14` is a stack, not a table within `python-3`."""
    found = tomllib.loads(matrix.tested({}, {"python-3.14": PASSED}, "2026-11-28"))

    assert found["python-3.14"]["python"] == PASSED.python


def test_a_page_without_its_marks_is_an_error() -> None:
    """Nothing is written where the table would be lost."""
    with pytest.raises(ValueError, match="marks"):
        matrix.page("text", {}, "2026-11-28")


def test_what_cannot_be_resolved_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stack's pins are resolved with tunegate's; where they exclude each other, pip says it."""

    def uv(*words: str) -> str:
        if words[:2] == ("pip", "compile"):
            raise subprocess.CalledProcessError(1, "uv", stderr="no\n  solution found")
        return ""

    monkeypatch.setattr(matrix, "ROOT", tmp_path)
    monkeypatch.setattr(matrix, "_uv", uv)
    (tmp_path / ".venv-vllm-like").mkdir()
    stack = next(s for s in matrix.STACKS if s.name == "vllm-like")
    given: Any = type("Given", (), {"constraint": [], "resolve_only": False})

    result = matrix.run(stack, "3.12", given)

    assert result.outcome == "cannot be installed: no solution found"
