"""PPO with a reward model, for real on tiny models: updates, its record, what it refuses."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import make_tokenizer, muted
from tunegate.harness.contracts import environment
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.records.training_card import FILE
from tunegate.trainers.arguments import quiet_warnings
from tunegate.trainers.ppo import METHOD
from tunegate.trainers.train import run_method
from tunegate.trainers.training_card import TrainingRecord

pytestmark = pytest.mark.skipif(
    not environment.has_feature("ppo"), reason="this TRL has no PPO trainer"
)
LORA = ["--peft", "lora", "--lora_r", "4", "--lora_alpha", "8"]
LORA += ["--lora_target_modules", "all-linear"]


@pytest.fixture(name="reward_model", scope="module")
def _reward_model(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model on the tiny base's body, as a whole model."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path_factory.mktemp("reward")
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_base, num_labels=1)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(folder)
    return folder


@pytest.fixture(name="train")
def _train(
    tiny_base: Path, reward_model: Path, write_rows: Callable[..., Path], tmp_path: Path
) -> Any:
    """One call of `run` with small settings; returns the exit code and what was said."""
    rows = write_rows(rows=[{"prompt": f"Question {i}?"} for i in range(12)])
    argv = ["--model_name_or_path", str(tiny_base), "--train_files", str(rows), *LORA]
    argv += ["--total_episodes", "8", "--per_device_train_batch_size", "4"]
    argv += ["--num_ppo_epochs", "2", "--response_length", "6", "--learning_rate", "1e-3"]
    argv += ["--output_dir", str(tmp_path / "out")]

    def train(*more: str, reward: Path | None = reward_model) -> tuple[int, list[str]]:
        lines: list[str] = []
        given = ["--reward_model_path", str(reward)] if reward else []
        return run_method(METHOD, [*argv, *given, *more], say=lines.append), lines

    return train


def adapter(folder: Path) -> bytes:
    """The bytes of the adapter's weights."""
    return (folder / "adapter_model.safetensors").read_bytes()


def test_updates_move_the_policy_and_are_recorded(
    train: Any, tiny_base: Path, reward_model: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    code, lines = train()

    out = tmp_path / "out"
    assert 0 == code, lines
    weights = load_file(out / "adapter_model.safetensors")
    assert all(bool(tensor.any()) for name, tensor in weights.items() if "lora_B" in name)
    assert not any("score" in name for name in weights)  # the value model stays behind
    record = TrainingRecord.model_validate_json((out / FILE).read_bytes())
    assert ("ppo", 2, 12) == (record.method, record.steps, record.rows)
    assert weights_fingerprint(tiny_base) == record.base.weights_sha256
    assert weights_fingerprint(reward_model) == record.hyperparameters["reward_model_sha256"]
    assert {"response_length": 6, "stop_token": "eos"}.items() <= record.hyperparameters.items()
    assert "<|im_end|>" == AutoTokenizer.from_pretrained(out).pad_token
    steps = [line for line in lines if line.startswith("step ")]
    assert ["step 1/2", "step 2/2"] == [line[:8] for line in steps]
    assert all("score " in line and "kl " in line for line in steps)


def test_same_weights_as_by_hand(
    train: Any, tiny_base: Path, reward_model: Path, tmp_path: Path
) -> None:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
        set_seed,
    )
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    train("--float32_matmul_precision", "highest")
    prompts = [f"Question {i}?" for i in range(12)]
    random.Random(42).shuffle(prompts)  # as trainers/datasets.py mixes rows
    tokenizer = AutoTokenizer.from_pretrained(tiny_base, padding_side="left")
    tokenizer.pad_token = "<|im_start|>"  # the one special token that no prompt has
    args = PPOConfig(
        output_dir=str(tmp_path / "hand"),
        total_episodes=8,
        per_device_train_batch_size=4,
        num_ppo_epochs=2,
        response_length=6,
        learning_rate=1e-3,
        stop_token="eos",
        num_sample_generations=0,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=None,
        report_to="none",
        disable_tqdm=True,
    )
    set_seed(42)
    judges = [AutoModelForSequenceClassification.from_pretrained(reward_model) for _ in range(2)]
    with quiet_warnings():
        trainer = PPOTrainer(
            args=args,
            processing_class=tokenizer,
            model=AutoModelForCausalLM.from_pretrained(tiny_base),
            ref_model=None,
            reward_model=judges[0],
            value_model=judges[1],
            train_dataset=Dataset.from_list(
                [{"input_ids": tokenizer(prompt)["input_ids"]} for prompt in prompts]
            ),
            peft_config=LoraConfig(
                r=4,
                lora_alpha=8,
                lora_dropout=0.05,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            ),
        )
        trainer.train()
    trainer.save_model(str(tmp_path / "hand"))

    assert adapter(tmp_path / "hand") == adapter(tmp_path / "out")


def test_reward_adapters_judge_too(train: Any, tiny_base: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path / "reward"
    model = AutoModelForSequenceClassification.from_pretrained(tiny_base, num_labels=1)
    with muted():
        get_peft_model(model, LoraConfig(r=2, task_type="SEQ_CLS")).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(folder)

    code, lines = train(reward=folder)

    assert 0 == code, lines


def test_whole_policies(train: Any, tmp_path: Path, tiny_base: Path) -> None:
    """Without an adapter the whole policy is trained, against a frozen copy of itself."""
    code, lines = train("--peft", "none")

    assert 0 == code, lines
    assert weights_fingerprint(tiny_base) != weights_fingerprint(tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert ["LlamaForCausalLM"] == config["architectures"]


def test_reward_model_of_another_vocabulary(train: Any, reward_model: Path, copied: Any) -> None:
    other = copied(reward_model)
    make_tokenizer().save_pretrained(other)

    code, lines = train(reward=other)

    assert 2 == code
    assert "another vocabulary (" in lines[-1]
    assert "train the reward model on a base with the policy's tokenizer" in lines[-1]
    assert "\n" not in lines[-1]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--max_steps", "3"], "give total_episodes=12 instead"),
        (["--per_device_train_batch_size", "16"], "12 prompts do not fill one batch of 16"),
        (["--sft_model_path", "x"], "the policy is --model_name_or_path"),
        (["--response_length", "300"], "fill the model's context"),
        (["--reward_model_path", "/nowhere"], "no such folder"),
        (["--kl_estimator", "k2"], "k2"),
        (["--resume_from_checkpoint", "/nowhere"], "not a checkpoint"),
    ],
)
def test_mistakes_end_in_one_line(more: list[str], said: str, train: Any) -> None:
    """What TRL would ignore, or never end with, is refused before training."""
    code, lines = train(*more)

    assert 2 == code, lines
    assert said in lines[-1]


def test_other_models_are_refused_as_reward_models(train: Any, tiny_base: Path) -> None:
    """A language model has no reward head: it would be drawn at random."""
    code, lines = train(reward=tiny_base)
    assert 2 == code
    assert "not a reward model" in lines[-1]

    code, lines = train(reward=None)
    assert 2 == code
    assert "--reward_model_path: missing" in lines[-1]


def test_chats_that_use_every_special_token(train: Any, write_rows: Callable[..., Path]) -> None:
    chat = [{"role": "user", "content": "Yes?"}]
    rows = write_rows("chats.jsonl", rows=[{"prompt": chat} for _ in range(4)])

    code, lines = train("--train_files", str(rows))

    assert 2 == code
    assert "no special token to spare" in lines[-1]


@pytest.mark.parametrize("kind", ["qlora", "dora", "ia3"])
def test_other_kinds_of_adapters(kind: str, train: Any, tmp_path: Path) -> None:
    """Each kind that `--peft` offers here is trained and saved as an adapter."""
    with muted():
        code, lines = train("--peft", kind)

    assert 0 == code, lines
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert ("IA3" if kind == "ia3" else "LORA") == config["peft_type"]
    assert (kind == "dora") == bool(config.get("use_dora"))


def test_ctrl_c_says_that_nothing_goes_on() -> None:
    from tunegate.harness.records.errors import RunInterrupted
    from tunegate.trainers import ppo

    class Stopped:
        def train(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(RunInterrupted, match="cannot resume, so it starts over"):
        ppo._train(Stopped(), None)
