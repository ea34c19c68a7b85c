"""The tokenizer of a GGUF file: as llama.cpp splits texts, or a folder's, proven equal.

Transformers builds the vocabulary. How texts are cut before the merges is a name in the file
(`tokenizer.ggml.pre`); Transformers takes GPT-2's rule for names that it does not know, and numbers
would be split otherwise than in training, without an error. Here an unknown name is refused.
"""

from __future__ import annotations

import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

from tunegate.harness.models._load_model import load_tokenizer
from tunegate.harness.models._model_folder import prefix_errors
from tunegate.harness.models.gguf_format.file import GgufFile
from tunegate.harness.records.errors import ModelError

_LIKE_GPT2 = (
    "gpt-2", "phi-2", "gigachat", "a.x-4.0", "mellum", "exaone4", "mpt", "olmo", "jais", "trillion",
)  # fmt: skip
_DIGITS_ALONE = (
    "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b",
)  # fmt: skip
"""Names under which llama.cpp cuts every digit off before GPT-2's rule."""
_LIKE_LLAMA3 = (
    "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
    "tekken",
)  # fmt: skip
"""Names under which a word that is in the vocabulary stays whole, whatever the merges are, and a
text begins with the bos token unless the file states otherwise."""
_UNUSED = 5
"""Token type of the ids that only fill the vocabulary up."""


def gguf_tokenizer(file: GgufFile, folder: Path | None) -> Any:
    """Return the tokenizer that the file describes, or `folder`'s with the file's chat template."""
    if folder is None:
        return _own_tokenizer(file)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; ?tokenizer= names a folder with a tokenizer")
    theirs = load_tokenizer(folder)
    _refuse_other_vocabulary(file, theirs, folder)
    template = file.fields.get("tokenizer.chat_template")
    if template:
        theirs.chat_template = template
    return theirs


def _own_tokenizer(file: GgufFile) -> Any:
    from transformers import PreTrainedTokenizerFast
    from transformers.integrations.gguf.gguf_tokenizer_mapping import (
        convert_gguf_tokenizer,
        get_gguf_tokenizer,
    )

    if "tokenizer.ggml.tokens" not in file.fields:
        raise ModelError(
            f"{file.path}: the file holds no vocabulary; name a folder that has the tokenizer: "
            f"gguf:{file.path}?tokenizer=DIR"
        )
    with prefix_errors(f"{file.path}: no usable tokenizer"):
        architecture, parts, settings = get_gguf_tokenizer(str(file.path))
        backend, _ = convert_gguf_tokenizer(architecture, parts)
        if parts.get("tokenizer_type") == "gpt2":
            _cut_as_named(file, backend)
        settings = _added_tokens(file, parts["tokenizer_type"]) | settings
        whole = _within(backend, len(parts["tokens"]))
        tokenizer: Any = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # it has no types
            tokenizer_object=whole, **settings
        )
    tokenizer.padding_side = "left"
    return tokenizer


def _added_tokens(file: GgufFile, kind: str) -> dict[str, bool]:
    """Return which tokens are put around every text, by the file or by llama.cpp's default.

    Transformers before 5.23 reads none of this.
    """
    if kind == "gemma4":  # its template writes the token
        return {"add_bos_token": False}
    flags = ("add_bos_token", "add_eos_token")
    stated = {flag: file.fields.get(f"tokenizer.ggml.{flag}") for flag in flags}
    llama3 = file.fields.get("tokenizer.ggml.pre") in _LIKE_LLAMA3
    default = {"add_bos_token": True} if kind == "llama" or llama3 else {}
    return default | {flag: bool(value) for flag, value in stated.items() if value is not None}


def _within(backend: Any, size: int) -> Any:
    """Return the tokenizer without tokens that the model has no embedding for.

    Transformers adds GPT-2's `<|endoftext|>` behind a vocabulary that lacks it.
    """
    from tokenizers import Tokenizer

    parts = json.loads(backend.to_str())
    parts["added_tokens"] = [entry for entry in parts["added_tokens"] if entry["id"] < size]
    return Tokenizer.from_str(json.dumps(parts))


def _cut_as_named(file: GgufFile, backend: Any) -> None:
    """Set how texts are split before the merges; refuse an unknown name."""
    from tokenizers import pre_tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    name = file.fields.get("tokenizer.ggml.pre")
    if name in _DIGITS_ALONE:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
    elif name not in _LIKE_GPT2 and name not in GGUF_PRE_TOKENIZER_SPLITS:
        raise ValueError(
            f"tokenizer.ggml.pre={name!r} names a way of splitting that is not known here; name a "
            f"folder that has the tokenizer: gguf:{file.path}?tokenizer=DIR"
        )
    if name in _LIKE_LLAMA3:
        backend.model.ignore_merges = True


def _refuse_other_vocabulary(file: GgufFile, theirs: Any, folder: Path) -> None:
    """Raise ModelError at the first id that stands for another token in the folder."""
    tokens = list(file.fields.get("tokenizer.ggml.tokens", ()))
    types = file.fields.get("tokenizer.ggml.token_type", ())
    by_id = {number: token for token, number in theirs.get_vocab().items()}
    while tokens and len(tokens) - 1 not in by_id and types[len(tokens) - 1 :] == [_UNUSED]:
        tokens.pop()
        types = types[: len(tokens)]
    ours = [by_id.get(number) for number in range(max(by_id, default=-1) + 1)]
    for number, (wanted, own_token) in enumerate(zip_longest(tokens, ours)):
        if wanted != own_token:
            raise ModelError(
                f"{folder}: id {number} is {own_token!r}, and {wanted!r} in {file.path}; name the "
                "tokenizer of the model that the file was made of"
            )
