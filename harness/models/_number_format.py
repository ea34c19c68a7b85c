"""Number formats: in what a model computes, and in what its files store the weights."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from tunegate.harness.models.mlx_format.quantized import mlx_quantization, quantization_name


def number_format(model: Any) -> str:
    """Return in what the model computes, and that its weights are rounded further where they are.

    Only a plain `float32` counts as exact arithmetic (`tunegate.harness.engine.plan`).
    """
    computed = str(model.dtype).removeprefix("torch.")
    config = getattr(model.config, "quantization_config", None)
    method = getattr(config, "quant_method", None)
    if method is None:
        return computed
    bits = "4-bit " if getattr(config, "load_in_4bit", False) else ""
    return f"{computed}, {bits}{getattr(method, 'value', method)}"


_FORMATS = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def stored_format(folder: Path, config: Any) -> str | None:
    """Return in what the folder's weights are stored; None if it is unknown."""
    if settings := mlx_quantization(folder):
        return quantization_name(settings)
    quantised = getattr(config, "quantization_config", None)
    if quantised is not None:
        return quantisation_name(quantised)
    sizes: Counter[str] = Counter()
    for path in folder.glob("*.safetensors"):
        sizes += _sizes(path)
    if not sizes:
        return None
    commonest = sizes.most_common(1)[0][0]
    return _FORMATS.get(commonest, commonest.lower())


def quantisation_name(config: Any) -> str:
    """Return the format of a quantisation's configuration, such as `nf4 (bitsandbytes)`."""
    method = getattr(config, "quant_method", "quantised")
    name = str(getattr(method, "value", method))
    if getattr(config, "load_in_4bit", False):
        return f"{config.bnb_4bit_quant_type} ({name})"
    return f"8-bit ({name})" if getattr(config, "load_in_8bit", False) else name


def _sizes(path: Path) -> Counter[str]:
    """Return number format → weights in it."""
    from safetensors import safe_open

    weights: Counter[str] = Counter()
    with safe_open(path, framework="pt") as tensors:
        for key in tensors.keys():  # noqa: SIM118  # safe_open is not a mapping
            tensor = tensors.get_slice(key)
            weights[tensor.get_dtype()] += math.prod(tensor.get_shape())
    return weights
