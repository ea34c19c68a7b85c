"""What a GGUF file states of its model: the keys that llama.cpp's converter writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunegate.harness.models._model_contents import ModelContents, part_kind
from tunegate.harness.models._weight_parts import weight_parts
from tunegate.harness.models.gguf_format.file import GgufFile, read_gguf

_SPECIAL = (3, 4)
"""Token types of control and user-defined tokens (`gguf.TokenType`)."""
_FACTORS = {"rope_freqs.weight": "llama3", "rope_factors_long.weight": "longrope"}
"""Tensor → the kind of rotary scaling that it holds."""


def gguf_contents(path: Path) -> ModelContents:
    """Return what a GGUF file states."""
    file = read_gguf(path)
    names = list(file.tensors)
    parts = {part: part_kind(part, of) for part, of in weight_parts(names).items()}
    kinds = {kind for kind in parts.values() if kind} | {part_kind("", names)} - {""}
    texts = [str(text) for text in file.fields.get("tokenizer.ggml.tokens", ())]
    types = file.fields.get("tokenizer.ggml.token_type", ())
    special = {
        t: i for i, (t, kind) in enumerate(zip(texts, types, strict=False)) if kind in _SPECIAL
    }
    context = _field(file, "context_length")
    embedding = file.tensors.get("token_embd.weight")
    return ModelContents(
        path,
        kinds=frozenset(kinds),
        experts=int(_field(file, "expert_count") or 0),
        context=None if context is None else int(context),
        rope=_rope(file),
        rows=None if embedding is None else int(embedding.shape[-1]),
        tokens=special if texts else None,
        last_token=len(texts) - 1 if texts else None,
        stops=frozenset(file.stop_ids),
        templates=dict(_templates(file)),
    )


def _field(file: GgufFile, key: str) -> Any:
    return file.fields.get(f"{file.architecture}.{key}")


def _rope(file: GgufFile) -> dict[str, frozenset[Any]]:
    found = {"rope_theta": {_field(file, "rope.freq_base"), _field(file, "rope.freq_base_swa")}}
    scaling = _field(file, "rope.scaling.type")
    kinds = {kind for tensor, kind in _FACTORS.items() if tensor in file.tensors}
    found["rope_type"] = kinds | ({scaling} if scaling not in (None, "none") else set())
    found["factor"] = {_field(file, "rope.scaling.factor")}
    return {name: frozenset(values - {None}) for name, values in found.items() if values - {None}}


def _templates(file: GgufFile) -> Iterator[tuple[str, str]]:
    for key, value in file.fields.items():
        if key == "tokenizer.chat_template":
            yield "default", str(value)
        elif key.startswith("tokenizer.chat_template."):
            yield key.removeprefix("tokenizer.chat_template."), str(value)
