"""A package that brings kinds of gates, and a project in which commands run as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SUITE = """
name = "{name}"
cases = "cases.jsonl"

[[metrics]]
use = "edit_similarity"

[[gates]]
metric = "edit_similarity"
{gate}
"""


class KindProject:
    """A project with a suite and recorded answers, in which commands run as a user runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = ""
        cases = [{"id": f"c{i}", "prompt": f"p{i}", "expected": "abcdefghij"} for i in range(30)]
        self.suite("demo", "worst_case = 0.3", cases)
        self.answers("base", ["abcdefghij"] * 30)
        self.answers("tuned", ["abcdefghix"] * 30)

    def suite(self, name: str, gate: str, cases: list[dict[str, str]]) -> None:
        """Write a suite with one gate."""
        (self.folder / name).mkdir()
        text = SUITE.format(name=name, gate=gate)
        (self.folder / name / "suite.toml").write_text(text, encoding="utf-8")
        self._write(f"{name}/cases.jsonl", cases)

    def answers(self, arm: str, texts: list[str]) -> None:
        """Write what an arm answered."""
        lines = [{"id": f"c{i}", "completion": text} for i, text in enumerate(texts)]
        self._write(f"{arm}.jsonl", lines)

    def _write(self, name: str, lines: list[dict[str, str]]) -> None:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (self.folder / name).write_text(text, encoding="utf-8")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run Python in the project, with the kind installed or not."""
        return subprocess.run(
            [sys.executable, *words],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": self.path},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def tunegate(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        return self.run("-m", "tunegate.harness.cli", *words)


def installed(folder: Path, code: str, *names: str, value: str = "") -> Path:
    """Write a package that registers kinds, and return the folder for Python's path."""
    (folder / "house_gates.py").write_text(code, encoding="utf-8")
    info = folder / "house_gates-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: house-gates\nVersion: 1.0\n")
    lines = [f"{name} = {value or f'house_gates:{name}'}\n" for name in names or ("worst_case",)]
    (info / "entry_points.txt").write_text("[tunegate.gates]\n" + "".join(lines))
    return folder
