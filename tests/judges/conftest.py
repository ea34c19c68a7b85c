"""Judges as a suite would make them, driven by replies that a test writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.fake_judges import FakeModel, reply_to, send_replies
from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.judge import Judge, JudgeQuestion, ParsedReply
from tunegate.harness.judges.asking.conversation import AskedJudgeModel
from tunegate.harness.judges.asking.judge_model import JudgementOutcome, JudgementTask
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case


@pytest.fixture(name="rubric")
def _rubric() -> Judge:
    """The rubric with one criterion."""
    found = lookup.find_object("tunegate.harness.judges", "rubric", what="judge")
    assert isinstance(found, Judge)
    return replace(found, options={"criteria": "Apologises."})


@pytest.fixture(name="task")
def _task(rubric: Judge) -> Callable[..., JudgementTask]:
    """Return a function that makes the task of judging one text."""

    def make(
        text: str, *, case: str = "c1", judge: Judge | None = None, **more: Any
    ) -> JudgementTask:
        record = Case(id=case, prompt="My parcel is late.", **more)
        return JudgementTask("civil", judge or rubric, record, (Completion(text=text),))

    return make


@pytest.fixture(name="judged")
def _judged() -> Callable[..., tuple[JudgementOutcome, list[JudgeQuestion]]]:
    """Return a function that runs a judge; it returns the outcome and the questions.

    `answer` gets each question and returns the reply's fields.
    """

    def judged(
        name: str,
        case: Case,
        *texts: str | None,
        answer: Callable[[JudgeQuestion], dict[str, Any]],
        **options: Any,
    ) -> tuple[JudgementOutcome, list[JudgeQuestion]]:
        found = lookup.find_object("tunegate.harness.judges", name, what="judge")
        assert isinstance(found, Judge)
        judge = replace(found, options=options)
        model = FakeModel(lambda question: reply_to(question, **answer(question)))
        completions = tuple(Completion(text=text) for text in texts)
        ((_, outcome),) = AskedJudgeModel(model).judge(
            [JudgementTask(name, judge, case, completions)]
        )
        return outcome, model.asked

    return judged


@pytest.fixture(name="finished")
def _finished() -> Callable[..., Any]:
    def finished(name: str, case: Case, *texts: str, rounds: Sequence[list[ParsedReply]]) -> Any:
        found = lookup.find_object("tunegate.harness.judges", name, what="judge")
        assert isinstance(found, Judge)
        steps = found.begin(case, *(Completion(text=text) for text in texts))
        return send_replies(steps, *rounds)

    return finished
