"""Tiny classifiers: whole models and adapters, with heads of random weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.tiny_models import make_tokenizer, muted

LABELS = ("delivery", "other", "refund")


def save_classifier(
    out: Path, base: Path, *, seed: int = 0, labels: Sequence[str] = LABELS, **config: Any
) -> Path:
    """Save a whole model with a head."""
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    names = dict(enumerate(labels))
    model: Any = AutoModelForSequenceClassification.from_pretrained(base, id2label=names, **config)
    model.save_pretrained(out)
    make_tokenizer().save_pretrained(out)
    return out


def save_pair_classifier(folder: Path, labels: dict[int, str]) -> None:
    """Save a BERT of 64 tokens with random weights, whose scores differ from text to text."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(3)
    tokenizer = make_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=64, num_labels=len(labels),
        id2label=labels, label2id={name: at for at, name in labels.items()},
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.mul_(20)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def save_head_adapter(
    out: Path, base: Path, *, seed: int = 1, labels: Sequence[str] = LABELS, dead: bool = False
) -> Path:
    """Save an adapter with its head, and its labels in config.json."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    names = dict(enumerate(labels))
    model: Any = AutoModelForSequenceClassification.from_pretrained(base, id2label=names)
    with muted():
        model = get_peft_model(
            model, LoraConfig(r=4, target_modules=["q_proj"], task_type="SEQ_CLS")
        )
    for name, parameter in model.named_parameters():
        if ("lora_B" in name or "modules_to_save" in name) and not dead:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(out)
    model.config.save_pretrained(out)
    return out


def drop_tensors(folder: Path, part: str) -> None:
    """Remove the tensors with `part` in their name from a folder's weights."""
    from safetensors.torch import load_file, save_file

    [path] = folder.glob("*.safetensors")
    kept = {name: tensor for name, tensor in load_file(path).items() if part not in name}
    save_file(kept, path, metadata={"format": "pt"})


def edit_json(path: Path, **values: Any) -> None:
    """Set keys of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **values}), encoding="utf-8")
