"""RLOO and GRPO with a reward model, for real on tiny models, against TRL's own calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.tiny_models import muted
from tests.trainers.trl_by_hand import by_trl, share_of_letters
from tunegate.harness.models.adapters.weight_files import weights_fingerprint
from tunegate.harness.records.training_card import FILE
from tunegate.trainers import grpo, reward, rloo
from tunegate.trainers.train import run_method
from tunegate.trainers.training_card import TrainingRecord

HERE = "tests.trainers.test_trainers_grpo"
LORA = ["--lora_r", "4", "--lora_alpha", "8", "--lora_target_modules", "all-linear"]


@pytest.fixture(name="reward_model", scope="module")
def _reward_model(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model on the tiny base's body, as a whole model."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path_factory.mktemp("reward")
    torch.manual_seed(1)
    with muted():
        model = AutoModelForSequenceClassification.from_pretrained(tiny_base, num_labels=1)
        model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_base).save_pretrained(folder)
    return folder


@pytest.fixture(name="train")
def _train(tiny_base: Path, write_rows: Callable[..., Path], tmp_path: Path) -> Any:
    """One training by a method with small settings: the exit code and what was said."""
    rows = write_rows(rows=[{"prompt": f"Question {i}?", "expected": "yes"} for i in range(12)])
    argv = ["--model_name_or_path", str(tiny_base), "--train_files", str(rows), "--peft", "lora"]
    argv += ["--max_steps", "2", "--per_device_train_batch_size", "8", "--num_generations", "4"]
    argv += ["--max_completion_length", "6", "--learning_rate", "1e-2", "--logging_steps", "1"]
    argv += ["--save_strategy", "no", "--output_dir", str(tmp_path / "out"), *LORA]

    def train(method: Any, *more: str) -> tuple[int, list[str]]:
        lines: list[str] = []
        return run_method(method.METHOD, [*argv, *more], say=lines.append), lines

    return train


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "method"), [("GRPO", grpo), ("RLOO", rloo)])
def test_a_reward_model_trains_as_trl_itself(
    kind: str, method: Any, train: Any, tiny_base: Path, reward_model: Path, tmp_path: Path
) -> None:
    code, lines = train(
        method, "--reward_model", str(reward_model), "--float32_matmul_precision", "highest"
    )

    out = tmp_path / "out"
    assert 0 == code, lines
    ours = (out / "adapter_model.safetensors").read_bytes()
    assert by_trl(kind, tmp_path / "hand", tiny_base, str(reward_model)) == ours
    record = TrainingRecord.model_validate_json((out / FILE).read_bytes())
    assert (kind.lower(), 2, 12) == (record.method, record.steps, record.rows)
    (judged,) = record.hyperparameters["rewards"]
    assert weights_fingerprint(reward_model) == judged["options"]["weights_sha256"]


@pytest.mark.slow
def test_rloo_learns_from_metrics_as_trl_itself(
    train: Any, tiny_base: Path, tmp_path: Path
) -> None:
    code, lines = train(
        rloo, "--reward", f"{HERE}:small_letters", "--float32_matmul_precision", "highest"
    )

    assert 0 == code, lines
    ours = (tmp_path / "out" / "adapter_model.safetensors").read_bytes()
    assert by_trl("RLOO", tmp_path / "hand", tiny_base, share_of_letters) == ours
    assert 2 == sum("groups without signal" in line for line in lines)


@pytest.mark.slow
def test_a_reward_model_beside_a_metric(train: Any, reward_model: Path, tmp_path: Path) -> None:
    given = ("--reward_model", str(reward_model), "--reward_model_weight", "0.5")
    code, lines = train(grpo, *given, "--reward", f"{HERE}:small_letters")
    record = TrainingRecord.model_validate_json((tmp_path / "out" / FILE).read_bytes())

    assert 0 == code, lines
    named = {one["name"]: one["weight"] for one in record.hyperparameters["rewards"]}
    assert {"small_letters": 1.0, "reward_model": 0.5} == named


@pytest.mark.slow
def test_the_numbers_of_a_chat_are_those_of_its_template(reward_model: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    prompts = [[{"role": "user", "content": f"Question {i}?"}] for i in range(3)]
    answers = [[{"role": "assistant", "content": "yes" * (i + 1)}] for i in range(3)]
    found = reward.reward_function(reward_model, where="here", dtype="float32")(prompts, answers)

    tokenizer = AutoTokenizer.from_pretrained(reward_model)
    model = AutoModelForSequenceClassification.from_pretrained(reward_model).eval()
    expected = []
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = tokenizer.apply_chat_template([*prompt, *answer], return_dict=True)["input_ids"]
        with torch.no_grad():
            expected.append(model(input_ids=torch.tensor([ids])).logits[0, 0].item())
    assert expected == pytest.approx(found, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--reward_model", "nowhere"], "--reward_model=nowhere: no such folder"),
        (["--reward_model", "BASE"], "not a reward model"),
        (["--reward_model", "REWARD", "--reward_model_weight", "0"], "must be above 0"),
        ([], "--reward: missing; give a metric such as `--reward json_schema`"),
    ],
)
def test_what_cannot_reward_is_refused(
    more: list[str], message: str, train: Any, tiny_base: Path, reward_model: Path, tmp_path: Path
) -> None:
    """One line, exit code 2, and no step is made."""
    places = {"BASE": str(tiny_base), "REWARD": str(reward_model)}
    code, lines = train(rloo, *(places.get(word, word) for word in more))

    assert 2 == code
    assert message in lines[-1]
    assert not any(line.startswith("step ") for line in lines)


def test_a_reward_model_is_followed_by_rloo(tmp_path: Path) -> None:
    """What `train reward` made writes no texts: its last line names RLOO and not the gate."""
    job: Any = SimpleNamespace(base=SimpleNamespace(name="m"))
    said = reward.METHOD.next_command(job, tmp_path)

    expected = f"tunegate train rloo --model_name_or_path m --reward_model {tmp_path}"
    assert said.startswith(expected)
