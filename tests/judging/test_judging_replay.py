"""Recorded judgements: of a run of ours, or of anybody in a simple file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.errors import ModelError
from tunegate.harness.judging.backends.replay import replay
from tunegate.harness.judging.contract import JudgementTarget, JudgementTask


@pytest.fixture(name="recorded")
def _recorded(tmp_path: Path) -> Callable[..., str]:
    """Return a function that writes a file of lines and returns its path."""

    def write(*lines: Any) -> str:
        path = tmp_path / "judged.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("\n".join(texts) + "\n", encoding="utf-8")
        return str(path)

    return write


def test_lines_are_found_by_case_and_arm(
    recorded: Callable[..., str], task: Callable[..., JudgementTask]
) -> None:
    """A value, an abstention, a failure, and one that nobody recorded."""
    juror = replay(
        recorded(
            {"id": "c1", "arm": "base", "value": 0.25, "reason": "so so"},
            {"id": "c1", "arm": "tuned", "metric": "civil", "value": 1.0},
            {"id": "c2", "reason": "says nothing"},
            {"id": "c3", "error": "HTTP 500"},
        )
    )
    places = [("c1", "base"), ("c1", "tuned"), ("c2", "base"), ("c3", "base"), ("c4", "tuned")]
    tasks = [
        replace(task("x", case=case), place=JudgementTarget("s", "civil", case, arm))
        for case, arm in places
    ]

    outcomes = [outcome for _, outcome in juror.judge(tasks)]

    assert [o.status for o in outcomes] == ["ok", "ok", "abstained", "judge_error", "judge_error"]
    assert [o.score.value for o in outcomes[:2] if o.score] == [0.25, 1.0]
    assert outcomes[3].error == "HTTP 500"
    assert "has no judgement of 'c4' (tuned)" in (outcomes[4].error or "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"id": "a", "value": "good"}, ":1: value: Input should be a valid number"),
        ({"id": "a"}, ":1: line: Value error, needs value"),
        ({"value": 1}, ":1: id: Field required"),
        ({"id": "a", "value": 1, "score": 2}, ":1: score: Extra inputs"),
        ('{"id": "a", "value": NaN}', ":1: "),
        ("not json", ":1: line: Invalid JSON"),
    ],
)
def test_a_broken_line_is_told_with_its_number(
    recorded: Callable[..., str], line: Any, said: str
) -> None:
    """Nothing of a broken file is taken for a score."""
    with pytest.raises(ModelError) as caught:
        replay(recorded(line))

    assert said in str(caught.value)


def test_a_line_that_stands_twice_is_told(recorded: Callable[..., str]) -> None:
    """Which of two judgements counts would be a guess."""
    with pytest.raises(ModelError, match=":2: id 'a' is already judged"):
        replay(recorded({"id": "a", "value": 1}, {"id": "a", "value": 0}))


def test_nothing_there_is_told() -> None:
    """A place that does not exist is named."""
    with pytest.raises(ModelError, match="no such file or run folder"):
        replay("gone.jsonl")
