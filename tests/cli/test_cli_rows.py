"""`tunegate rows`: one table, one picture, five rows, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.trainers.conftest import _tiny_base
from tests.trainers.row_checks.planted_rows import GOOD, chat
from tunegate.harness.cli import app
from tunegate.harness.cli.rows import _shorten
from tunegate.harness.records.errors import ModelError, UsageError

__all__ = ["_tiny_base"]


def rows(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["rows", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(name="file")
def _file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write thirteen rows, one twice, into the folder of the test."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*GOOD, GOOD[3]]))
    return path


def test_a_look_prints_findings_lengths_and_five_rows(tiny_base: Path, file: Path) -> None:
    result = rows(file, "--model", tiny_base)

    text = result.stdout
    assert 0 == result.exit_code
    assert "│    1 │ repeats an earlier row │ rows.jsonl:13 (as 4) │" in text
    assert "13 rows, " in text
    assert "tokens a row" in text
    assert [f"rows.jsonl:{i}" for i in (1, 4, 7, 10, 13)] == [
        line.partition(": ")[0] for line in text.splitlines() if line.startswith("rows.jsonl")
    ]
    assert "<|im_start|>assistant↵⟦yes<|im_end|>↵⟧" in text
    assert "1 finding" == text.splitlines()[-1]


def test_good_rows_say_so(tiny_base: Path, file: Path) -> None:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in GOOD))

    assert "nothing found" == rows(file, "--model", tiny_base).stdout.splitlines()[-1]


def test_nothing_to_learn_exits_with_1(tiny_base: Path, file: Path, tmp_path: Path) -> None:
    config = tmp_path / "sft.yaml"
    config.write_text(f"max_length: 8\nmodel_name_or_path: {tiny_base}\ntrain_files: [rows.jsonl]")

    result = rows("--config", config)

    assert 1 == result.exit_code
    assert result.stdout.splitlines()[-1].startswith("nothing would be learned")


def test_a_configuration_for_a_gpu_is_read_here(tiny_base: Path, file: Path) -> None:
    config = {
        "bf16": True,
        "tf32": True,
        "report_to": "none",
        "packing": True,
        "max_length": 128,
        "eval_strategy": "steps",
        "gradient_checkpointing": True,
        "load_best_model_at_end": False,
    }
    path = file.with_name("sft.yaml")
    path.write_text(json.dumps(config))

    assert 0 == rows(file, "--model", tiny_base, "--config", path).exit_code


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "FILES: missing"),
        (["rows.jsonl"], "--model: missing"),
        (["rows.jsonl", "--model", "/nowhere"], "neither a folder"),
        (["none.jsonl", "--model", "embedded"], "no such file"),
        (["rows.jsonl", "--model", "embedded", "--suite", "none"], "none"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], problem: str, file: Path) -> None:
    with pytest.raises(UsageError, match=problem):
        rows(*arguments)


def test_an_adapter_is_no_model(file: Path, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")

    with pytest.raises(ModelError, match="is an adapter; give the base"):
        rows(file, "--model", tmp_path)


def test_a_terminal_obeys_nothing_in_a_row(tiny_base: Path, file: Path) -> None:
    file.write_text("".join(f"{json.dumps(row)}\n" for row in [chat("a\u001b[2Jb", "c")] * 2))

    text = rows(file, "--model", tiny_base).stdout

    assert "\u001b" not in text
    assert "\\u001b[2J" in text


def test_long_stretches_lose_their_middle() -> None:
    assert f"{'a' * 120} … {'b' * 120}" == _shorten("a" * 300 + "b" * 300)
    assert "a↵b" == _shorten("a\nb")


def test_color_is_for_terminals_without_no_color(
    tiny_base: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    colored: Any = rows(file, "--model", tiny_base).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    plain: Any = rows(file, "--model", tiny_base).stdout

    assert "\u001b[32myes<|im_end|>" in colored
    assert "\u001b[3" not in plain
    assert "⟦yes<|im_end|>↵⟧" in plain
