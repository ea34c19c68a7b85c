"""A text that comes in pieces is masked as the whole text is."""

from __future__ import annotations

import random

import pytest

from tunegate.harness.production.guardrail import masking as masking_module
from tunegate.harness.production.guardrail.masking import TextMasking, mask_text
from tunegate.harness.production.guardrail.settings import KINDS

_DRAWN = random.Random(7)
TOKEN = "".join(_DRAWN.choices("abcdefghijkmnpqrstuvwxyzABCDEFGH23456789", k=52))
KEY = "\n".join(
    ["-----BEGIN PRIVATE KEY-----", *[TOKEN[:48] + "0" * 16] * 20, "-----END PRIVATE KEY-----"]
)
TEXTS = {
    "groq": f"Here it is, as you asked for it: gsk_{TOKEN}. Keep it to yourself, will you?",
    "named long before": f"so aws_secret_access_key        =  {TOKEN[:40]} is the one "
    + "x y " * 40,
    "long value": f"the api token in our settings: {TOKEN * 2} and that is all there is to say",
    "private key": f"the key\n{KEY}\nand so on, and so forth, and more than sixty-four characters",
    "cut private key": f"the key\n{KEY[:700]}",
    "address": f"use https://jo:{TOKEN[:12]}@example.org/a and jo@example.org " + "a b " * 30,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_stream_is_masked_as_the_whole_text(text: str) -> None:
    whole = mask_text(text, KINDS)
    assert TOKEN[:12] not in whole
    for seed in range(20):
        drawn = random.Random(seed)
        masking, sent, at = TextMasking(KINDS), "", 0
        while at < len(text):
            size = drawn.choice((1, 3, 10, 40))
            sent += masking.feed(text[at : at + size])
            at += size
        assert sent + masking.flush() == whole


def test_a_piece_is_searched_only_if_it_lets_a_part_be_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    searched: list[str] = []
    find = masking_module.personal_values
    monkeypatch.setattr(
        masking_module, "personal_values", lambda text: (searched.append(text), find(text))[1]
    )
    masking = TextMasking(KINDS)
    for piece in ["-----BEGIN PRIVATE KEY-----\n", *["a b c "] * 100]:
        assert masking.feed(piece) == ""
    assert not searched
