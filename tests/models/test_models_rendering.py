"""What makes two tokenizers one: how they split texts, and nothing else."""

from __future__ import annotations

import json
from typing import Any

from harness.models._rendering import fingerprint_of

MODEL = {
    "type": "BPE",
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "vocab": {"a": 0, "b": 1, "ab": 2},
    "merges": [["a", "b"]],
}


def tokenizer(**changed: Any) -> Any:
    """Return a tokenizer of three tokens whose model has some fields changed."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    told = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": None,
        "model": {**MODEL, **changed},
    }
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(told)))


def test_how_an_absent_prefix_is_written_makes_no_other_tokenizer() -> None:
    """Null and an empty text both say that there is none."""
    written = tokenizer(continuing_subword_prefix="", end_of_word_suffix="")

    assert fingerprint_of(written) == fingerprint_of(tokenizer())


def test_the_call_before_makes_no_other_tokenizer() -> None:
    """A call that truncates leaves its setting in the tokenizer, which the next call replaces."""
    used = tokenizer()
    used("abab", truncation=True, max_length=1)

    assert json.loads(used.backend_tokenizer.to_str())["truncation"] is not None
    assert fingerprint_of(used) == fingerprint_of(tokenizer())


def test_another_merge_is_another_tokenizer() -> None:
    """Without its merge, `ab` is two tokens."""
    other = tokenizer(merges=[])

    assert other("ab")["input_ids"] != tokenizer()("ab")["input_ids"]
    assert fingerprint_of(other) != fingerprint_of(tokenizer())
