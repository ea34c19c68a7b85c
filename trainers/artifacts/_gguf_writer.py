"""GGUF writer: an adapter merged into its base and written as one file.

Writing a Llama model as a GGUF file, with the numbers of llama.cpp's own converter. The format's
package packs and quantises; here stand the names, the order in which llama.cpp wants the rows of q
and k, and the metadata. A model that the file could not hold exactly is refused: another
architecture, a bias, positions scaled in a way that is not written here.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tunegate.harness.checks.weight_files import read_json, refuse_unsafe
from tunegate.harness.errors import ModelError, UsageError
from tunegate.harness.models._model_folder import need
from tunegate.trainers.artifacts import _gguf_export
from tunegate.trainers.artifacts._gguf_export import Source, head_width, plan
from tunegate.trainers.artifacts._merge import save_merged


def save_gguf(base: Path, adapter: Path, out: Path, quantisation: str) -> str:
    """Merge in float32, write the file and return its model spec.

    The file carries the tokenizer and the chat template of the tuned arm.
    """
    path = out / f"model-{quantisation.lower()}.gguf"
    with tempfile.TemporaryDirectory(dir=out, prefix="whole-") as whole:
        save_merged(base, adapter, Path(whole), dtype="float32")
        write(Path(whole), path, quantisation)
    return f"gguf:{path}"


QUANTISATIONS = ("F32", "F16", "BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")
"""Those that the format's package can write; K-quants are made by llama.cpp's own tools."""


def write(folder: Path, path: Path, quantisation: str) -> None:
    """Write the model in `folder` as the GGUF file `path`.

    Args:
        folder: A Llama model folder with safetensors and a tokenizer, without adapters.
        path: The file to be written.
        quantisation: How matrices are stored, one of `QUANTISATIONS`; vectors stay in float32.

    Raises:
        UsageError: the quantisation is unknown.
        ModelError: the model cannot be held by the file.
    """
    need("torch", "transformers")
    need("gguf", what="a GGUF file", extra="gguf")
    if quantisation not in QUANTISATIONS:
        raise UsageError(
            f"quantisation={quantisation!r} cannot be written; {', '.join(QUANTISATIONS)}"
        )
    refuse_unsafe(folder)
    config = _config(folder)
    sources = list(plan(folder, config))
    from gguf import GGUFWriter
    from gguf.quants import quantize

    writer = GGUFWriter(None, "llama")
    _describe(writer, config, folder, quantisation)
    _gguf_export.describe(writer, folder, int(config["vocab_size"]))
    for source in sources:
        _announce(writer, source, _stored(source.shape, quantisation))
    try:
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for source in sources:
            kind = _stored(source.shape, quantisation)
            writer.write_tensor_data(quantize(source.values(config), kind))
    finally:
        writer.close()


def _config(folder: Path) -> dict[str, Any]:
    """Return the configuration with its defaults; refuse what is no plain Llama."""
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


def _stored(shape: tuple[int, ...], quantisation: str) -> Any:
    """Return how a tensor is stored: vectors, and rows that do not fill a block, in float32."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    kind = GGMLQuantizationType[quantisation]
    whole = len(shape) > 1 and shape[-1] % GGML_QUANT_SIZES[kind][0] == 0
    return kind if whole else GGMLQuantizationType.F32


def _announce(writer: Any, source: Source, kind: Any) -> None:
    """Add a tensor's line to the table in front of the data."""
    from gguf import GGML_QUANT_SIZES

    block, size = GGML_QUANT_SIZES[kind]
    nbytes = math.prod(source.shape) // block * size
    writer.add_tensor_info(source.name, source.shape, np.dtype(np.float32), nbytes, raw_dtype=kind)
