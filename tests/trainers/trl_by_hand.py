"""TRL's own trainers called by hand, which ours must equal to the byte."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from tests.tiny_models import muted
from tunegate.trainers.arguments import quiet_warnings


def share_of_letters(completions: list[str], **_: Any) -> list[float]:
    """Reward the share of small letters."""
    return [sum(c.isascii() and c.islower() for c in t) / max(1, len(t)) for t in completions]


def by_trl(kind: str, folder: Path, base: Path, reward_funcs: Any) -> bytes:
    """Train by TRL's own trainer, called by hand, and return the adapter's bytes."""
    import trl
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer, set_seed

    prompts = [f"Question {i}?" for i in range(12)]
    random.Random(42).shuffle(prompts)  # as trainers/datasets.py mixes rows
    args = getattr(trl, f"{kind}Config")(
        output_dir=str(folder),
        max_steps=2,
        per_device_train_batch_size=8,
        num_generations=4,
        max_completion_length=6,
        learning_rate=1e-2,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=None,
        dataloader_pin_memory=False,
        report_to="none",
        disable_tqdm=True,
        model_init_kwargs={"dtype": "float32"},
    )
    lora = LoraConfig(r=4, lora_alpha=8, lora_dropout=0.05, target_modules="all-linear")
    lora.task_type = "CAUSAL_LM"
    set_seed(42)
    with quiet_warnings(), muted():
        trainer = getattr(trl, f"{kind}Trainer")(
            model=str(base),
            reward_funcs=reward_funcs,
            args=args,
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            processing_class=AutoTokenizer.from_pretrained(base),
            peft_config=lora,
        )
        trainer.train()
    trainer.save_model(str(folder))
    return (folder / "adapter_model.safetensors").read_bytes()
