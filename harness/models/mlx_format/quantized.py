"""Folders that `mlx_lm.convert -q` wrote, unpacked to plain weights.

A group of a row's weights has a scale and a bias: weight = scale · q + bias. The q are a stream of
bits, lowest first, in 32-bit words (mlx.core.quantize, mode `affine`). Other modes are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.models.adapters.weight_files import read_json, weight_files
from tunegate.harness.records.errors import ModelError

_WEIGHTS = 1 << 24
"""Weights that are unpacked at a time; each takes some 20 bytes meanwhile."""


def mlx_quantization(folder: Path) -> Mapping[str, Any] | None:
    """Return the settings of MLX's quantisation in config.json; None for other folders."""
    path = folder / "config.json"
    config = read_json(path) if path.is_file() else {}
    settings = config.get("quantization") if isinstance(config, dict) else None
    return settings if isinstance(settings, dict) and "bits" in settings else None


def quantization_name(settings: Mapping[str, Any]) -> str:
    """Return what a report calls the format."""
    return f"{settings['bits']}-bit (MLX)"


def unpacked_source(kind: Any, folder: Path, dtype: str) -> tuple[Any, dict[str, Any]]:
    """Return the class that loads a folder, and the arguments of `from_pretrained` in its place.

    Args:
        kind: The class for folders that are not quantised.
        folder: The folder.
        dtype: Name of the number format, or `auto` for that of the scales.
    """
    import torch
    from transformers import AutoConfig, GenerationConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    for key in ("quantization", "quantization_config"):
        if hasattr(config, key):
            delattr(config, key)
    # An Auto class takes its configuration from a folder.
    chosen = getattr(kind, "_model_mapping", {type(config): kind})[type(config)]
    source = {"pretrained_model_name_or_path": None, "config": config}
    if (folder / "generation_config.json").is_file():
        source["generation_config"] = GenerationConfig.from_pretrained(folder)
    format_ = None if dtype == "auto" else getattr(torch, dtype)
    return chosen, {**source, "state_dict": _unpacked_weights(folder, format_)}


def _unpacked_weights(folder: Path, dtype: Any) -> dict[str, Any]:
    """Return name → tensor, in a torch number format."""
    from safetensors.torch import load_file

    settings = mlx_quantization(folder) or {}
    weights: dict[str, Any] = {}
    for path in weight_files(folder):
        weights |= load_file(path)
    for name in [name for name in weights if name.endswith(".scales")]:
        module = name.removesuffix(".scales")
        own = settings.get(module)
        layer = {**settings, **own} if isinstance(own, dict) else settings
        if (mode := layer.get("mode", "affine")) != "affine" or f"{module}.biases" not in weights:
            raise ModelError(
                f"{folder}: {module} is quantised in mode {mode!r}, and only 'affine' is unpacked; "
                f"let MLX compute it: mlx:{folder}"
            )
        scales, biases = weights.pop(name), weights.pop(f"{module}.biases")
        packed = weights[f"{module}.weight"]
        weights[f"{module}.weight"] = dequantize(
            packed, scales, biases, layer["bits"], dtype or scales.dtype
        )
    return weights


def dequantize(packed: Any, scales: Any, biases: Any, bits: int, dtype: Any) -> Any:
    """Return the weights of one layer, computed in float32.

    Args:
        packed: uint32 [rows, columns · bits / 32].
        scales: [rows, groups].
        biases: [rows, groups].
        bits: Bits of a weight.
        dtype: The torch number format of the result.
    """
    import numpy as np
    import torch

    rows, columns = packed.shape[0], packed.shape[1] * 32 // bits
    weights = torch.empty((rows, columns), dtype=dtype)
    digits = (1 << np.arange(bits)).astype(np.uint8)
    step = max(1, _WEIGHTS // columns)
    for at in range(0, rows, step):
        part = slice(at, at + step)
        stream = np.unpackbits(packed[part].numpy().view(np.uint8), axis=-1, bitorder="little")
        q = torch.from_numpy(stream.reshape(-1, bits) @ digits).float()
        groups = q.view(-1, scales.shape[1], columns // scales.shape[1])
        values = groups * scales[part].float()[..., None] + biases[part].float()[..., None]
        weights[part] = values.view(-1, columns).to(dtype)
    return weights
