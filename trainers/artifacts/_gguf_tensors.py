"""A Llama model's tensors as llama.cpp wants them: names, the order of rows, rotary frequencies."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import ModelError

FREQUENCIES = "rope_freqs.weight"
"""By what each rotary frequency is divided, where positions are scaled as in Llama 3."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a tensor of the file comes from."""

    name: str
    """llama.cpp's name."""
    shape: tuple[int, ...]
    path: Path
    """The safetensors file, or the model's folder where the tensor is computed."""
    key: str | None = None

    def values(self, config: Mapping[str, Any]) -> Any:
        """Return the tensor as float32."""
        if self.key is None:
            return _frequencies(config, self.path)
        from safetensors import safe_open

        with safe_open(self.path, framework="pt") as file:
            return _ordered(self.name, file.get_tensor(self.key).float().numpy(), config)


def head_width(config: Mapping[str, Any]) -> int:
    """Return the width of an attention head."""
    given = config.get("head_dim")
    return int(given or config["hidden_size"] // config["num_attention_heads"])


def plan(folder: Path, config: Mapping[str, Any]) -> Iterator[Source]:
    """Yield where every tensor of the file comes from.

    Raises:
        ModelError: a tensor has no place in the file, or positions are scaled in another way.
    """
    from gguf import MODEL_ARCH, get_tensor_name_map
    from safetensors import safe_open

    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    if _frequencies(config, folder) is not None:
        yield Source(FREQUENCIES, (head_width(config) // 2,), folder)
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for key in sorted(file.keys()):
                tied = key == "lm_head.weight" and config["tie_word_embeddings"]
                if tied or key.endswith("rotary_emb.inv_freq"):
                    continue
                name = names.get_name(key, try_suffixes=(".weight",))
                if name is None:
                    raise ModelError(
                        f"{path}: tensor {key} has no place in a GGUF file of a Llama model; merge "
                        "the adapter first, or use llama.cpp's convert_hf_to_gguf.py"
                    )
                yield Source(name, tuple(file.get_slice(key).get_shape()), path, key)


def _ordered(name: str, values: Any, config: Mapping[str, Any]) -> Any:
    """Return q and k with their rows in llama.cpp's order: rotary pairs beside each other."""
    part = name.rpartition(".attn_")[2]
    heads = {"q.weight": "num_attention_heads", "k.weight": "num_key_value_heads"}.get(part)
    if heads is None:
        return values
    # Transformers keeps the first halves of all pairs in front of the second ones.
    pairs = values.reshape(config[heads], 2, -1, values.shape[-1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)


def _frequencies(config: Mapping[str, Any], folder: Path) -> Any:
    """Return by what each rotary frequency is divided; None where positions are not scaled."""
    rope = config["rope_parameters"]
    kind = rope.get("rope_type", "default")
    if kind == "default":
        return None
    if kind != "llama3":
        raise ModelError(
            f"{folder}: rope_type={kind!r} cannot be written as GGUF here; use llama.cpp's "
            "convert_hf_to_gguf.py and give the file as gguf:FILE"
        )
    head = head_width(config)
    exponents = np.arange(0, head, 2, dtype=np.float64) / head
    lengths = 2 * math.pi * rope["rope_theta"] ** exponents
    original = rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = np.clip((original / lengths - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)
