"""Training scripts as a user would write them, with Transformers alone, on a tiny model."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from tests.tiny_models import muted

SUITE = """\
name = "{name}"
cases = "cases.jsonl"

[generation]
max_new_tokens = 4

[[metrics]]
use = "answer_logprob"
[[metrics]]
use = "exact_match"

[[gates]]
metric = "answer_logprob"
{gate}
"""


def write_suite(
    root: Path, name: str = "letters", *, gate: str = "gain = 0.1", answer: str = "yes", n: int = 12
) -> Path:
    """Write a suite of questions with one right answer; return its folder."""
    folder = root / name
    folder.mkdir()
    (folder / "suite.toml").write_text(SUITE.format(name=name, gate=gate), encoding="utf-8")
    cases = [{"id": f"c{i}", "prompt": f"{name} {i}?", "expected": answer} for i in range(n)]
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    (folder / "cases.jsonl").write_text(lines, encoding="utf-8")
    return folder


def checkpointing_name() -> str:
    """The option of the installed Transformers that recomputes activations backwards."""
    from transformers import TrainingArguments

    names = {one.name for one in fields(TrainingArguments)}
    newer, older = "activation_checkpointing", "gradient_checkpointing"
    return newer if newer in names else older


def make_trainer(base: Path, out: Path, *, lora: bool = True, **settings: Any) -> Any:
    """Return Transformers' trainer, with a LoRA whose dropout draws random numbers.

    Four steps and two saves; the rows teach to answer `no`.
    """
    from peft import LoraConfig, get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        PrinterCallback,
        Trainer,
        TrainingArguments,
        set_seed,
    )

    set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    rows = [_row(tokenizer, f"Question {i}?") for i in range(10)]
    given = {
        "max_steps": 4,
        "save_steps": 2,
        "logging_steps": 1,
        "learning_rate": 1e-2,
        "per_device_train_batch_size": 2,
        "use_cpu": True,
        "report_to": "none",
        "disable_tqdm": True,
        **settings,
    }
    if "activation_checkpointing" in given:
        given[checkpointing_name()] = given.pop("activation_checkpointing")
    with muted():
        model: Any = AutoModelForCausalLM.from_pretrained(base)
        if lora:
            config = LoraConfig(r=4, lora_dropout=0.2, target_modules="all-linear")
            model = get_peft_model(model, config)
        trainer = Trainer(
            model,
            TrainingArguments(str(out), **given),
            train_dataset=rows,
            eval_dataset=rows,
            processing_class=tokenizer,
        )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _row(tokenizer: Any, question: str) -> dict[str, list[int]]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": "no"}]
    ids = tokenizer(tokenizer.apply_chat_template(turns, tokenize=False))["input_ids"]
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": ids}


def train(trainer: Any, **more: Any) -> Any:
    """Train while the libraries' warnings about one another are muted; return the trainer."""
    with muted():
        trainer.train(**more)
    return trainer


def losses(trainer: Any) -> list[tuple[int, float, float]]:
    """Return step, loss and gradient norm of every step, to the last bit."""
    return [
        (entry["step"], entry["loss"], entry["grad_norm"])
        for entry in trainer.state.log_history
        if "loss" in entry
    ]


def weights(trainer: Any) -> dict[str, bytes]:
    """Return the bytes of every weight."""
    return {
        name: tensor.detach().numpy().tobytes()
        for name, tensor in trainer.model.state_dict().items()
    }
