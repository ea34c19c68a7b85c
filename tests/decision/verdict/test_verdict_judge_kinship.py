"""A judge that is kin to base is pointed out."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.decision.verdict.judge_kinship import family_of, kinship_notes
from tunegate.harness.records.manifest import JudgeRecord


@pytest.mark.parametrize(
    ("spec", "family"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "smollm"),
        ("litellm:openai/gpt-4o", "gpt"),
        ("server:http://localhost:8000/v1#Qwen/Qwen3-8B", "qwen"),
        ("meta-llama/Meta-Llama-3.1-8B", "llama"),
        ("/models/checkpoint-120", ""),
        ("./base", ""),
        ("replay:judged.jsonl", ""),
        ("gguf:llama-3.gguf", ""),
        ("", ""),
    ],
)
def test_the_family_is_read_from_the_name(spec: str, family: str) -> None:
    """The letters that a model's name begins with; a folder called `base` is of no family."""
    assert family_of(spec) == family


@pytest.mark.parametrize(
    ("judge", "said"),
    [
        ({"spec": "other/name", "weights_sha256": "w"}, "has base's own weights"),
        ({"spec": "Qwen/Qwen3-32B", "weights_sha256": "v"}, "is of base's family, qwen"),
        ({"spec": "litellm:openai/gpt-4o"}, None),
    ],
)
def test_kin_is_noted(
    columns: Any, record_factory: Any, judge: dict[str, str], said: str | None
) -> None:
    """By its weights, or by its name; a stranger is not mentioned."""
    metric = record_factory.metric("tone", judge=JudgeRecord(name="rubric", prompt_sha256="p"))
    suite = columns([], {"tone": ([1.0], [1.0])}, metrics=[metric])
    arms = {"base": {"spec": "Qwen/Qwen3-0.6B", "weights_sha256": "w"}}
    manifest = record_factory.manifest([suite], arms=arms, judges=(judge,))
    notes = list(kinship_notes(manifest, suite.record()))

    assert len(notes) == (said is not None)
    assert said is None or said in notes[0]


def test_a_suite_without_a_judge_says_nothing(columns: Any, record_factory: Any) -> None:
    suite = columns([], {"m": ([1.0], [1.0])})
    arms = {"base": {"spec": "Qwen/Qwen3-0.6B"}}
    manifest = record_factory.manifest([suite], arms=arms, judges=({"spec": "Qwen/Qwen3-32B"},))

    assert list(kinship_notes(manifest, suite.record())) == []
