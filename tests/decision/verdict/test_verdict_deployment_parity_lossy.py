"""The step between tuned and shipped, told from their identities."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.decision.verdict.parity_sentences import NOTHING, deployment_step

TUNED = {
    "backend": "hf",
    "adapter_sha256": "a",
    "dtype": "float32",
    "stored": "float32",
    "tokenizer_sha256": "t",
    "template_sha256": "c",
}


@pytest.mark.parametrize(
    ("shipped", "words"),
    [
        ({"adapter_sha256": None}, "the adapter merged into the weights"),
        (
            {"adapter_sha256": None, "stored": "bfloat16"},
            "the adapter merged into the weights, the weights stored as bfloat16",
        ),
        (
            {
                "adapter_sha256": None,
                "stored": "nf4 (bitsandbytes)",
                "dtype": "float32, 4-bit bitsandbytes",
            },
            "the adapter merged into the weights, the weights stored as nf4 (bitsandbytes), "
            "computed in float32, 4-bit bitsandbytes",
        ),
        (
            {"adapter_sha256": None, "backend": "gguf", "stored": {"F32": 61, "Q8_0": 211}},
            "the adapter merged into the weights, the weights stored as Q8_0 and F32, "
            "answers by gguf",
        ),
        ({"adapter_sha256": "a", "template_sha256": "d"}, "another chat template"),
        ({"adapter_sha256": "a"}, NOTHING),
    ],
)
def test_what_differs_is_named(shipped: dict[str, Any], words: str) -> None:
    assert deployment_step(TUNED, {**TUNED, **shipped}) == words


def test_a_file_that_the_same_engine_unpacks_is_no_other_engine() -> None:
    """A GGUF file that Transformers unpacks is stored otherwise; who computes stays the same."""
    tuned = {**TUNED, "engine": "tunegate/2"}
    shipped = {**tuned, "backend": "gguf", "stored": {"Q8_0": 211, "F32": 61}}

    assert deployment_step(tuned, shipped) == "the weights stored as Q8_0 and F32"
    assert "answers by llama-server (llama.cpp b6543)" in deployment_step(
        tuned, {**shipped, "backend": "llama-server", "engine": "llama.cpp b6543"}
    )


def test_a_served_model_is_named_with_its_engine() -> None:
    shipped = {"backend": "server", "engine": "vllm 0.33"}

    assert "answers by server (vllm 0.33)" in deployment_step(TUNED, shipped)
