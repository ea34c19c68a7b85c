"""Metric thinking_valid: closed, not empty, not only repetition."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.metrics.thinking_valid import thinking_valid
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case

CASE = Case(id="a", prompt="?")
PROSE = (
    "The user asks for the capital of Norway. Norway's largest city is Oslo, which has been the "
    "seat of government since 1814. Bergen was the capital in the Middle Ages. So it is Oslo."
)


@pytest.mark.parametrize(
    ("thoughts", "value"),
    [
        (PROSE, 1.0),
        ("Oslo.", 1.0),
        ("2", 1.0),
        ("他问的是挪威的首都。挪威最大的城市是奥斯陆,自一八一四年以来是政府所在地。", 1.0),
        ("", 0.0),
        (" \n\n", 0.0),
        ("... --- ...", 0.0),
        ("Wait, let me check that again. " * 4, 0.0),
        ("哈" * 60, 0.0),
        ("0 " * 60, 0.0),
        (PROSE + " I am sure. I am sure. I am sure. I am sure.", 1.0),
        (PROSE + " So it is Oslo." * 60, 0.0),
        ("Wait. Wait. Wait.", 1.0),  # 17 characters: too few to call it repetition
    ],
)  # fmt: skip
def test_form_of_the_thoughts(thoughts: str, value: float) -> None:
    """Prose of any script and length is valid; nothing, punctuation and one unit over and over
    are not.
    """
    done = Completion(text="Oslo", reasoning=thoughts, reasoning_closed=True)

    score = thinking_valid(CASE, done)

    assert score.value == value
    assert score.parts == {"thinks": 1.0}


@pytest.mark.parametrize(
    ("fields", "value", "thinks"),
    [
        ({"text": "Oslo"}, 0.0, 0.0),
        ({"text": "", "reasoning": PROSE, "reasoning_closed": False}, 0.0, 1.0),
        ({"text": "", "reasoning_tokens": 9, "reasoning_closed": False}, 0.0, 1.0),
        ({"text": "Oslo", "reasoning_tokens": 9}, None, None),
        ({"text": "", "reasoning": PROSE, "reasoning_closed": True}, 1.0, 1.0),
    ],
)
def test_what_is_not_seen(fields: dict[str, Any], value: float | None, thinks: float) -> None:
    """No thoughts and open ones score 0; hidden ones are unscored; a missing answer is not its."""
    score = thinking_valid(CASE, Completion(**fields))

    assert score.value == value
    assert (score.parts or {}).get("thinks") == thinks


def test_long_thoughts_take_no_longer_than_they_are() -> None:
    done = Completion(text="a", reasoning=PROSE * 6000, reasoning_closed=True)

    assert thinking_valid(CASE, done).value == 0.0
