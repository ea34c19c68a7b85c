"""LoRA adapters that learned nothing: what a fine-tune, or an A/A run, is compared with.

`make_null_adapter` makes one that acts and does not matter. It has the shape of a usual LoRA on
every linear layer, but `lora_B`, which is zero before training, is drawn so small that no answer
should care. The numbers are seeded: the same base gets the same adapter each time, so that its
answers are stored once.

`randomise_adapter` turns a trained adapter into a null one of its own shape and size for a while.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tunegate.harness.models._model_class import text_class, text_part
from tunegate.harness.models._model_folder import is_adapter, require_modules
from tunegate.harness.models.transformers import HfArm
from tunegate.harness.records.errors import UsageError

RANK = 8
ALPHA = 16
SPREAD = 1e-4
"""Standard deviation of `lora_B`; trained adapters of this shape end near 1e-2."""
WORDS = f"LoRA r={RANK}, all-linear, lora_B of size {SPREAD:.0e}"

_MAMBA = ("mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h")
_NO_LORA = {**{kind: ["out_proj"] for kind in _MAMBA}, "llama4_text": ["router"]}
"""Model type → linear layers that PEFT refuses, or whose forward it cannot wrap."""
_PARTS = {"lora_A": "lora_B", "lora_embedding_A": "lora_embedding_B"}
"""First factor of a LoRA update → the second."""


def make_null_adapter(base: Path, out: Path) -> None:
    """Write a null adapter of the model folder `base` into the folder `out`.

    The base's weights are not read: names and shapes of its layers come from the configuration.
    """
    if is_adapter(base):
        raise UsageError(f"base={base} is an adapter; give the model it was trained on")
    require_modules("torch", "transformers", "peft")
    from tunegate.harness.models._load_model import silence_libraries
    from tunegate.harness.models._model_folder import prefix_errors

    silence_libraries()
    import torch
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from safetensors.torch import save_file
    from transformers import AutoConfig

    with prefix_errors(f"{base}: no null adapter can be made for it"):
        kind = text_class(base)
        with torch.device("meta"):
            config = AutoConfig.from_pretrained(base, trust_remote_code=False)
            whole = kind(config) if hasattr(kind, "forward") else kind.from_config(config)
            skeleton = text_part(whole)
            lora = LoraConfig(
                r=RANK,
                lora_alpha=ALPHA,
                target_modules="all-linear",
                exclude_modules=_NO_LORA.get(skeleton.config.model_type),
                task_type="CAUSAL_LM",
            )
            model = get_peft_model(skeleton, lora)
        state = get_peft_model_state_dict(model, save_embedding_layers=False)
        generator = torch.Generator().manual_seed(0)
        tensors = {
            name: torch.empty(state[name].shape).normal_(
                std=SPREAD if ".lora_B." in name else state[name].shape[-1] ** -0.5,
                generator=generator,
            )
            for name in sorted(state)
        }
        out.mkdir(parents=True, exist_ok=True)
        save_file(tensors, out / "adapter_model.safetensors", metadata={"format": "pt"})
        settings = model.peft_config["default"]
        settings.base_model_name_or_path = str(base)
        settings.inference_mode = True
        settings.save_pretrained(str(out))


@contextmanager
def randomise_adapter(arm: HfArm, seed: int) -> Iterator[None]:
    """Within the block the arm computes with a null adapter of its own shape and size.

    In every module lora_A and lora_B are drawn at random, and lora_B scaled so that the update
    lora_B·lora_A keeps the Frobenius norm it was trained to. What differs is its direction alone.
    A null of one fixed small size would only show that training made the weights grow; this one
    asks whether they point anywhere. Rank, targets and lora_alpha are the adapter's own, since it
    is the adapter. Its weights are put back afterwards, bit for bit.
    """
    import torch

    pairs = _factors(arm)
    kept = [(first.clone(), second.clone()) for first, second in pairs]
    generator = torch.Generator().manual_seed(seed)
    try:
        for first, second in pairs:
            _redraw(first, second, generator)
        yield
    finally:
        for (first, second), (old_first, old_second) in zip(pairs, kept, strict=True):
            first.copy_(old_first)
            second.copy_(old_second)


def null_adapter_problem(arm: HfArm) -> str | None:
    """Return why an arm has no null adapter of its shape; None if it has one."""
    if arm.adapter is None:
        return "tuned is a whole model: a null adapter needs an adapter whose size it can have"
    names = [n.split(".") for n, _ in arm.loaded.torch_model.named_parameters()]
    parts = {*_PARTS, *_PARTS.values()}
    others = sorted(
        {name[name.index(arm.adapter) - 1] for name in names if arm.adapter in name} - parts
    )
    config = arm.loaded.torch_model.peft_config[arm.adapter]
    if getattr(config, "target_parameters", None):
        others = ["target_parameters", *others]
    if others:
        return f"only a plain LoRA has one, and this adapter has {others[0]}"
    return None


def _factors(arm: HfArm) -> list[tuple[Any, Any]]:
    """Return lora_A and lora_B of every module, in the model's order."""
    tensors = dict(arm.loaded.torch_model.named_parameters())
    return [
        (tensor.detach(), tensors[name.replace(f".{part}.", f".{other}.")].detach())
        for name, tensor in tensors.items()
        for part, other in _PARTS.items()
        if f".{part}.{arm.adapter}" in name
    ]


def _redraw(first: Any, second: Any, generator: Any) -> None:
    """Fill both factors with normal numbers, their product of the norm it had."""
    import torch

    size = product_norm(first, second)
    drawn_first = torch.empty(first.shape).normal_(generator=generator)
    drawn_second = torch.empty(second.shape).normal_(generator=generator)
    scale = size / product_norm(drawn_first, drawn_second)
    # Both factors take a share, so that neither leaves the range of a small number format.
    first.copy_(drawn_first * scale**0.5)
    second.copy_(drawn_second * scale**0.5)


def product_norm(first: Any, second: Any) -> float:
    """Return the Frobenius norm of lora_B·lora_A without building the product.

    Its square is the sum of (BᵀB)∘(AAᵀ), which are rank × rank.
    """
    a, b = first.flatten(1).double(), second.flatten(1).double()
    return math.sqrt(max(0.0, float(((b.T @ b) * (a @ a.T)).sum())))
