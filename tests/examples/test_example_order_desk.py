"""The example of an agent: its rows are what its script writes, and its configurations are read."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from tunegate.trainers import grpo, sft
from tunegate.trainers.arguments import parse_arguments
from tunegate.trainers.job import TrainingMethod
from tunegate.trainers.train import parser_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "order_desk"


@pytest.mark.parametrize("name", ["train.jsonl", "obliging.jsonl", "tasks.jsonl"])
def test_the_script_writes_what_is_committed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows and tasks are the script's, byte for byte."""
    script = runpy.run_path(str(EXAMPLE / "make.py"))
    monkeypatch.setitem(script["write_rows"].__globals__, "HERE", tmp_path)

    script["main"]()

    assert (tmp_path / name).read_bytes() == (EXAMPLE / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "file"), [(sft.METHOD, "train.yaml"), (grpo.METHOD, "grpo.yaml")]
)
def test_each_configuration_is_read(method: TrainingMethod, file: str) -> None:
    """Every option is one that the method has, and the files are there."""
    config = parse_arguments(parser_of(method), ["--config", str(EXAMPLE / file)])

    assert [path for path in config.data.train_files if not Path(path).is_file()] == []
