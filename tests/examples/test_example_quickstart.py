"""The quickstart: each command runs as printed, in a fresh folder, and ends as the page says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "getting-started" / "quickstart.md"


def _blocks(title: str) -> list[tuple[str, list[str]]]:
    """Return the fenced blocks of one part of the page: their language and their lines."""
    part = PAGE.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    found = re.findall(r"^```(\w+)\n(.*?)^```$", part, flags=re.MULTILINE | re.DOTALL)
    return [(language, text.splitlines()) for language, text in found]


def test_the_quickstart_without_a_model_prints_what_stands_there(project: Any) -> None:
    """In a fresh folder: green, red, and the history of both."""
    codes, printed, expected = [], "", []
    for language, lines in _blocks("Without a model"):
        if language == "text":
            expected += lines
            assert [line for line in lines if line not in printed.splitlines()] == []
            continue
        for line in lines:
            name, *words = shlex.split(line)
            assert name == "tunegate"
            done = project.tunegate(*words)
            codes.append(done.ret)
            printed = done.stdout.str()

    assert codes == [0, 0, 1, 0]
    assert len(expected) == 4
    for run in ("first", "second"):
        assert Path(f".tunegate/runs/{run}/report.html").is_file()


@pytest.mark.slow
def test_the_quickstart_with_a_model_is_red_and_then_green(tmp_path: Path) -> None:
    """BLOCK after two steps of training, SHIP after eighty, each with its page."""
    blocks = _blocks("With a model")
    commands = [line for language, lines in blocks if language == "sh" for line in lines]
    tunegate = str(Path(sys.executable).with_name("tunegate"))
    codes, printed = [], ""
    for line in commands:
        name, *words = shlex.split(line)
        assert name == "tunegate"
        done = subprocess.run(
            [tunegate, *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        codes.append(done.returncode)
        printed += done.stdout

    assert codes == [0, 0, 1, 0, 0], printed
    red, green = re.findall(r"^(?:BLOCK|SHIP): .*$", printed, flags=re.MULTILINE)
    assert red.startswith("BLOCK: support_json: json_schema of tuned is 0.")
    assert green.startswith("SHIP: support_json: json_schema went from 0 to 0.9")
    pages = set(re.findall(r"^report: (.+)$", printed, flags=re.MULTILINE))
    assert len(pages) == 2
    assert [page for page in pages if not (tmp_path / page).is_file()] == []
