"""Sequences being decoded: which word is the likeliest."""

from __future__ import annotations

import pytest

from tunegate.harness.engine.inference.sequence import likeliest_words


@pytest.mark.parametrize("words", [49152, 32000, 50257, 96, 7])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_likeliest_word_is_that_of_argmax(words: int, dtype: str) -> None:
    import torch

    torch.manual_seed(words)
    logits = torch.randn(3, 2, words).to(getattr(torch, dtype))
    logits[0, 0, words // 2 :] = 9.0  # as in a vocabulary with rows that are all alike
    logits[1, 0, -1] = logits[1, 0, words // 3] = 11.0
    logits[1, 1] = -torch.inf
    logits[2, 0, words // 5] = torch.nan
    logits[2, 1, 0] = torch.inf

    assert torch.equal(likeliest_words(logits), logits.argmax(dim=-1))
    assert torch.equal(likeliest_words(logits[:, -1]), logits[:, -1].argmax(dim=-1))
