"""`scripted:FILE`: a judge model that answers by rule, to test suites, gates and your own judges.

FILE is JSON. The first rule whose text is in the question's task or data decides, or else the
default:

    {"rules": [{"contains": "sorry", "reply": {"score": 5}}],
     "default": {"score": 1, "reason": "no apology"}}

Missing keys of a reply are filled in: the nonce, empty texts, empty lists.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import Field

from tunegate.harness.contracts.judge import JudgeAnswer, JudgeQuestion
from tunegate.harness.models.scripted import read_script
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.record import Record

SPEC = "scripted:FILE"


class ScriptedReply(Record):
    """One rule of a script."""

    contains: str
    """Must be in the question's task or texts, such as the completion."""
    step: str | None = None
    """Only in this step of the judge."""
    reply: dict[str, Any] | None = None
    """Keys of the reply."""
    fail: str | None = None
    """Fail with this message instead."""


class JudgeScript(Record):
    """The content of a script file."""

    rules: tuple[ScriptedReply, ...] = ()
    default: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class ScriptedJudge:
    """A judge model that reads its replies from a `JudgeScript`."""

    spec: str
    script: JudgeScript = field(repr=False)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The spec and the hash of the script."""
        return {"spec": self.spec, "backend": "scripted", "fingerprint": self.fingerprint}

    @property
    def fingerprint(self) -> str:
        """Hash of the script."""
        return sha256(self.script.model_dump(mode="json"))

    def ask(self, questions: Mapping[str, JudgeQuestion]) -> Iterator[JudgeAnswer]:
        """Yield the scripted replies."""
        for key, question in questions.items():
            rule = self._rule(question)
            if rule is not None and rule.fail is not None:
                yield JudgeAnswer(key, None, rule.fail, time.time())
                continue
            reply = self.script.default if rule is None else rule.reply or {}
            yield JudgeAnswer(key, _completion(question, reply), None, time.time())

    def _rule(self, question: JudgeQuestion) -> ScriptedReply | None:
        fitting = (r for r in self.script.rules if r.step in (None, question.step))
        asked = f"{question.task}\n\n{question.texts}"
        return next((r for r in fitting if r.contains in asked), None)


def _completion(question: JudgeQuestion, given: Mapping[str, Any]) -> Completion:
    blank = {n: [] if f.get("type") == "array" else "" for n, f in question.fields.items()}
    given_fields = {name: given[name] for name in question.fields if name in given}
    text = json.dumps({"nonce": question.nonce, **blank, **given_fields})
    return Completion(text=text, finish_reason="stop", output_tokens=len(text) // 4)


def scripted(path: str) -> ScriptedJudge:
    """Open the script file at `path`.

    Raises:
        ModelError: the file is missing or not a script.
    """
    return ScriptedJudge(f"scripted:{path}", read_script(path, JudgeScript))
