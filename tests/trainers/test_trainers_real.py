"""Every method on a real model, SmolLM2-135M: a few steps, measured on rows never trained on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import muted
from tests.unseen_rows import gains, margins
from tunegate.harness.models.demo_model import make_demo_model
from tunegate.trainers import dpo, kto, reward, sft
from tunegate.trainers.train import run_method

pytestmark = pytest.mark.slow

TRAINED = (
    "reset my password", "change my address", "cancel my order", "find my invoice",
    "delete my account", "track my parcel", "return a jacket", "pay by card",
)  # fmt: skip
UNSEEN = ("update my phone number", "get a refund", "stop the newsletter")
SHORT = ["--max_steps", "5", "--per_device_train_batch_size", "2", "--max_length", "96"]
SHORT += ["--attn_implementation", "eager"]  # faster where prompts are short
LORA = ["--peft", "lora", "--lora_r", "8", "--lora_target_modules", "all-linear"]


def _turn(role: str, content: str) -> list[dict[str, str]]:
    return [{"role": role, "content": content}]


def _pair(need: str) -> dict[str, Any]:
    return {
        "prompt": _turn("user", f"How do I {need}?"),
        "chosen": _turn("assistant", f"Gladly! Open Settings to {need}. Thank you for asking!"),
        "rejected": _turn("assistant", "That is not my job. Read the manual, as everybody does."),
    }


PAIRS, NEW = [_pair(need) for need in TRAINED], [_pair(need) for need in UNSEEN]
ROWS: dict[Any, list[dict[str, Any]]] = {
    sft: [{"prompt": row["prompt"], "completion": row["chosen"]} for row in PAIRS],
    dpo: PAIRS,
    reward: PAIRS,
    kto: [
        {"prompt": row["prompt"], "completion": row[key], "label": key == "chosen"}
        for row in PAIRS
        for key in ("chosen", "rejected")
    ],
}


@pytest.fixture(name="train")
def _train(tmp_path: Path, write_rows: Callable[..., Path]) -> Callable[..., Path]:
    def train(method: Any, *more: str) -> Path:
        lines: list[str] = []
        out = tmp_path / method.METHOD.name
        argv = ["--model_name_or_path", "embedded", "--output_dir", str(out), *SHORT, *LORA]
        argv += ["--train_files", str(write_rows(rows=ROWS[method])), "--save_strategy", "no"]
        with muted():
            assert 0 == run_method(
                method.METHOD, [*argv, "--learning_rate", "1e-3", *more], say=lines.append
            ), lines
        return out

    return train


@pytest.mark.parametrize(
    "kind",
    [
        "lora",
        pytest.param("qlora", marks=pytest.mark.long),
        pytest.param("prompt", marks=pytest.mark.long),
    ],
)
def test_sft_raises_the_probability_of_unseen_answers(
    kind: str, train: Callable[..., Path]
) -> None:
    longer = {"prompt": ("--learning_rate", "1e-2", "--max_steps", "10")}.get(kind, ())

    out = train(sft, "--peft", kind, *longer)

    assert min(gains(make_demo_model(), out, NEW, "chosen")) > 1.0


@pytest.mark.long  # three seeds of both: two minutes
@pytest.mark.parametrize("seed", ["0", "1", "2"])
@pytest.mark.parametrize("method", [dpo, kto])
def test_preferences_move_unseen_pairs(method: Any, seed: str, train: Callable[..., Path]) -> None:
    assert min(margins(make_demo_model(), train(method, "--seed", seed), NEW)) > 1.0


def test_a_reward_model_tells_unseen_pairs_apart(train: Callable[..., Path]) -> None:
    """Trained, it gives chosen answers to new questions more than rejected ones.

    The control is the same head on the same base before the first step.
    """
    out = train(reward)

    assert min(_differences(out)) > max(0.1, *_differences(None))


def _differences(adapter: Path | None) -> list[float]:
    """Return chosen minus rejected of each unseen pair, trained or untrained."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed

    tokenizer: Any = AutoTokenizer.from_pretrained(make_demo_model())
    set_seed(42)
    model: Any = AutoModelForSequenceClassification.from_pretrained(make_demo_model(), num_labels=1)
    model.config.pad_token_id = tokenizer.pad_token_id
    if adapter is not None:
        from peft import PeftModel

        with muted():
            model = PeftModel.from_pretrained(model, adapter)

    def points(row: dict[str, Any], key: str) -> float:
        ids = tokenizer.apply_chat_template(row["prompt"] + row[key], return_dict=True)["input_ids"]
        with torch.no_grad():
            return float(model(input_ids=torch.tensor([ids])).logits[0, 0])

    return [points(row, "chosen") - points(row, "rejected") for row in NEW]
