"""Judges of what a model did: the transcript of an episode, calls and results included."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.fake_judges import FakeModel, reply_to
from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.judge import Judge, JudgeQuestion, format_transcript
from tunegate.harness.judges.asking.conversation import AskedJudgeModel
from tunegate.harness.judges.asking.judge_model import JudgementOutcome, JudgementTask
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeCall, EpisodeEnd, EpisodeRecord, EpisodeTurn

CASE = Case(id="c", prompt="Refund order 7.", expected="Order 7 is refunded.")
HASH = "0" * 64


def played(*results: str, error: bool = False) -> Completion:
    turns = [
        EpisodeTurn(
            prompt_sha256=HASH,
            text="I look.",
            calls=(EpisodeCall(name="refund", arguments={"id": 7}, result=r, error=error),),
        )
        for r in results
    ]
    last = EpisodeTurn(prompt_sha256=HASH, text="Done.")
    record = EpisodeRecord(turns=(*turns, last), reward=0.0, end=EpisodeEnd.ANSWERED)
    return Completion(text="Done.", episode=record)


def judged(
    name: str, completion: Completion, *verdicts: str, **options: Any
) -> tuple[JudgementOutcome, list[JudgeQuestion]]:
    found = lookup.find_object("tunegate.harness.judges", name, what="judge")
    assert isinstance(found, Judge)
    said = iter(verdicts)
    model = FakeModel(lambda q: reply_to(q, reason="why", verdict=next(said)))
    task = JudgementTask(name, replace(found, options=options), CASE, (completion,))
    ((_, outcome),) = AskedJudgeModel(model).judge([task])
    return outcome, model.asked


def test_a_transcript_has_calls_with_their_results() -> None:
    """What came back is shown, failures as such; an answer without an episode is itself."""
    assert format_transcript(played("ok")) == (
        "[assistant, turn 1]\nI look.\nrefund returned: ok\n\n[assistant, turn 2]\nDone."
    )
    assert "refund failed: no such order" in format_transcript(played("no such order", error=True))
    assert format_transcript(Completion(text="Hello")) == "Hello"


@pytest.mark.parametrize(("verdict", "value"), [("done", 1.0), ("partly", 0.5), ("not_done", 0.0)])
def test_a_task_is_judged_by_its_results(verdict: str, value: float) -> None:
    outcome, (asked,) = judged("task_completion", played("paid back"), verdict, goal="Money moved.")

    assert outcome.score is not None
    assert (outcome.score.value, outcome.score.reason) == (value, "why")
    assert "refund returned: paid back" in asked.texts
    assert "Order 7 is refunded." in asked.texts
    assert "Money moved." in asked.task


def test_nothing_done_is_not_done() -> None:
    """An empty answer without a call is 0, without asking."""
    outcome, asked = judged("task_completion", Completion(text=" "))

    assert outcome.score is not None
    assert (outcome.score.value, asked) == (0.0, [])


def test_a_trajectory_is_five_questions_about_one_transcript() -> None:
    """Four of five: 0.8; they differ in their last line alone."""
    outcome, asked = judged("trajectory", played("ok", "ok"), "yes", "yes", "yes", "no", "yes")

    assert outcome.score is not None
    assert outcome.score.value == pytest.approx(0.8)
    assert outcome.score.parts == {
        "progress": 1.0, "grounded": 1.0, "recovery": 1.0, "economy": 0.0, "ending": 1.0,
    }  # fmt: skip
    assert len(asked) == 5
    assert len({(q.system, q.texts) for q in asked}) == 1


def test_an_answer_has_no_trajectory() -> None:
    outcome, asked = judged("trajectory", Completion(text="Done."))

    assert (outcome.status, asked) == ("abstained", [])


def test_the_same_last_answer_after_other_calls_is_another_task() -> None:
    judge = lookup.find_object("tunegate.harness.judges", "task_completion", what="judge")
    keys = {
        JudgementTask("t", judge, CASE, (completion,)).key
        for completion in (played("ok"), played("refused"), Completion(text="Done."))
    }

    assert len(keys) == 3
