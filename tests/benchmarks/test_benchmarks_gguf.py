"""The comparison of the two engines of a GGUF file, on numbers by hand."""

from __future__ import annotations

import pytest

from benchmarks.gguf_engines import Apart, apart
from tunegate.harness.records.cases import Completion


def test_texts_and_likelihoods_are_compared() -> None:
    """One of two texts is equal; 0.1 and 0.3 nats apart are 0.2 on average."""
    texts = [
        [Completion(text="a"), Completion(text="b")],
        [Completion(text="a"), Completion(text="c")],
    ]
    scores = [
        [Completion(answer_logprob=-1.0), Completion(answer_logprob=-2.0)],
        [Completion(answer_logprob=-1.1), Completion(answer_logprob=-1.7)],
    ]

    assert apart(texts, scores) == Apart(2, 1, pytest.approx(0.2), pytest.approx(0.3))
