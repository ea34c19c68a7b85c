"""Judge models that answer by a function, and replies in the form asked for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.contracts.judge import JudgeAnswer, JudgeQuestion, ParsedReply, Steps
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.errors import BackendError
from tunegate.harness.records.scores import Score

Answering = Callable[[JudgeQuestion], str | Exception]


@dataclass
class FakeModel:
    """A judge model that answers by a function and notes what it was asked."""

    answering: Answering
    name: str = "fake"
    asked: list[JudgeQuestion] = field(default_factory=list)

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"spec": self.name, "backend": "fake"}

    @property
    def fingerprint(self) -> str:
        return self.name

    def ask(self, questions: Mapping[str, JudgeQuestion]) -> Iterator[JudgeAnswer]:
        for key, question in questions.items():
            self.asked.append(question)
            reply = self.answering(question)
            if isinstance(reply, BackendError):
                raise reply
            if isinstance(reply, Exception):
                yield JudgeAnswer(key, None, str(reply), time.time())
            else:
                completion = Completion(
                    text=reply, input_tokens=100, output_tokens=20, cost=0.001, latency_s=0.5
                )
                yield JudgeAnswer(key, completion, None, time.time())


def reply_to(question: JudgeQuestion, **fields: Any) -> str:
    """Return a reply in the form asked for."""
    return json.dumps({"nonce": question.nonce, **fields})


def graded(question: JudgeQuestion) -> str:
    """Answer a rubric: 5 where the completion says sorry, else 1."""
    return reply_to(question, reason="r", score=5 if "sorry" in question.text else 1)


def send_replies(steps: Steps, *rounds: list[ParsedReply]) -> Score:
    """Send a judge the replies of each round; return its score."""
    next(steps)
    try:
        for replies in rounds:
            steps.send(replies)
    except StopIteration as ended:
        score: Score = ended.value
        return score
    raise AssertionError("the judge asks more")
