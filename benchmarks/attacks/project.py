"""The project that is attacked: 60 questions; base has 58 right and tuned 12."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

N = 60
RIGHT = {"base": 58, "tuned": 12}
"""Arm → questions that it has right, the first ones."""
SUITE = """name = "orders"
cases = "cases.jsonl"

[[metrics]]
use = "exact_match"

[[gates]]
metric = "exact_match"
floor = 0.5
tolerance = 0.1
"""
OWN = """name = "orders"
cases = "cases.jsonl"

[[metrics]]
use = "own_score:score"
name = "exact_match"

[[gates]]
metric = "exact_match"
tolerance = 0.1
"""
"""The same with a metric of the user's own."""


@dataclass
class AttackedProject:
    """A folder with a suite and recorded answers of both arms, and what the attack asks for."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    """Further words of the gate's command line."""
    specs: dict[str, str] = field(default_factory=dict)
    """Arm → what it is, where it is not its recorded answers."""
    then: Callable[[AttackedProject], None] | None = None
    """What is changed once the gate has run, before `commands`."""
    commands: Sequence[Sequence[str]] = ()
    """Commands that may believe the run; none of them may end with 0."""

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    def write(self, name: str, text: str) -> Path:
        """Write a file of the project."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def write_lines(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write JSON lines."""
        return self.write(name, "".join(json.dumps(row) + "\n" for row in rows))

    def begin(self) -> None:
        """Write the suite, its cases and both arms' answers."""
        self.write("suites/orders/suite.toml", SUITE)
        self.cases([question(i) for i in range(N)])
        for arm in RIGHT:
            self.answers(arm, [answer(arm, i) for i in range(N)])

    def cases(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the suite's cases."""
        self.write_lines("suites/orders/cases.jsonl", rows)

    def answers(self, arm: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the recorded answers of an arm."""
        self.write_lines(f"{arm}.jsonl", rows)

    def own_metric(self, code: str, toml: str = OWN) -> None:
        """Score by a function `score` of the project."""
        self.write("own_score.py", code)
        self.write("suites/orders/suite.toml", toml)

    def gate(self) -> subprocess.CompletedProcess[str]:
        """Run `tunegate gate` as it would be run in CI."""
        arms = [f"--{arm}={self.specs.get(arm, f'replay:{arm}.jsonl')}" for arm in RIGHT]
        words, dashes, rest = self.words, [], []
        if "--" in words:
            at = words.index("--")
            words, dashes, rest = words[:at], ["--"], words[at + 1 :]
        folder = [] if any(word.startswith("--run-dir") for word in words) else ["--run-dir=run"]
        return self.tunegate("gate", "suites", *arms, *folder, *words, *dashes, *rest)

    def tunegate(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project's folder."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "OTEL_"))}
        return subprocess.run(
            [sys.executable, "-m", "tunegate.harness.cli", *words],
            cwd=self.folder, env={**inherited, **self.environment}, capture_output=True, text=True,
            check=False, timeout=180,
        )  # fmt: skip


def question(number: int) -> dict[str, Any]:
    """Return a case."""
    asked = f"Which shelf holds article {1000 + 7 * number}?"
    return {"id": f"q{number:02}", "prompt": asked, "expected": f"shelf {number}"}


def answer(arm: str, number: int, *, right: bool | None = None) -> dict[str, Any]:
    """Return a line of recorded answers."""
    correct = number < RIGHT[arm] if right is None else right
    return {"id": f"q{number:02}", "completion": f"shelf {number}" if correct else "no idea"}


def edit_json(path: Path, change: Callable[[Any], Any]) -> None:
    """Change a JSON file by hand."""
    record = json.loads(path.read_text(encoding="utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")


def edit_lines(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the lines of a file by hand; those for which `change` returns False are left out."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    kept = [row for row in rows if change(row) is not False]
    path.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
