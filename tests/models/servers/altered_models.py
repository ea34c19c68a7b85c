"""Adapters and models, altered as a faulty server would serve them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

Change = Callable[[str, Any], Any]


def alter_adapter(source: Path, out: Path, change: Change | None = None, **config: Any) -> Path:
    """Copy an adapter with other tensors or tensor names, or other keys in its configuration.

    Args:
        source: The adapter.
        out: Where the copy goes; one that is there is kept.
        change: Name and tensor → the tensor, or (name, tensor).
        config: Keys of adapter_config.json.
    """
    if out.is_dir():
        return out
    from safetensors.torch import load_file, save_file

    unfinished = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(source, unfinished)
    settings = unfinished / "adapter_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), **config}))
    tensors = {}
    for name, tensor in load_file(unfinished / "adapter_model.safetensors").items():
        changed = tensor if change is None else change(name, tensor)
        name, changed = changed if isinstance(changed, tuple) else (name, changed)
        tensors[name] = changed.contiguous()
    save_file(tensors, unfinished / "adapter_model.safetensors", metadata={"format": "pt"})
    unfinished.rename(out)
    return out


def times(factor: float, *parts: str) -> Change:
    """Multiply lora_B of the modules whose names hold one of the parts; all without parts."""

    def change(name: str, tensor: Any) -> Any:
        chosen = not parts or any(part in name for part in parts)
        return tensor * factor if "lora_B" in name and chosen else tensor

    return change


def shuffled(name: str, tensor: Any) -> Any:
    """Return other numbers of the same size: another fine-tune."""
    import torch

    generator = torch.Generator().manual_seed(len(name) + sum(map(ord, name)))
    other = torch.randn(tensor.shape, generator=generator) * tensor.std()
    return other if "lora_B" in name else tensor


def renamed(name: str, tensor: Any) -> Any:
    """Put the layers where a model for texts and pictures has them (vllm#34186)."""
    return name.replace("base_model.model.model.", "base_model.model.model.language_model."), tensor


def round_to_four_bits(base: Path, out: Path) -> Path:
    """Copy a model with each row of its matrices rounded to 15 steps, embeddings apart."""
    if out.is_dir():
        return out
    from safetensors.torch import load_file, save_file

    unfinished = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(base, unfinished)
    tensors = load_file(base / "model.safetensors")
    for name, tensor in tensors.items():
        if tensor.ndim == 2 and "embed" not in name and "lm_head" not in name:
            step = tensor.abs().amax(dim=1, keepdim=True) / 7
            tensors[name] = (tensor / step).round() * step
    save_file(tensors, unfinished / "model.safetensors", metadata={"format": "pt"})
    unfinished.rename(out)
    return out


def make_sibling_tokenizer(base: Path, out: Path) -> Path:
    """Copy a model's tokenizer without the last tenth of its merges: as many ids, other splits."""
    if out.is_dir():
        return out
    unfinished = out.with_name(f"{out.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for name in ("tokenizer_config.json", "chat_template.jinja", "config.json"):
        shutil.copy(base / name, unfinished / name)
    content = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    merges = content["model"]["merges"]
    content["model"]["merges"] = merges[: len(merges) * 9 // 10]
    (unfinished / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    unfinished.rename(out)
    return out
