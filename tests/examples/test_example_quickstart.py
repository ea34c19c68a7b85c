"""The quickstart without a model: each command runs as printed, and prints what stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "getting-started" / "quickstart.md"


def _blocks() -> list[tuple[str, list[str]]]:
    """Return the fenced blocks of the part without a model: their language and their lines."""
    part = PAGE.read_text(encoding="utf-8").split("\n## Without a model\n")[1].split("\n## ")[0]
    found = re.findall(r"^```(\w+)\n(.*?)^```$", part, flags=re.MULTILINE | re.DOTALL)
    return [(language, text.splitlines()) for language, text in found]


def test_the_quickstart_runs_as_it_is_printed(project: Any) -> None:
    """In a fresh folder: green, red, and the history of both."""
    codes, printed, expected = [], "", []
    for language, lines in _blocks():
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
