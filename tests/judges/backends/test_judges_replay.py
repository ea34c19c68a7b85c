"""Recorded judgements: of a run of ours, or of anybody in a simple file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.judges.asking.judge_model import JudgementTarget, JudgementTask
from tunegate.harness.judges.backends.replay import replay
from tunegate.harness.records.errors import ModelError


@pytest.fixture(name="recorded")
def _recorded(tmp_path: Path) -> Callable[..., str]:
    def write(*lines: Any) -> str:
        path = tmp_path / "judged.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
        return str(path)

    return write


def test_lines_are_found_by_case_and_arm(
    recorded: Callable[..., str], task: Callable[..., JudgementTask]
) -> None:
    judge_model = replay(
        recorded(
            {"id": "c1", "arm": "base", "value": 0.25, "reason": "so so"},
            {"id": "c1", "arm": "tuned", "metric": "civil", "value": 1.0},
            {"id": "c2", "reason": "says nothing"},
            {"id": "c3", "error": "HTTP 500"},
        )
    )
    places = [("c1", "base"), ("c1", "tuned"), ("c2", "base"), ("c3", "base"), ("c4", "tuned")]
    tasks = [
        replace(task("x", case=case), target=JudgementTarget("s", "civil", case, arm))
        for case, arm in places
    ]

    outcomes = [outcome for _, outcome in judge_model.judge(tasks)]

    assert [o.status for o in outcomes] == ["ok", "ok", "abstained", "judge_error", "judge_error"]
    assert [o.score.value for o in outcomes[:2] if o.score] == [0.25, 1.0]
    assert outcomes[3].error == "HTTP 500"
    assert "has no judgement of 'c4' (tuned)" in (outcomes[4].error or "")


TEXTS = {"base": "No.", "tuned": "Sorry, it comes on Monday."}


def test_a_line_with_its_completion_is_of_that_text_alone(
    recorded: Callable[..., str], task: Callable[..., JudgementTask]
) -> None:
    """By text or hash, whichever arm gave the answer; another answer of the arm is not judged."""
    digest = hashlib.sha256(TEXTS["tuned"].encode()).hexdigest()
    judge_model = replay(
        recorded(
            {"id": "c1", "arm": "base", "completion": TEXTS["base"], "value": 0.0},
            {"id": "c1", "arm": "tuned", "completion_sha256": digest, "value": 1.0},
        )
    )

    def judged(text: str, arm: str) -> Any:
        asked = replace(task(text), target=JudgementTarget("s", "civil", "c1", arm))
        ((_, outcome),) = judge_model.judge([asked])
        return outcome

    assert judged(TEXTS["tuned"], "tuned").score.value == 1.0
    assert judged(TEXTS["base"], "base").score.value == 0.0
    assert judged(TEXTS["base"], "tuned").score.value == 0.0
    assert judged(TEXTS["tuned"], "").score.value == 1.0
    other = judged("Sorry!", "tuned")
    assert other.status == "judge_error"
    assert "judged a different answer to 'c1' (tuned)" in other.error


def test_the_order_of_lines_makes_no_difference(
    recorded: Callable[..., str], task: Callable[..., JudgementTask]
) -> None:
    lines = [
        {"id": "c1", "arm": arm, "sample": sample, "completion": "x", "value": value}
        for arm, sample, value in (("base", 0, 0.0), ("base", 1, 0.25), ("tuned", 0, 1.0))
    ]
    found = set()
    for order in permutations(lines):
        judge_model = replay(recorded(*order))
        asked = replace(task("x"), target=JudgementTarget("s", "civil", "c1", "recorded"))
        ((_, outcome),) = judge_model.judge([asked])
        assert outcome.score is not None
        found.add((judge_model.fingerprint, outcome.score.value))
    assert len(found) == 1


def test_a_completion_and_another_hash_are_a_contradiction(recorded: Callable[..., str]) -> None:
    line = {"id": "a", "value": 1, "completion": "x", "completion_sha256": "0" * 64}
    with pytest.raises(ModelError, match=r":1: .*completion_sha256 is not that of completion"):
        replay(recorded(line))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"id": "a", "value": "good"}, ':1: value: "good": Input should be a valid number'),
        ({"id": "a"}, ":1: needs value"),
        ({"value": 1}, ":1: the key 'id' is missing"),
        ({"id": "a", "value": 1, "score": 2}, ":1: unknown key 'score'; call it 'value'"),
        ('{"id": "a", "value": NaN}', ":1: "),
        ("not json", ":1: broken JSON at column 1"),
    ],
)
def test_a_broken_line_is_told_with_its_number(
    recorded: Callable[..., str], line: Any, said: str
) -> None:
    with pytest.raises(ModelError) as caught:
        replay(recorded(line))

    assert said in str(caught.value)


def test_a_line_that_stands_twice_is_told(recorded: Callable[..., str]) -> None:
    """Which of two judgements counts would be a guess."""
    with pytest.raises(ModelError, match=":2: id 'a' is already judged"):
        replay(recorded({"id": "a", "value": 1}, {"id": "a", "value": 0}))


def test_nothing_there_is_told() -> None:
    with pytest.raises(ModelError, match="no such file or run folder"):
        replay("gone.jsonl")
