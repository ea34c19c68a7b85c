"""What judges are asked: one system turn and one schema a step, most of it cacheable."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import judge_prompts
from benchmarks.cached_prompts import PromptCounts, anthropic_read, openai_read
from tunegate.harness import lookup

STEPS = {"faithfulness": 2, "instruction_following": 2, "context_recall": 2}
"""Judge → its steps, of those that list claims or demands before they judge them."""


def test_four_fifths_of_each_judges_characters_can_be_cached(tmp_path: Path) -> None:
    found = dict(judge_prompts.measured(tmp_path, most=20))

    asked = {name.partition(",")[0] for name in found}
    assert asked == set(lookup.available_names("tunegate.harness.judges"))
    assert len(found["faithfulness, batched"].bodies) < len(found["faithfulness"].bodies)
    for name, counts in found.items():
        steps = STEPS.get(name.partition(",")[0], 1)
        assert (counts.systems, counts.schemas) == (steps, steps), name
        if not name.endswith(judge_prompts.NOTHING_TWICE):
            assert counts.cacheable >= 0.78, name  # 0.80 with 40 cases; the first request is new
    assert len(found["pairwise"].bodies) == 40  # both orders
    assert len(found["rubric"].bodies) == 40  # both arms


def test_it_can_fail(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """A judge below the share ends with 1."""
    monkeypatch.setattr(sys, "argv", ["x"])
    bodies = [{"messages": [{"role": "r", "content": text}]} for text in ("abcd", "wxyz")]
    monkeypatch.setattr(
        judge_prompts, "measured", lambda folder, by: [("tone", PromptCounts(bodies))]
    )

    assert judge_prompts.main() == 1
    assert "MISSED: less than 80% of tone is cacheable" in capsys.readouterr().out


def test_a_reply_has_the_form_or_not() -> None:
    """JSON of the schema with the request's nonce; not prose, a missing key or another nonce."""
    schema = {
        "type": "object", "required": ["nonce", "verdict"], "additionalProperties": False,
        "properties": {"nonce": {"type": "string"}, "verdict": {"enum": ["yes", "no"]}},
    }  # fmt: skip
    body = {
        "messages": [{"role": "user", "content": "Judge.\nNonce: a1b2"}],
        "response_format": {"json_schema": {"schema": schema}},
    }

    assert judge_prompts.has_form(body, '{"nonce": "a1b2", "verdict": "yes"}')
    for other in (
        "yes",
        '{"verdict": "yes"}',
        '{"nonce": "a1b2", "verdict": "maybe"}',
        '{"nonce": "zz", "verdict": "no"}',
        '```json\n{"nonce": "a1b2", "verdict": "no"}\n```',
    ):
        assert not judge_prompts.has_form(body, other)


@pytest.mark.parametrize("by", ["openai", "anthropic"])
def test_providers_are_asked_through_litellm(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("litellm") is None:
        pytest.skip("litellm is not installed")
    for name in ("API_KEY", "API_BASE"):
        monkeypatch.setenv(f"{by.upper()}_{name}", "")  # so that it is as before afterwards
    found = judge_prompts.retrieved_answers()[:20]

    counts = judge_prompts.ask_judge("faithfulness", found, {"split": "sentences"}, by=by)

    assert len(counts.bodies) > 100  # up to three sentences of each arm
    if by == "openai":
        tokens = counts.tokens
        assert openai_read(tokens) > 0.5 * sum(map(len, tokens))
    else:
        assert (cached := anthropic_read(counts.bodies)).read > 0.5 * cached.total
