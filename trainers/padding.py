"""Padding for trainers that take every padding token for absent, as TRL's PPO does.

Many chat models pad with the token that ends a turn. There the ends of turns would be hidden in the
prompts, and never be learnt in the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.errors import UsageError


def apart(tokenizer: Any, used: Sequence[Sequence[int]]) -> str | None:
    """Pad with a token that is not the end of a text, and return what padded before.

    Args:
        tokenizer: is changed.
        used: token ids of the prompts; a token among them is not taken.

    Raises:
        UsageError: the vocabulary has no special token to spare.
    """
    before: str | None = tokenizer.pad_token
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id not in (None, tokenizer.eos_token_id):
        return before
    taken = {tokenizer.eos_token_id, *(token for ids in used for token in ids)}
    added = tokenizer.added_tokens_decoder.items()
    free = [token for number, token in sorted(added) if token.special and number not in taken]
    if not free:
        raise UsageError(
            "the tokenizer pads with its end marker and has no special token to spare; "
            "give it a pad_token of its own"
        )
    tokenizer.pad_token = str(free[0])
    return before


def put_back(pad: str | None) -> Any:
    """Return a callback that gives the tokenizer its padding back before it is saved."""
    from transformers import TrainerCallback

    class PutBack(TrainerCallback):
        def on_train_end(self, *_: Any, processing_class: Any = None, **__: Any) -> None:
            processing_class.pad_token = pad

    return PutBack()
