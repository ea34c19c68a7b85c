"""A LoRA adapter at another strength: what it adds to base, times a factor."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.models._model_folder import adapter_config
from tunegate.harness.models.adapters.weight_files import read_json, weights_fingerprint
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.training_card import FILE as CARD

WEIGHTS = "adapter_model.safetensors"
_SCALED = ("lora_B.weight", "lora_B.bias", "lora_embedding_B")
_KEPT = ("lora_A.weight", "lora_embedding_A", ".base_layer.weight")
"""The last is base's own embedding, which PEFT saves too; loading refuses one that was changed."""
_OTHERWISE = "train for fewer steps or at a lower rate instead"


def why_unscalable(config: Mapping[str, Any]) -> str | None:
    """Return why an adapter of this configuration has no strength; None if it has."""
    kind = config.get("peft_type")
    if kind != "LORA":
        return f"only a LoRA adapter has a strength, and this is {kind}"
    for key in ("use_dora", "modules_to_save", "trainable_token_indices"):
        if config.get(key):
            return f"{key}={config[key]!r} replaces weights of base, which a factor cannot weaken"
    return None


def refuse_unscalable(folder: Path) -> None:
    """Refuse an adapter that does not add a product of two matrices to base's weights."""
    if reason := why_unscalable(adapter_config(folder)):
        raise ModelError(f"{folder}: {reason}: {_OTHERWISE}")
    if not (folder / WEIGHTS).is_file():
        raise ModelError(f"{folder}: no {WEIGHTS}; save the adapter with safe_serialization=True")


def write_scaled_adapter(source: Path, target: Path, factor: float) -> None:
    """Write an adapter whose effect on base is `factor` times as strong.

    LoRA adds scaling · B·A to a weight, so each B is multiplied. Every loader reads the result as
    it reads the source.
    """
    from safetensors.torch import load_file, save_file

    refuse_unscalable(source)
    tensors: dict[str, Any] = load_file(source / WEIGHTS)
    for name, tensor in tensors.items():
        if name.endswith(_SCALED):
            tensors[name] = (tensor.double() * factor).to(tensor.dtype)
        elif not name.endswith(_KEPT):
            raise ModelError(f"{source}: {name} is not part of a LoRA product: {_OTHERWISE}")
    shutil.rmtree(target, ignore_errors=True)  # of another adapter, with other files
    target.mkdir(parents=True)
    for file in source.iterdir():  # tokenizer and template, not the checkpoints of a training
        if file.is_file() and file.name != WEIGHTS:
            shutil.copy2(file, target / file.name)
    save_file(tensors, target / WEIGHTS, metadata={"format": "pt"})
    _write_card(source, target, factor)


def _write_card(source: Path, target: Path, factor: float) -> None:
    """Carry over the training card, bound to the new weights."""
    if not (source / CARD).is_file():
        return
    card = read_json(source / CARD)
    card |= {"weights_sha256": weights_fingerprint(target), "strength": factor}
    (target / CARD).write_text(json.dumps(card, indent=1), encoding="utf-8")
