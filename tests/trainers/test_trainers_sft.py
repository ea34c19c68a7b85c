"""Supervised fine-tuning, for real: a tiny model learns, repeats byte for byte, and is recorded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from tests.trainers.conftest import write_chats
from tunegate.harness.models.adapters.weight_files import (
    file_sha256,
    refuse_unsafe,
    weights_fingerprint,
)
from tunegate.harness.records.errors import BackendError, ModelError, RunInterrupted, TunegateError
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.training_card import FILE
from tunegate.trainers import save, sft, trl_environment
from tunegate.trainers.callbacks import progress_line
from tunegate.trainers.train import run_method
from tunegate.trainers.training_card import TrainingRecord

LORA = ["--use_peft", "--lora_r", "4", "--lora_alpha", "8", "--lora_target_modules", "all-linear"]


class Training:
    """One call of `run` with small settings."""

    def __init__(self, base: Path, rows: Path) -> None:
        self.lines: list[str] = []
        self.base = base
        self.argv = ["--model_name_or_path", str(base), "--train_files", str(rows), *LORA]
        self.argv += ["--max_steps", "3", "--per_device_train_batch_size", "2"]
        self.argv += ["--learning_rate", "1e-2", "--logging_steps", "1", "--save_strategy", "no"]

    def __call__(self, output: Path, *more: str) -> int:
        self.lines.clear()
        return run_method(
            sft.METHOD, [*self.argv, "--output_dir", str(output), *more], say=self.lines.append
        )


@pytest.fixture(name="training")
def _training(tiny_base: Path, write_rows: Callable[..., Path]) -> Training:
    return Training(tiny_base, write_rows())


@pytest.fixture(name="trained", scope="module")
def _trained(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Training]:
    """Train once; return the output folder and the call."""
    root = tmp_path_factory.mktemp("sft")
    training = Training(tiny_base, write_chats(root / "train.jsonl"))
    assert 0 == training(root / "out"), training.lines
    return root / "out", training


def _adapter(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return dict(load_file(folder / "adapter_model.safetensors"))


def test_training_moves_the_adapter_and_is_recorded(trained: tuple[Path, Training]) -> None:
    out, training = trained

    weights = _adapter(out)
    assert all(bool(tensor.any()) for name, tensor in weights.items() if "lora_B" in name)
    record = TrainingRecord.model_validate_json((out / FILE).read_bytes())
    assert ("sft", 3, 12, 42) == (record.method, record.steps, record.rows, record.seed)
    assert weights_fingerprint(training.base) == record.base.weights_sha256
    assert weights_fingerprint(out) == record.weights_sha256
    template = (training.base / "chat_template.jinja").read_text()
    assert sha256(template) == record.base.chat_template_sha256
    assert [12] == [file.rows for file in record.files]
    assert file_sha256(Path(record.files[0].path)) == record.files[0].sha256
    assert ("all-linear", 4, 0.01) == tuple(
        record.hyperparameters[k] for k in ("lora_target_modules", "lora_r", "learning_rate")
    )
    assert record.final_loss is not None
    assert record.final_loss > 0
    assert {"torch", "trl", "peft"} <= set(record.versions)


def test_output_is_safe_to_load(trained: tuple[Path, Training]) -> None:
    out, training = trained

    refuse_unsafe(out)
    assert not list(out.rglob("*.bin"))
    config = json.loads((out / "adapter_config.json").read_text())
    assert str(training.base) == config["base_model_name_or_path"]
    assert sorted(config["target_modules"]) == config["target_modules"]
    assert (out / "tokenizer.json").is_file()


def test_progress_is_one_line_a_step(trained: tuple[Path, Training]) -> None:
    """Each logged step says step, loss, speed and time left; the last line says where it is."""
    out, training = trained

    steps = [line for line in training.lines if line.startswith("step ")]
    assert ["step 1/3", "step 2/3", "step 3/3"] == [line[:8] for line in steps]
    assert all("s/step" in line and "left" in line for line in steps)
    assert f"saved to {out}" in training.lines[-1]


def test_same_seed_same_bytes(training: Training, tmp_path: Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert 0 == training(tmp_path / name, "--seed", seed)

    a, b, c = (
        (tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("a", "b", "c")
    )
    assert a == b != c


def test_resumed_training_equals_an_uninterrupted_one(training: Training, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    saving_options = ["--save_strategy", "steps", "--save_steps", "1"]
    training(whole)
    training(parts, *saving_options)
    (parts / "adapter_model.safetensors").unlink()
    for step in (2, 3):
        (parts / f"checkpoint-{step}").rename(tmp_path / f"gone-{step}")

    assert 0 == training(parts, *saving_options, "--resume_from_checkpoint", "true"), training.lines

    name = "adapter_model.safetensors"
    assert (whole / name).read_bytes() == (parts / name).read_bytes()
    assert 3 == json.loads((parts / FILE).read_text())["steps"]


def test_only_completions_are_learned(training: Training, tmp_path: Path) -> None:
    seen: list[list[int]] = []

    def spy(trainer: Any, _: Any) -> None:
        seen.extend(trainer.train_dataset["labels"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sft, "METHOD", replace(sft.METHOD, check=spy))
        training(tmp_path / "out")

    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(training.base)
    texts = {tokenizer.decode([i for i in labels if i != -100]) for labels in seen}
    assert {"yes<|im_end|>\n", "no<|im_end|>\n"} == texts


def test_whole_model_without_peft(
    tiny_base: Path, write_rows: Callable[..., Path], tmp_path: Path
) -> None:
    """Without `--use_peft` all weights are trained and saved."""
    training = Training(tiny_base, write_rows())
    training.argv = [word for word in training.argv if word != "--use_peft"]

    assert 0 == training(tmp_path / "out"), training.lines

    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert weights_fingerprint(tmp_path / "out") != weights_fingerprint(tiny_base)


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--model_name_or_path", "/nowhere"], 2, "neither a folder, nor"),
        (["--resume_from_checkpoint", "true"], 2, "no checkpoint in"),
        (["--resume_from_checkpoint", "/nowhere"], 2, "not a checkpoint"),
        (["--learning_rate", "0"], 13, "the training changed nothing"),
        (["--max_length", "8"], 2, "max_length=8"),
        (["--loss_type", "sum"], 2, "sum"),
        (["--lora_target_modules", "q_prj"], 2, "q_prj"),
        (["--nonsense"], 2, "unknown option '--nonsense'"),
    ],
)
def test_mistakes_end_in_one_line(
    more: list[str], code: int, said: str, training: Training, tmp_path: Path
) -> None:
    assert code == training(tmp_path / "out", *more)

    assert training.lines[-1].startswith("error: ")
    assert "\n" not in training.lines[-1]
    assert said in training.lines[-1]
    assert not (tmp_path / "out" / FILE).exists()


def test_cut_rows_are_said(training: Training, tmp_path: Path) -> None:
    """Rows that `max_length` cuts are counted in a warning."""
    training(tmp_path / "out", "--max_length", "32")

    assert any(line.startswith("warning: ") and "max_length=32" in line for line in training.lines)


def test_missing_files_and_model_are_named(tmp_path: Path) -> None:
    lines: list[str] = []

    assert 2 == run_method(sft.METHOD, ["--model_name_or_path", str(tmp_path)], say=lines.append)
    assert "--train_files: missing" in lines[-1]


def test_base_without_a_tokenizer(training: Training, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((training.base / name).read_bytes())

    assert 2 == training(tmp_path / "out", "--model_name_or_path", str(bare)), training.lines
    assert "\n" not in training.lines[-1]


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` shows the flags that matter first, `--help-all` TRL's and ours, and end well."""
    flags = []
    for word in ("--help", "--help-all"):
        assert 0 == run_method(sft.METHOD, [word])
        flags.append(set(re.findall(r"(?m)^  (--[a-z_]+)", capsys.readouterr().out)))
    first, every = flags

    assert {"--config", "--train_files", "--lora_r", "--learning_rate", "--max_length"} <= first
    assert len(first) <= 20
    assert first < every
    assert len(every) > 150
    assert "--weight_decay" in every - first


def test_an_adapter_is_no_base(training: Training, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")

    assert 2 == training(tmp_path / "again", "--model_name_or_path", str(tmp_path))
    assert "is an adapter; give the base" in training.lines[-1]


def test_weights_that_are_not_numbers_are_not_saved() -> None:
    import torch

    model = torch.nn.Linear(1, 1)
    model.weight.data.fill_(float("nan"))

    with pytest.raises(TunegateError, match=r"diverged.*lower learning_rate=9\.0"):
        save.check_weights(model, {}, rate=9.0)


@pytest.mark.parametrize(
    ("failure", "expected", "said"),
    [
        (RuntimeError("[enforce] DefaultCPUAllocator: not enough"), BackendError, "halve the"),
        (RuntimeError("0 active drivers ([]). There"), BackendError, "such as 1.14.2 or 1.16"),
        (MemoryError(), BackendError, "per_device_train_batch_size=2"),
        (OSError(28, "No space left on device"), BackendError, "No space left"),
        (ValueError("I/O error: No space left on device"), BackendError, "it starts over"),
        (OSError("no tokenizer in x"), ModelError, "m: no tokenizer in x"),
        (KeyboardInterrupt(), RunInterrupted, "training stopped"),
    ],
)
def test_failures_become_one_line(
    failure: BaseException, expected: type[TunegateError], said: str, tmp_path: Path
) -> None:
    """Memory, disk and Ctrl-C become our errors with a remedy; others keep their traceback."""

    class Args:
        output_dir = str(tmp_path)
        per_device_train_batch_size = 2
        max_length = 64

    class Model:
        model_name_or_path = "m"

    config: Any = type("C", (), {"training": Args, "model": Model})
    with pytest.raises(expected, match=said), trl_environment.explain_failures(config):
        raise failure
    with pytest.raises(RuntimeError, match="a defect"), trl_environment.explain_failures(config):
        raise RuntimeError("a defect")


def test_precision_is_set_back() -> None:
    """The gate's float32 precision is untouched by a training in the same process."""
    import torch

    before = torch.get_float32_matmul_precision()
    with trl_environment.matmul_precision("medium"):
        assert "medium" == torch.get_float32_matmul_precision()

    assert before == torch.get_float32_matmul_precision()


def test_logits_are_computed_where_a_token_is_learned(tiny_base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM
    from trl.trainer import utils

    if Version(version("trl")) < Version("1.16"):
        pytest.skip("this TRL computes no logits of prompts")
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_base, dtype="float32")
    utils.add_fused_lm_head(model)
    ids = torch.tensor([[3, 4, 5, 6, 7, 8, 9, 0]])
    labels = torch.tensor([[-100, -100, -100, -100, 7, 8, -100, -100]])
    original, shapes = utils._ChunkedLogProbFunction.apply, []

    def counted(hidden: Any, *more: Any) -> Any:
        shapes.append(len(hidden))
        return original(hidden, *more)

    def step() -> tuple[float, Any]:
        model.zero_grad()
        out = model(input_ids=ids, labels=labels, fused_lm_head=True)
        out.loss.backward()
        return out.loss.item(), model.lm_head.weight.grad.clone()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils._ChunkedLogProbFunction, "apply", counted)
        all_positions = step()
        with trl_environment.logits_of_completions():
            learned = step()
        step()

    assert [7, 2, 7] == shapes
    assert all_positions[0] == pytest.approx(learned[0], rel=1e-6)
    assert torch.allclose(all_positions[1], learned[1], atol=1e-7)


def test_progress_line() -> None:
    """Step 40 of 160 at 3.14 s a step leaves 120 * 3.14 = 376.8 s, which is 6 min 17 s."""
    expected = "step 40/160  loss 0.4123  3.1 s/step  6 min 17 s left"

    assert expected == progress_line(40, 160, 0.4123, 3.14)
