"""Bits per byte: the log-likelihood of whole texts, in windows, against one plain forward."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.tiny_models import ARCHITECTURES, CONTEXT
from tunegate.harness.engine.inference import local_engine
from tunegate.harness.records.cases import Case

TEXTS = ("the parcel is late and the customer wants a refund", "é", "a refund " * 60)


def _bits(arm: Any, ask: Any, texts: tuple[str, ...]) -> list[float]:
    cases = [Case(id=str(i), prompt=text) for i, text in enumerate(texts)]
    answers = {a.key: a for a in local_engine.complete_requests(arm, ask(arm, cases, "text"))}
    return [answers[case.id].completion.bits_per_byte for case in cases]


def _plain(arm: Any, text: str) -> float:
    """Return bits per byte by one forward a window, the whole logits at once."""
    import torch

    marker = arm.tokenizer.bos_token_id
    ids = arm.tokenizer(text)["input_ids"]
    total, before = 0.0, marker
    with arm.active() as model, torch.inference_mode():
        for start in range(0, len(ids), CONTEXT):
            window = ids[start : start + CONTEXT]
            logits = model(input_ids=torch.tensor([[before, *window[:-1]]])).logits[0]
            logprobs = torch.log_softmax(logits.float(), dim=-1)
            total += float(logprobs[range(len(window)), window].sum())
            before = window[-1]
    return -total / math.log(2) / len(text.encode())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bits_equal_those_of_one_plain_forward(tiny: Any, ask: Any, architecture: str) -> None:
    for arm in tiny.pair(architecture).values():
        assert _bits(arm, ask, TEXTS) == pytest.approx([_plain(arm, t) for t in TEXTS], abs=1e-4)


def test_a_text_longer_than_the_context_is_read_in_windows(tiny: Any, ask: Any) -> None:
    arm = tiny.pair("llama")["base"]
    text = "Madrid and Paris " * 200
    assert len(arm.tokenizer(text)["input_ids"]) > CONTEXT

    assert _bits(arm, ask, (text,)) == pytest.approx([_plain(arm, text)], abs=1e-4)
