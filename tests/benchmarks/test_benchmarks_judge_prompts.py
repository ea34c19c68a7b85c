"""What judges are asked: one system turn and one schema a step, most of it cacheable."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import judge_prompts
from benchmarks.judge_prompts import PromptCounts


def test_four_fifths_of_each_judges_characters_can_be_cached(tmp_path: Path) -> None:
    """A server on this machine counts: one system turn and one schema for each step of a judge."""
    found = dict(judge_prompts.measured(tmp_path, most=20))

    assert len(found["faithfulness, batched"].bodies) < len(found["faithfulness"].bodies)
    for name, counts in found.items():
        steps = 2 if name.startswith(("faithfulness", "instruction_following")) else 1
        assert (counts.systems, counts.schemas) == (steps, steps), name
        if judge_prompts.BATCHED not in name:  # which sends less, of which less is the same
            assert counts.cacheable >= 0.78, name  # 0.80 with 40 cases; the first request is new
    assert len(found["pairwise"].bodies) == 40  # both orders
    assert len(found["rubric"].bodies) == 40  # both arms


def test_the_share_is_that_of_common_beginnings() -> None:
    """Three requests of 10, 10 and 10 characters more than the turns' marks; by hand."""
    bodies = [{"messages": [{"role": "r", "content": text}]} for text in ("abcd", "abce", "x")]
    frame = len("null\n[r]\n")
    counts = PromptCounts(bodies)

    assert counts.cacheable == pytest.approx((frame + 3 + frame) / (3 * frame + 9))
    assert (counts.systems, counts.schemas) == (3, 1)


def test_it_can_fail(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """A judge below the share ends with 1."""
    monkeypatch.setattr(sys, "argv", ["x"])
    bodies = [{"messages": [{"role": "r", "content": text}]} for text in ("abcd", "wxyz")]
    monkeypatch.setattr(judge_prompts, "measured", lambda f: [("tone", PromptCounts(bodies))])

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
