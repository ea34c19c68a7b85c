"""GRPO with verifiers, for real: a tiny model learns what is rewarded, as by TRL's own trainer."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import muted
from tests.trainers.trl_by_hand import by_trl, share_of_letters
from tunegate.harness.contracts.metric import metric
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score
from tunegate.harness.records.training_card import FILE
from tunegate.harness.run import code_execution
from tunegate.harness.sandbox import chosen
from tunegate.trainers.grpo import METHOD
from tunegate.trainers.train import run_method
from tunegate.trainers.training_card import TrainingRecord

LORA = ["--lora_r", "4", "--lora_alpha", "8", "--lora_target_modules", "all-linear"]
HERE = "tests.trainers.test_trainers_grpo"


@metric(range=(0.0, 1.0))
def small_letters(case: Case, completion: Completion) -> Score:
    """The share of characters that are small Latin letters."""
    text = completion.text or ""
    return Score.of(sum(c.isascii() and c.islower() for c in text) / max(1, len(text)))


@metric(range=(0.0, 1.0))
def never(case: Case, completion: Completion) -> Score:
    """Scores nothing."""
    return Score.unscored("nobody knows")


def constant(case: Case, completion: Completion) -> float:
    """The same for every answer."""
    return 0.5


def broken(case: Case, completion: Completion) -> float:
    """Fails from the third row on."""
    if case.prompt == "Question 2?":
        raise KeyError("lost")
    return 0.5


def infinite(case: Case, completion: Completion) -> float:
    """No number to learn from."""
    return float("inf")


@pytest.fixture(name="train")
def _train(tiny_base: Path, write_rows: Callable[..., Path], tmp_path: Path) -> Any:
    """One call of `run` with small settings; returns the exit code and what was said."""
    rows = write_rows(rows=[{"prompt": f"Question {i}?", "expected": "yes"} for i in range(12)])
    argv = ["--model_name_or_path", str(tiny_base), "--train_files", str(rows)]
    argv += ["--max_steps", "2", "--per_device_train_batch_size", "8", "--num_generations", "4"]
    argv += ["--max_completion_length", "6", "--learning_rate", "1e-2", "--logging_steps", "1"]
    argv += ["--save_strategy", "no", "--output_dir", str(tmp_path / "out")]

    def train(
        *more: str, reward: str = f"{HERE}:small_letters", lora: bool = True
    ) -> tuple[int, list[str]]:
        lines: list[str] = []
        named = ["--reward", reward] if reward else []
        named += ["--peft", "lora", *LORA] if lora else []
        return run_method(METHOD, [*argv, *named, *more], say=lines.append), lines

    return train


def adapter(folder: Path) -> bytes:
    """The bytes of the adapter's weights."""
    return (folder / "adapter_model.safetensors").read_bytes()


def test_training_is_recorded(train: Any, tiny_base: Path, tmp_path: Path) -> None:
    """Two steps leave a live adapter and a record of how answers were made and rewarded."""
    from safetensors.torch import load_file

    code, lines = train("--temperature", "0.7")

    out = tmp_path / "out"
    assert 0 == code, lines
    weights = load_file(out / "adapter_model.safetensors")
    assert all(bool(tensor.any()) for name, tensor in weights.items() if "lora_B" in name)
    record = TrainingRecord.model_validate_json((out / FILE).read_bytes())
    assert ("grpo", 2, 12) == (record.method, record.steps, record.rows)
    assert weights_fingerprint(tiny_base) == record.base.weights_sha256
    generation = {"num_generations": 4, "max_completion_length": 6, "temperature": 0.7}
    assert generation.items() <= record.hyperparameters.items()
    (reward,) = record.hyperparameters["rewards"]
    assert {"use": f"{HERE}:small_letters", "weight": 1.0}.items() <= reward.items()


def test_checking_the_tests_of_rows_shows_its_progress(
    train: Any,
    write_rows: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before the first step, since thousands of rows take minutes."""
    monkeypatch.setattr(code_execution, "ProgressReporter", partial(ProgressReporter, interval_s=0))
    monkeypatch.setattr(chosen, "_chosen", chosen.DEFAULT)  # which is put back at the end
    rows = [{"prompt": f"Write f. {i}", "tests": [f"assert f() == {i}"]} for i in range(4)]
    write_rows(rows=rows)

    train("--sandbox", "none", "--max_steps", "1", reward="code_tests")

    assert "tunegate: 100% · checking that tests can fail" in capsys.readouterr().err


def test_progress_has_the_group_statistics(train: Any) -> None:
    _, lines = train()

    steps = [line for line in lines if line.startswith("step ")]
    assert 2 == len(steps)
    pattern = r"reward 0\.\d{3} ± 0\.\d{3}  groups without signal \d+%"
    assert all(re.search(pattern, line) for line in steps), steps


def test_same_weights_as_by_hand(train: Any, tiny_base: Path, tmp_path: Path) -> None:
    train("--float32_matmul_precision", "highest")

    by_hand = by_trl("GRPO", tmp_path / "hand", tiny_base, share_of_letters)
    assert by_hand == adapter(tmp_path / "out")


def test_reward_rises_on_prompts_never_trained_on(
    train: Any, tiny_base: Path, tmp_path: Path
) -> None:
    more = ("--peft", "none", "--max_steps", "30", "--num_generations", "8")
    code, lines = train(*more, "--lr_scheduler_type", "constant", "--logging_steps", "30")
    assert 0 == code, lines

    before, after = share_of_small_letters(tiny_base), share_of_small_letters(tmp_path / "out")

    assert before < 0.3  # 26 of the 256 byte tokens are small letters
    assert after > 0.6


def share_of_small_letters(folder: Path) -> float:
    """The mean reward of sampled answers to held-out prompts."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    torch.manual_seed(0)
    scores = []
    for i in range(100, 104):
        ids = tokenizer(f"Question {i}?", return_tensors="pt")
        answers = model.generate(**ids, do_sample=True, max_new_tokens=6, num_return_sequences=16)
        texts = tokenizer.batch_decode(answers[:, ids["input_ids"].shape[1] :])
        scores += [small_letters(Case(id="x", prompt="x"), Completion(text=text)) for text in texts]
    return sum(score.value for score in scores) / len(scores)


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        ("broken", "train.jsonl:3: reward 'broken' raised KeyError: 'lost'"),
        ("infinite", "reward 'infinite' returned inf, which is not a number"),
    ],
)
def test_a_failing_reward_ends_in_one_line(
    reward: str, said: str, train: Any, tmp_path: Path
) -> None:
    """A reward that raises or is not a number ends the training; checkpoints stay and are named."""
    more = ("--save_strategy", "steps", "--save_steps", "1", "--max_steps", "12", "--seed", "3")
    code, lines = train(*more, reward=f"{HERE}:{reward}")

    assert 13 == code
    assert said in lines[-1]
    assert "\n" not in lines[-1]
    kept = sorted((tmp_path / "out").glob("checkpoint-*"))
    advice = f"--resume_from_checkpoint {kept[-1]}" if kept else "it starts over"
    assert advice in lines[-1]
    assert not (tmp_path / "out" / FILE).exists()


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        ("constant", "all answers to a prompt got the same reward"),
        ("never", "no completion could be scored (never: nobody knows)"),
    ],
)
def test_nothing_to_learn_is_said_once(reward: str, said: str, train: Any) -> None:
    _, lines = train("--max_steps", "3", reward=f"{HERE}:{reward}")

    warnings = [line for line in lines if line.startswith("warning: ")]
    assert 1 == len(warnings), lines
    assert warnings[0].startswith("warning: nothing to learn in the first 1 steps: ")
    assert said in warnings[0]
    # Weights that no reward moved are the untrained adapter, which is not saved.
    assert lines[-1].startswith("error: the training changed nothing")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--reward", "numeric"], "case '"),
        (["--reward", "json_shema"], "did you mean 'json_schema'"),
        (["--reward_weights", "2.0"], "give each entry of `rewards` its `weight`"),
        (["--num_generations", "3"], "must be divisible by num_generations (3)"),
        (["--max_completion_length", "300"], "fill the model's context of 256"),
        (["--max_completion_length", "250"], "all 12 prompts are longer than the 6 tokens"),
    ],
)
def test_mistakes_end_in_one_line(more: list[str], said: str, train: Any) -> None:
    code, lines = train(*more)

    assert 2 == code, lines
    assert said in lines[-1]


def test_rewards_of_a_file_start_at_its_folder(train: Any, tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "any.json").write_text('{"type": "object"}')
    (folder / "grpo.yaml").write_text(
        "rewards:\n  - {use: json_schema, schema: any.json, weight: 0.5}\n"
        f'  - {{use: "{HERE}:small_letters"}}\n  - truncated\n'
    )

    code, lines = train("--config", str(folder / "grpo.yaml"), reward="")

    assert 0 == code, lines
    hyperparameters = json.loads((tmp_path / "out" / FILE).read_text())["hyperparameters"]
    assert [0.5, 1.0, -1.0] == hyperparameters["reward_weights"]
    assert ["schema"] == list(hyperparameters["rewards"][0]["files"])


def test_resumed_training_equals_an_uninterrupted_one(train: Any, tmp_path: Path) -> None:
    steps = ("--save_strategy", "steps", "--save_steps", "2", "--max_steps", "4")
    train(*steps)
    whole = adapter(tmp_path / "out")
    (tmp_path / "out" / "adapter_model.safetensors").unlink()

    code, lines = train(*steps, "--resume_from_checkpoint", str(tmp_path / "out" / "checkpoint-2"))

    assert 0 == code, lines
    assert whole == adapter(tmp_path / "out")


def test_columns_may_hold_values_of_several_types(
    train: Any, write_rows: Callable[..., Path], tmp_path: Path
) -> None:
    call = {"name": "dial", "arguments": {"number": [3, "three"]}}
    rows = write_rows(
        "calls.jsonl", rows=[{"prompt": f"Dial {i}", "expected_calls": [call]} for i in range(4)]
    )

    more = ("--reward", "tool_calls", "--reward", "length")
    code, lines = train("--train_files", str(rows), *more, reward="")

    assert 0 == code, lines
    hyperparameters = json.loads((tmp_path / "out" / FILE).read_text())["hyperparameters"]
    assert ["tool_calls", "length"] == [one["name"] for one in hyperparameters["rewards"]]


def test_a_fine_tune_is_trained_on(train: Any, tiny_base: Path, tmp_path: Path) -> None:
    """`--adapter_name_or_path` goes on with an adapter, and one adapter is saved."""
    import shutil

    train()
    shutil.move(tmp_path / "out", tmp_path / "first")

    code, lines = train("--adapter_name_or_path", str(tmp_path / "first"), lora=False)

    assert 0 == code, lines
    assert adapter(tmp_path / "first") != adapter(tmp_path / "out")
    assert not (tmp_path / "out" / "ref").exists()


def test_held_out_prompts_are_evaluated(train: Any, write_rows: Callable[..., Path]) -> None:
    """`--eval_files` are answered and rewarded too, and the mean reward is said."""
    held = write_rows("held.jsonl", rows=[{"prompt": f"Answer {i}?"} for i in range(4)])
    more = ("--eval_files", str(held), "--eval_strategy", "steps", "--eval_steps", "2")

    code, lines = train(*more, "--per_device_eval_batch_size", "8")

    assert 0 == code, lines
    said = [line for line in lines if line.startswith("evaluated at step 2  ")]
    assert said
    assert all("  reward 0." in line for line in said)


@pytest.mark.parametrize("kind", ["qlora", "dora", "ia3"])
def test_other_kinds_of_adapters(kind: str, train: Any, tmp_path: Path) -> None:
    """Each kind that `--peft` offers here is trained and saved as an adapter."""
    with muted():
        code, lines = train("--peft", kind)

    assert 0 == code, lines
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert ("IA3" if kind == "ia3" else "LORA") == config["peft_type"]
    assert (kind == "dora") == bool(config.get("use_dora"))
