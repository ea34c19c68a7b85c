"""`tunegate train … --gate_callback SUITE`: the wrapper's trainings are looked at as any other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainers.training_scripts import write_suite
from tunegate.trainers.sft import METHOD
from tunegate.trainers.train import run_method


@pytest.fixture(name="argv")
def _argv(
    tiny_base: Path,
    write_rows: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> list[str]:
    """Two steps of SFT with a checkpoint after each."""
    monkeypatch.chdir(tmp_path)
    argv = ["--model_name_or_path", str(tiny_base), "--train_files", str(write_rows())]
    argv += ["--use_peft", "--lora_target_modules", "all-linear", "--learning_rate", "1e-2"]
    argv += ["--max_steps", "2", "--save_strategy", "steps", "--save_steps", "1"]
    return [*argv, "--per_device_train_batch_size", "2", "--output_dir", str(tmp_path / "out")]


def test_checkpoints_are_looked_at(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = write_suite(tmp_path)

    assert 0 == run_method(
        METHOD, [*argv, "--gate_callback", str(suite), "--gate_stop_on", "regression"]
    )

    record = json.loads((tmp_path / "out/gate_checkpoints.json").read_text())
    assert [1, 2] == [look["step"] for look in record["looks"]]
    assert [None, None] == [look["problem"] for look in record["looks"]]
    assert "base is the model without its adapter" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--gate_callback", "nowhere"], "--gate_callback nowhere: no such suite"),
        (["--gate_stop_on", "regression"], "with --gate_callback SUITE"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(
    argv: list[str], tmp_path: Path, more: list[str], text: str
) -> None:
    """One line, exit code 2, no output folder."""
    lines: list[str] = []

    assert 2 == run_method(METHOD, [*argv, *more], say=lines.append)

    assert text in lines[-1]
    assert not (tmp_path / "out").exists()
