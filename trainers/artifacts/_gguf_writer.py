"""A Llama model folder written as a GGUF file, with the numbers of llama.cpp's own converter.

The `gguf` package packs and quantizes; here are the tensor names, the row order that llama.cpp
wants for q and k, and the metadata. A model that the file could not hold exactly is refused:
another architecture, a bias, an unknown scaling of positions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tunegate.harness.contracts import environment
from tunegate.harness.models._model_folder import require_modules
from tunegate.harness.models.adapters.weight_files import read_json, refuse_unsafe
from tunegate.harness.records.errors import ModelError, UsageError
from tunegate.trainers.artifacts._gguf_tokenizer import describe_tokenizer

QUANTISATIONS = ("F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")
"""Those that the format's package can write."""


def write_gguf(folder: Path, path: Path, quantisation: str) -> None:
    """Write the model in `folder` as the GGUF file `path`.

    Args:
        folder: A Llama model folder with safetensors and a tokenizer, without adapters.
        path: The file to be written.
        quantisation: How matrices are stored, one of `QUANTISATIONS`; vectors stay in float32.

    Raises:
        UsageError: the quantisation is unknown.
        ModelError: the model cannot be held by the file.
    """
    require_modules("torch", "transformers")
    require_modules("gguf", what="a GGUF file", extra="gguf")
    if quantisation not in QUANTISATIONS:
        raise UsageError(
            f"quantisation={quantisation!r} cannot be written; {', '.join(QUANTISATIONS)}"
        )
    refuse_unsafe(folder)
    environment.require_feature("gguf", str(path))
    config = _config(folder)
    sources = list(plan_tensors(folder, config))
    from gguf import GGUFWriter
    from gguf.quants import quantize

    writer = GGUFWriter(None, "llama")
    _describe(writer, config, folder, quantisation)
    describe_tokenizer(writer, folder, int(config["vocab_size"]))
    for source in sources:
        _announce(writer, source, _tensor_type(source.shape, quantisation))
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for source in sources:
            kind = _tensor_type(source.shape, quantisation)
            writer.write_tensor_data(quantize(source.values(config), kind))
    finally:
        writer.close()


def _config(folder: Path) -> dict[str, Any]:
    """Return the configuration with its defaults; refuse anything but a plain Llama."""
    from transformers import AutoConfig

    raw = read_json(folder / "config.json")
    kind = raw.get("model_type") if isinstance(raw, dict) else None
    if kind != "llama":
        raise ModelError(
            f"{folder}: model_type={kind!r} cannot be written as GGUF here, only 'llama'; use "
            "llama.cpp's convert_hf_to_gguf.py and give the file as gguf:FILE"
        )
    config: dict[str, Any] = AutoConfig.from_pretrained(folder, trust_remote_code=False).to_dict()
    for key, allowed in _PLAIN.items():
        if config.get(key) not in allowed:
            raise ModelError(
                f"{folder}: {key}={config[key]!r} cannot be written as GGUF here; use llama.cpp's "
                "convert_hf_to_gguf.py and give the file as gguf:FILE"
            )
    return config


_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "hidden_act": ("silu",),
    "quantization_config": (None,),
}


def _describe(writer: Any, config: Mapping[str, Any], folder: Path, quantisation: str) -> None:
    from gguf import GGML_QUANT_VERSION, LlamaFileType

    head = head_width(config)
    share = "ALL" if quantisation == "F32" else "MOSTLY"
    writer.add_name(folder.name)
    writer.add_file_type(LlamaFileType[f"{share}_{quantisation}"])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def _tensor_type(shape: tuple[int, ...], quantisation: str) -> Any:
    """Return how a tensor is stored: vectors, and rows that do not fill a block, in float32."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    kind = GGMLQuantizationType[quantisation]
    whole = len(shape) > 1 and shape[-1] % GGML_QUANT_SIZES[kind][0] == 0
    return kind if whole else GGMLQuantizationType.F32


def _announce(writer: Any, source: TensorSource, kind: Any) -> None:
    """Add a tensor's line to the table in front of the data."""
    from gguf import GGML_QUANT_SIZES

    block, size = GGML_QUANT_SIZES[kind]
    nbytes = math.prod(source.shape) // block * size
    writer.add_tensor_info(source.name, source.shape, np.dtype(np.float32), nbytes, raw_dtype=kind)


FREQUENCIES = "rope_freqs.weight"
"""By what each rotary frequency is divided, where positions are scaled as in Llama 3."""


@dataclass(frozen=True, slots=True)
class TensorSource:
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
            return _reorder_rotary(self.name, file.get_tensor(self.key).float().numpy(), config)


def head_width(config: Mapping[str, Any]) -> int:
    """Return the width of an attention head."""
    given = config.get("head_dim")
    return int(given or config["hidden_size"] // config["num_attention_heads"])


def plan_tensors(folder: Path, config: Mapping[str, Any]) -> Iterator[TensorSource]:
    """Yield where every tensor of the file comes from.

    Raises:
        ModelError: a tensor has no place in the file, or positions are scaled in another way.
    """
    from gguf import MODEL_ARCH, get_tensor_name_map
    from safetensors import safe_open

    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    if _frequencies(config, folder) is not None:
        yield TensorSource(FREQUENCIES, (head_width(config) // 2,), folder)
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
                yield TensorSource(name, tuple(file.get_slice(key).get_shape()), path, key)


def _reorder_rotary(name: str, values: Any, config: Mapping[str, Any]) -> Any:
    """Return q and k with their rows in llama.cpp's order: rotary pairs next to each other."""
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
