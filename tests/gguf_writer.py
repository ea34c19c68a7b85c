"""A tiny Llama folder written as a GGUF file, where no llama.cpp need be installed.

The rows of q and k and the frequencies are in llama.cpp's order, so that what reads GGUF files is
tested against the folder's own logits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_BY_NAME = ("llama-bpe", "qwen2", "tekken", "gpt-4o")


def write_gguf(folder: Path, path: Path, quantisation: str) -> None:
    """Write the model in `folder` as the GGUF file `path`; vectors stay in float32."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter, LlamaFileType
    from gguf.quants import quantize
    from safetensors.numpy import load_file
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder).to_dict()
    writer = GGUFWriter(path, "llama")
    share = "ALL" if quantisation == "F32" else "MOSTLY"
    writer.add_file_type(LlamaFileType[f"{share}_{quantisation}"])
    _describe(writer, config, folder)
    _describe_tokenizer(writer, folder, int(config["vocab_size"]))
    block = GGML_QUANT_SIZES[GGMLQuantizationType[quantisation]][0]
    for name, values in _tensors(load_file(folder / "model.safetensors"), config).items():
        whole = values.ndim > 1 and values.shape[-1] % block == 0
        kind = GGMLQuantizationType[quantisation if whole else "F32"]
        writer.add_tensor(name, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_lora(
    path: Path, *, rank: int, architecture: str = "llama", wide: int = 32, out: int = 16
) -> None:
    """Write an adapter of the first layer's v as GGUF."""
    from gguf import GGUFWriter

    generator = np.random.default_rng(0)
    writer = GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    for name, shape in (("lora_a", (rank, wide)), ("lora_b", (out, rank))):
        values = generator.normal(size=shape).astype(np.float32)
        writer.add_tensor(f"blk.0.attn_v.weight.{name}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: Any, config: Mapping[str, Any], folder: Path) -> None:
    head = head_width(config)
    writer.add_name(folder.name)
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


def head_width(config: Mapping[str, Any]) -> int:
    """Return the width of an attention head."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def _tensors(weights: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    from gguf import MODEL_ARCH, get_tensor_name_map

    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    factors = frequencies(config)
    found = {} if factors is None else {"rope_freqs.weight": factors}
    for key, values in sorted(weights.items()):
        if not (key == "lm_head.weight" and config["tie_word_embeddings"]):
            name = str(names.get_name(key, try_suffixes=(".weight",)))
            found[name] = _reorder_rotary(name, values.astype(np.float32), config)
    return found


def _reorder_rotary(name: str, values: Any, config: Mapping[str, Any]) -> Any:
    """Return q and k with their rotary pairs next to each other."""
    part = name.rpartition(".attn_")[2]
    heads = {"q.weight": "num_attention_heads", "k.weight": "num_key_value_heads"}.get(part)
    if heads is None:
        return values
    pairs = values.reshape(config[heads], 2, -1, values.shape[-1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(values.shape)


def frequencies(config: Mapping[str, Any]) -> Any:
    """Return by what Llama 3 divides each rotary frequency; None where it does not."""
    rope = config["rope_parameters"]
    if rope.get("rope_type", "default") == "default":
        return None
    head = head_width(config)
    exponents = np.arange(0, head, 2, dtype=np.float64) / head
    lengths = 2 * math.pi * rope["rope_theta"] ** exponents
    original = rope["original_max_position_embeddings"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    smooth = np.clip((original / lengths - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / rope["factor"] + smooth)).astype(np.float32)


def _describe_tokenizer(writer: Any, folder: Path, size: int) -> None:
    from gguf import TokenType

    from tunegate.harness.models._load_model import load_tokenizer

    tokenizer = load_tokenizer(folder)
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    added = {entry["id"]: entry for entry in parts["added_tokens"]}
    by_id = {number: token for token, number in parts["model"]["vocab"].items()}
    by_id.update({number: entry["content"] for number, entry in added.items()})
    types = []
    for number in range(size):
        kind = TokenType.NORMAL if number in by_id else TokenType.UNUSED
        if number in added:
            kind = TokenType.CONTROL if added[number]["special"] else TokenType.USER_DEFINED
        types.append(int(kind))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_split_name(parts))
    writer.add_token_list([by_id.get(number, f"[PAD{number}]") for number in range(size)])
    writer.add_token_types(types)
    merges = [m if isinstance(m, str) else " ".join(m) for m in parts["model"]["merges"]]
    writer.add_token_merges(merges)
    bos = tokenizer.bos_token_id
    writer.add_bos_token_id(bos)
    writer.add_add_bos_token(tokenizer("a")["input_ids"][0] == bos)
    writer.add_add_space_prefix(False)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    configured = json.loads((folder / "generation_config.json").read_bytes())["eos_token_id"]
    listed = configured if isinstance(configured, list) else [configured]
    stops = list(dict.fromkeys([tokenizer.eos_token_id, *listed]))
    adders = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
    for add, number in zip(adders, stops, strict=False):
        add(number)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _split_name(parts: Any) -> str:
    """Return llama.cpp's name for how the tokenizer cuts texts before the merges."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    steps = parts["pre_tokenizer"].get("pretokenizers", [parts["pre_tokenizer"]])
    first = steps[0]
    if first["type"] == "Split":
        rule = first["pattern"]["Regex"]
        return next(name for name in _BY_NAME if rule == GGUF_PRE_TOKENIZER_SPLITS[name])
    return "smollm" if first["type"] == "Digits" else "gpt-2"
