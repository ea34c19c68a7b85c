"""A LoRA adapter as GGUF, added to the weights of a GGUF file.

Both name their tensors alike, so that no architecture need be known: a tensor of the file is
unpacked to float32, and scale · alpha / rank · B·A is added (src/llama-adapter.cpp).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tunegate.harness.models.gguf_format.file import GgufFile, read_gguf
from tunegate.harness.records.errors import ModelError

_PAIR = (".lora_a", ".lora_b")


def parse_scale(spec: str, text: str) -> float:
    """Return by what an adapter is multiplied."""
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not math.isfinite(scale):
        raise ModelError(f"{spec}: scale={text!r} is not a number")
    return scale


def read_lora(path: Path, base: GgufFile) -> GgufFile:
    """Read an adapter of a model."""
    file = read_gguf(path)
    if file.fields.get("general.type") != "adapter" or file.fields.get("adapter.type") != "lora":
        raise ModelError(f"{path}: not a LoRA adapter; make one with --artifacts gguf_lora")
    if file.architecture != base.architecture:
        raise ModelError(
            f"{path}: an adapter of a {file.architecture} model, and {base.path} is "
            f"{base.architecture}; name the file that it was made for"
        )
    if "adapter.alora.invocation_tokens" in file.fields:
        raise ModelError(f"{path}: an activated LoRA (aLoRA) acts only behind its own tokens")
    for name, tensor in file.tensors.items():
        weight = base.tensors.get(_weight_name(name))
        # Of A the first number is the weight's input, of B the second its output.
        place = int(name.endswith(_PAIR[1]))
        if weight is None or tensor.shape[place] != weight.shape[place]:
            raise ModelError(
                f"{path}: tensor {name} has no place in {base.path}; name the file that the "
                "adapter was made for"
            )
    return file


def _weight_name(name: str) -> str:
    return name.removesuffix(_PAIR[0]).removesuffix(_PAIR[1])


def write_merged(base: GgufFile, lora: GgufFile, scale: float, out: Path) -> None:
    """Write a GGUF file with the adapter in its weights; tensors without it stay as stored."""
    from gguf import GGUFValueType, GGUFWriter, dequantize

    alpha = float(lora.fields["adapter.lora.alpha"])
    pairs: dict[str, dict[str, Any]] = {}
    for name, tensor in lora.tensors.items():
        values = dequantize(tensor.data, tensor.tensor_type)
        pairs.setdefault(_weight_name(name), {})[name[-1]] = values
    writer = GGUFWriter(out, base.architecture)
    for key, field in base.kinds.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        inner = field[-1] if field[0] is GGUFValueType.ARRAY else None
        writer.add_key_value(key, base.fields[key], field[0], inner)
    for name, tensor in base.tensors.items():
        if name not in pairs:
            writer.add_tensor(name, tensor.data, raw_dtype=tensor.tensor_type)
            continue
        a, b = pairs[name]["a"], pairs[name]["b"]
        step = alpha / a.shape[0] if alpha else 1.0
        weight = dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(name, weight + (scale * step) * (b @ a))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
