"""What a model says when nothing is clever: one prompt alone, one whole forward a token."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any


def logits(model: Any, ids: Sequence[int]) -> Any:
    """The logits behind each of the tokens, [tokens, vocabulary], computed without a cache."""
    import torch

    whole = torch.tensor([list(ids)])
    with torch.inference_mode():
        found = model(input_ids=whole, attention_mask=torch.ones_like(whole), use_cache=False)
    return found.logits[0, -len(ids) :].float()  # virtual tokens may stand in front


def greedy(model: Any, ids: Sequence[int], n: int, stops: Collection[int]) -> list[int]:
    """The likeliest tokens after a prompt, at most n, without the one that stops."""
    written: list[int] = []
    while len(written) < n:
        token = int(logits(model, [*ids, *written])[-1].argmax())
        if token in stops:
            break
        written.append(token)
    return written


def logprob(model: Any, before: Sequence[int], tokens: Sequence[int]) -> float:
    """The natural-log likelihood of tokens after a prompt, summed."""
    import torch

    found = torch.log_softmax(logits(model, [*before, *tokens]), dim=-1)
    first = len(before) - 1
    return math.fsum(float(found[first + i, token]) for i, token in enumerate(tokens))
