"""The example of two lm-eval runs gives what its README says, in both directions."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "results"


def scores(arm: str) -> dict[str, float]:
    (file,) = (EXAMPLE / arm).glob("samples_*.jsonl")
    lines = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    return {line["doc_id"]: line["exact_match"] for line in lines}


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    shutil.copytree(EXAMPLE, tmp_path / "results")
    return tmp_path / "results"


def run(folder: Path, command: str) -> tuple[int, str]:
    """Run a command of the README; return its exit code and what it printed."""
    words = [sys.executable, "-m", "tunegate.harness.cli", *command.split()[1:]]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_commands_of_the_readme_give_its_verdict(folder: Path) -> None:
    page = (folder / "README.md").read_text(encoding="utf-8")
    look, gate = re.search(r"```\n(tunegate results.*)\n(tunegate gate.*)\n```", page).groups()  # type: ignore[union-attr]
    base, tuned = scores("base"), scores("tuned")
    better = sum(tuned[doc] > base[doc] for doc in base)
    worse = sum(tuned[doc] < base[doc] for doc in base)
    assert f"{better} answers became right and {worse} wrong" in page

    code, said = run(folder, look)
    assert code == 0
    assert f"160 pairs, {better} better, {worse} worse" in said

    code, said = run(folder, gate)
    assert code == 0
    shown = " ".join(re.search(r"```\n(SHIP.*?)\n```", page, re.DOTALL)[1].split())  # type: ignore[index]
    assert shown in " ".join(said.split())
    assert "62.9 → 75.5 %" in shown  # 151 different questions; copies count once


def test_the_other_way_round_blocks(folder: Path) -> None:
    page = (folder / "README.md").read_text(encoding="utf-8")
    options = re.search(r"`(--base results:tuned --tuned results:base)`", page)[1]  # type: ignore[index]
    code, said = run(folder, f"tunegate gate suites/stories {options}")
    assert code == 1
    assert "BLOCK: " in said
