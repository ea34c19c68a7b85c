"""The run card beside the weights: whole, without secrets, and believed by the gate."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records import training_card as cards
from tunegate.harness.records.hashing import content_sha256, file_sha256
from tunegate.harness.records.training_card import FILE
from tunegate.trainers.sft import METHOD
from tunegate.trainers.train import run_method
from tunegate.trainers.training_card import TrainingRecord


def test_the_card_is_whole(
    tiny_base: Path, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    """Every option, both sorts of rows, machine, time and memory; the gate finds it fitting."""
    rows, evaluation, out = write_rows(), write_rows("eval.jsonl"), tmp_path / "out"
    said: list[str] = []
    argv = ["--model_name_or_path", str(tiny_base), "--train_files", str(rows), "--use_peft"]
    argv += ["--lora_r", "4", "--max_steps", "2", "--eval_files", str(evaluation)]
    argv += ["--save_strategy", "no", "--output_dir", str(out), "--hub_token", "hf_secret"]
    argv += ["--learning_rate", "1e-2"]

    assert 0 == run_method(METHOD, argv, say=said.append), said

    text = (out / FILE).read_text(encoding="utf-8")
    card = TrainingRecord.model_validate_json(text)
    assert [(str(evaluation), file_sha256(evaluation), 12)] == [
        (file.path, file.sha256, file.rows) for file in card.eval_files
    ]
    assert 100 < len(card.settings["training"])
    assert 2 == card.settings["training"]["max_steps"]
    assert 4 == card.settings["model"]["lora_r"]
    assert [str(evaluation)] == card.settings["data"]["eval_files"]
    assert "hf_secret" not in text
    assert card.hardware is not None
    assert card.hardware.cpu
    assert 1 <= card.hardware.cores <= (os.cpu_count() or 1)
    # A process that has loaded torch holds more than 100 MB, and never more than the machine has.
    assert card.peak_memory_bytes is not None
    assert 1e8 < card.peak_memory_bytes <= (card.hardware.memory_bytes or float("inf"))
    assert (card.base.revision, card.cost_usd) == (None, None)

    judged = open_arms({"base": str(tiny_base), "tuned": str(out)})["tuned"].identity
    seen = cards.read_training_card(out, judged)
    assert (True, (), 1) == (seen.believed, seen.notes, len(seen.files))
    assert judged["template_sha256"] == card.chat_template_sha256
    assert judged["tokenizer_sha256"] == card.tokenizer_sha256


def test_a_training_that_goes_on_names_the_rows_before(
    tiny_base: Path, tmp_path: Path, write_rows: Callable[..., Path]
) -> None:
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    one, two = write_rows("one.jsonl"), write_rows("two.jsonl")
    common = ["--model_name_or_path", str(tiny_base), "--max_steps", "1", "--save_strategy", "no"]
    common += ["--learning_rate", "1e-2"]
    fresh = [*common, "--use_peft", "--lora_r", "4", "--train_files", str(one)]
    on = [*common, "--adapter_name_or_path", str(first), "--train_files", str(two)]

    assert 0 == run_method(METHOD, [*fresh, "--output_dir", str(first)])
    assert 0 == run_method(METHOD, [*on, "--output_dir", str(second)])
    (first / FILE).unlink()
    assert 0 == run_method(METHOD, [*on, "--output_dir", str(third)])

    known, unknown = (
        TrainingRecord.model_validate_json((folder / FILE).read_bytes()).went_on_from
        for folder in (second, third)
    )
    assert known is not None
    assert unknown is not None
    assert [file.path for file in known.files or ()] == [str(one)]
    assert unknown.files is None
    assert known.weights_sha256 == unknown.weights_sha256


def test_a_folder_has_the_hash_of_its_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.arrow").write_text("1", encoding="utf-8")
    before = content_sha256(tmp_path / "a")

    assert before == content_sha256(tmp_path / "b")
    (tmp_path / "b" / "x.arrow").write_text("2", encoding="utf-8")
    assert before != content_sha256(tmp_path / "b")
    (tmp_path / "a" / "x.arrow").rename(tmp_path / "a" / "y.arrow")
    assert before != content_sha256(tmp_path / "a")
