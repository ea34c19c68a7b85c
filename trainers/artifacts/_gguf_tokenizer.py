"""The tokenizer of a GGUF file: tokens, merges, special ids and chat template."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.models._load_model import load_tokenizer
from tunegate.harness.models.adapters.weight_files import read_json
from tunegate.harness.records.errors import ModelError

_BY_NAME = ("llama-bpe", "qwen2", "tekken", "gpt-4o")
"""Names whose rule is one regular expression, as Transformers knows it."""

_ELSEWHERE = "use llama.cpp's convert_hf_to_gguf.py and give the file as gguf:FILE"


def describe_tokenizer(writer: Any, folder: Path, size: int) -> None:
    """Add the tokenizer of `folder` to a GGUF file of a model with `size` embeddings.

    Raises:
        ModelError: llama.cpp could not split texts as this tokenizer does.
    """
    tokenizer = load_tokenizer(folder)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    parts = json.loads(backend.to_str()) if backend is not None else {}
    if parts.get("model", {}).get("type") != "BPE" or parts.get("normalizer"):
        raise ModelError(
            f"{folder}: only plain byte-level BPE tokenizers are written; {_ELSEWHERE}"
        )
    tokens, types = _tokens(parts, size, folder)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre(parts, folder))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    merges = [m if isinstance(m, str) else " ".join(m) for m in parts["model"]["merges"]]
    writer.add_token_merges(merges)
    _add_special(writer, tokenizer, folder)
    if tokenizer.chat_template:
        if not isinstance(tokenizer.chat_template, str):
            raise ModelError(f"{folder}: several chat templates; keep the one that is used")
        writer.add_chat_template(tokenizer.chat_template)


def _tokens(parts: Any, size: int, folder: Path) -> tuple[list[str], list[int]]:
    """Return every id's token and type; ids without a token fill the file up."""
    from gguf import TokenType

    added = {entry["id"]: entry for entry in parts["added_tokens"]}
    by_id = {number: token for token, number in parts["model"]["vocab"].items()}
    by_id.update({number: entry["content"] for number, entry in added.items()})
    if max(by_id) >= size:
        raise ModelError(
            f"{folder}: the tokenizer has id {max(by_id)}, and the model {size} embeddings; "
            "resize the embeddings to the tokenizer and save the model again"
        )
    tokens, types = [], []
    for number in range(size):
        kind = TokenType.UNUSED
        if number in added:
            kind = TokenType.CONTROL if added[number]["special"] else TokenType.USER_DEFINED
        elif number in by_id:
            kind = TokenType.NORMAL
        tokens.append(by_id.get(number, f"[PAD{number}]"))
        types.append(int(kind))
    return tokens, types


def _pre(parts: Any, folder: Path) -> str:
    """Return llama.cpp's name for how the tokenizer cuts texts before the merges."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    steps = parts["pre_tokenizer"] or {}
    steps = steps.get("pretokenizers", [steps])
    last = steps[-1]
    if last.get("type") == "ByteLevel" and not last["add_prefix_space"]:
        before = steps[:-1]
        if last["use_regex"]:
            if not before:
                return "gpt-2"
            if before == [{"type": "Digits", "individual_digits": True}]:
                return "smollm"
        elif len(before) == 1 and before[0]["type"] == "Split" and not before[0]["invert"]:
            rule = before[0]["pattern"].get("Regex")
            for name in _BY_NAME:
                whole = parts["model"]["ignore_merges"] == (name in ("llama-bpe", "tekken"))
                if rule == GGUF_PRE_TOKENIZER_SPLITS[name] and whole:
                    return name
    raise ModelError(f"{folder}: its way of cutting texts has no name in llama.cpp; {_ELSEWHERE}")


def _add_special(writer: Any, tokenizer: Any, folder: Path) -> None:
    bos = tokenizer.bos_token_id
    if bos is not None:
        writer.add_bos_token_id(bos)
    writer.add_add_bos_token(bos is not None and tokenizer("a")["input_ids"][0] == bos)
    writer.add_add_space_prefix(False)
    if tokenizer.pad_token_id is not None:
        writer.add_pad_token_id(tokenizer.pad_token_id)
    stops = _stop_ids(tokenizer, folder)
    adders = (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id)
    if not 1 <= len(stops) <= len(adders):
        raise ModelError(
            f"{folder}: eos_token_id={stops}: a GGUF file names one to {len(adders)} ids that end "
            "a text; shorten the list in generation_config.json"
        )
    for add, number in zip(adders, stops, strict=False):
        add(number)


def _stop_ids(tokenizer: Any, folder: Path) -> Sequence[int]:
    """Return the ids that end a text, the tokenizer's own first."""
    path = folder / "generation_config.json"
    configured = read_json(path).get("eos_token_id") if path.is_file() else None
    listed = configured if isinstance(configured, list) else [configured]
    found = [i for i in (tokenizer.eos_token_id, *listed) if i is not None]
    return list(dict.fromkeys(found))
