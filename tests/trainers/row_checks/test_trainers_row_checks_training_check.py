"""`train sft` refuses rows of which nothing is learned, and warns of answers without an end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.trainers.conftest import TEMPLATE, write_chats
from tests.trainers.row_checks.planted_rows import SHOWN, called, copy_base, needs_json
from tunegate.trainers.sft import METHOD
from tunegate.trainers.train import run_method


def train(
    base: Path, weights: Path, tmp_path: Path, *more: str, rows: list[Any] | None = None
) -> tuple[int, list[str]]:
    """Train a step, on twelve good chats without other rows; return exit code and lines."""
    (base / "model.safetensors").write_bytes((weights / "model.safetensors").read_bytes())
    lines: list[str] = []
    argv = ["--model_name_or_path", str(base), "--output_dir", str(tmp_path / "out")]
    argv += ["--train_files", str(write_chats(tmp_path / "train.jsonl", rows)), "--peft", "lora"]
    argv += ["--max_steps", "1", "--save_strategy", "no", "--learning_rate", "1e-2", *more]
    return run_method(METHOD, argv, say=lines.append), lines


def masked(text: str) -> str:
    return text.replace("in messages %}", "in messages if message['role'] != 'assistant' %}", 1)


@pytest.mark.parametrize("more", [[], ["--max_length", "4096"]])
def test_masked_labels_are_refused(more: Any, tiny_base: Path, tmp_path: Path) -> None:
    base = copy_base(tiny_base, tmp_path / "base", chat_template=masked(TEMPLATE))

    code, lines = train(base, tiny_base, tmp_path, *more)

    assert 2 == code
    assert lines[-1].startswith("error: ")
    assert "tunegate rows" in lines[-1]
    assert not list(tmp_path.glob("out/*.safetensors"))


def test_a_template_without_marks_is_refused_in_one_line(tiny_base: Path, tmp_path: Path) -> None:
    base = copy_base(tiny_base, tmp_path / "base")

    code, lines = train(base, tiny_base, tmp_path, "--assistant_only_loss", "true")

    assert (2, True) == (code, "marks no answers with {% generation %}" in lines[-1])


def test_a_template_that_refuses_a_row_is_one_line(tiny_base: Path, tmp_path: Path) -> None:
    refusing = "{{ raise_exception('not this one') }}" + TEMPLATE
    base = copy_base(tiny_base, tmp_path / "base", chat_template=refusing)

    code, lines = train(base, tiny_base, tmp_path)

    assert (2, True) == (code, "refuses a row (not this one)" in lines[-1])


def test_an_end_that_is_not_learned_is_a_warning(tiny_base: Path, tmp_path: Path) -> None:
    endless = TEMPLATE.replace("<|im_end|>", "")
    base = copy_base(tiny_base, tmp_path / "base", chat_template=endless)

    code, lines = train(base, tiny_base, tmp_path)

    assert 0 == code
    assert any(line.startswith("warning: 12 of the first 12 rows: no end") for line in lines)


def test_good_rows_get_no_warning(tiny_base: Path, tmp_path: Path) -> None:
    code, lines = train(copy_base(tiny_base, tmp_path / "base"), tiny_base, tmp_path)

    assert (0, []) == (code, [line for line in lines if line.startswith("warning")])


@needs_json
def test_a_template_that_hides_tools_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    base = copy_base(tiny_base, tmp_path / "base")

    code, lines = train(base, tiny_base, tmp_path, rows=[called(i) for i in range(4)])

    assert (2, True) == (code, "the chat template does not show 'add'" in lines[-1])


@needs_json
def test_calls_and_texts_of_other_forms_are_trained(tiny_base: Path, tmp_path: Path) -> None:
    base = copy_base(tiny_base, tmp_path / "base", chat_template=SHOWN)
    text = [{"text": f"Once {i}"} for i in range(4)]

    calls = train(base, tiny_base, tmp_path, rows=[called(i) for i in range(4)])
    texts = train(base, tiny_base, tmp_path, rows=text)

    assert (0, 0) == (calls[0], texts[0]), (calls, texts)
