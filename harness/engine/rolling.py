"""How many bits the model needs for each byte of a text, whatever its tokenizer.

A text longer than the context is read in windows that do not overlap; each begins after the last
token of the one before, as lm-eval's `loglikelihood_rolling` does it. What stands before the first
token is the begin marker, or the end marker where a tokenizer has no other.

Source: bits = -sum of log2 p(token | what is before it in the window); divided by the text's length
in UTF-8 bytes, so that models with other tokenizers can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from harness.engine.levers import ALL, Levers
from harness.engine.loglikelihood import Continuation, score
from harness.model import LocalArm, Prompt

LONGEST = 2048
"""Tokens of a window where the model has no limit of its own."""


def bits_per_byte(
    arm: LocalArm, model: Any, texts: Sequence[Prompt], levers: Levers = ALL
) -> list[float]:
    """Return the bits per byte of each text.

    Args:
        arm: Gives tokenizer and context length.
        model: The torch model, switched to the arm.
        texts: Texts with their token ids, at least one token each.
        levers: Whether shared prefixes are computed once.
    """
    places = [(i, window) for i, text in enumerate(texts) for window in _windows(arm, text)]
    contexts = [Prompt("", context) for _, (context, _) in places]
    wanted = [Continuation(row, read) for row, (_, (_, read)) in enumerate(places)]
    totals = [0.0] * len(texts)
    for (i, _), value in zip(places, score(arm, model, contexts, wanted, levers), strict=True):
        totals[i] += value
    return [
        -total / (math.log(2) * len(text.text.encode("utf-8")))
        for total, text in zip(totals, texts, strict=True)
    ]


def _windows(arm: LocalArm, text: Prompt) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield (what stands before, tokens to be read) until all are read once."""
    ids = tuple(text.token_ids or ())
    first = arm.tokenizer.bos_token_id
    marker = min(arm.stop_ids) if first is None else int(first)
    if len(ids) > 1 and ids[0] == marker:
        ids = ids[1:]  # the tokenizer put the marker there itself
    size = arm.context_length or LONGEST
    before = marker
    for start in range(0, len(ids), size):
        window = ids[start : start + size]
        yield (before,), window
        before = window[-1]
