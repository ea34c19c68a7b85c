"""The example of an agent: its rows, its configurations, and the verdicts that it leads to."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunegate.trainers import grpo, sft
from tunegate.trainers.arguments import parse_arguments
from tunegate.trainers.job import TrainingMethod
from tunegate.trainers.train import method_parser

EXAMPLE = Path(__file__).parents[2] / "examples" / "order_desk"


@pytest.mark.parametrize("name", ["train.jsonl", "obliging.jsonl", "tasks.jsonl"])
def test_the_script_writes_what_is_committed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = runpy.run_path(str(EXAMPLE / "make.py"))
    monkeypatch.setitem(script["write_rows"].__globals__, "HERE", tmp_path)

    script["main"]()

    assert (tmp_path / name).read_bytes() == (EXAMPLE / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "file"), [(sft.METHOD, "train.yaml"), (grpo.METHOD, "grpo.yaml")]
)
def test_each_configuration_is_read(method: TrainingMethod, file: str) -> None:
    config = parse_arguments(method_parser(method), ["--config", str(EXAMPLE / file)])

    assert [path for path in config.data.train_files if not Path(path).is_file()] == []


@pytest.mark.slow
@pytest.mark.long  # trains two models and judges them: twelve minutes of a processor
def test_a_careful_desk_ships_and_an_obliging_one_does_not(tmp_path: Path) -> None:
    """The oracle's turns end in SHIP; those of a desk that does what is wished end in BLOCK."""
    config = ["train", "sft", "--config", str(EXAMPLE / "train.yaml")]
    obliging = ["--train_files", str(EXAMPLE / "obliging.jsonl")]
    _run(tmp_path, *config, "--output_dir", "careful")
    _run(tmp_path, *config, *obliging, "--output_dir", "obliging")

    careful, other = (_gate(tmp_path, name) for name in ("careful", "obliging"))

    assert careful["verdict"] == "SHIP"
    assert other["verdict"] == "BLOCK"


def _run(folder: Path, *arguments: str, codes: tuple[int, ...] = (0,)) -> None:
    words = [sys.executable, "-m", "tunegate.harness.cli", *arguments]
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode in codes, done.stdout + done.stderr


def _gate(folder: Path, name: str) -> dict[str, Any]:
    arms = ("--base", "embedded", "--tuned", name, "--run-dir", f"runs/{name}")
    _run(folder, "gate", "order_desk", *arms, codes=(0, 1))
    path = folder / "runs" / name / "verdict.json"
    verdict: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return verdict
