"""Adapters that are trained in a few steps, and merged into their base."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Change = Callable[[str, Any], Any]
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SENTENCE = '{"intent": "book", "city": "Oslo"}\n'


def train_adapter(
    base: Path, out: Path, *, rank: int = 8, text: str = SENTENCE, steps: int = 8, **config: Any
) -> Path:
    """Train a LoRA on one sentence, if it is not there yet.

    Args:
        base: Folder of the base.
        out: Folder of the adapter.
        rank: Its rank; alpha is twice as much, unless `config` names it.
        text: The sentence.
        steps: Steps of training.
        config: Further settings of PEFT's `LoraConfig`.
    """
    if (out / "adapter_model.safetensors").is_file():
        return out
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(base)
    ids = tokenizer(text * 3, return_tensors="pt")["input_ids"]
    settings = {"r": rank, "lora_alpha": 2 * rank, "target_modules": list(MODULES), **config}
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model: Any = get_peft_model(plain, LoraConfig(task_type="CAUSAL_LM", **settings))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    for _ in range(steps):
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(out)
    return out


def merge_adapter(base: Path, adapter: Path, out: Path, *, dtype: str = "bfloat16") -> Path:
    """Save base with an adapter added to its weights, if it is not there yet."""
    if (out / "tokenizer_config.json").is_file():
        return out
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model: Any = PeftModel.from_pretrained(plain, adapter).merge_and_unload()
    model.to(getattr(torch, dtype)).save_pretrained(out)
    AutoTokenizer.from_pretrained(base).save_pretrained(out)
    return out
