"""`command:PROGRAM ARGUMENTS`: any program as judge.

It is started once and reads a JSON line for each completion from standard input:

    {"key": "…", "metric": "faithful", "judge": "faithfulness", "options": {}, "case": {…},
     "completion": "…"}

For a judge of pairs, `base` and `tuned` replace `completion`. The program answers in any order with
a line on standard output: `{"key": "…", "value": 0.75, "reason": "…"}`,
`{"key": "…", "abstained": "why"}` or `{"key": "…", "error": "why"}`. Its standard error is shown.
Other lines, values outside the metric's range, silence beyond the deadline and the program's end
are judge errors: no score.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from tunegate.harness.contracts.child_process import LineProcess
from tunegate.harness.contracts.judge import JudgeAnswer
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judges.asking.judge_model import JudgementOutcome, JudgementTask
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.defaults import JUDGE_CONCURRENCY
from tunegate.harness.records.errors import ModelError
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.judgements import JudgeReply
from tunegate.harness.records.problems import validation_problem
from tunegate.harness.records.record import Record, Text
from tunegate.harness.records.scores import LARGEST, Score

SPEC = "command:PROGRAM [ARGUMENTS]"
CALL = "answer"
"""Unit of a call, for forecasts: a question, a whole answer, or nothing."""
DEADLINE_S = 120.0
"""Seconds without a line after which the program is ended."""
AT_ONCE = JUDGE_CONCURRENCY
"""Most questions that are open at a time."""


class CommandReply(Record):
    """One line of the program."""

    key: str
    value: float | None = Field(default=None, ge=-LARGEST, le=LARGEST)
    reason: Text | None = None
    parts: dict[str, float] | None = None
    abstained: Text | None = None
    error: Text | None = None
    cost: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _says_one_thing(self) -> CommandReply:
        said = (self.value, self.abstained, self.error)
        if sum(one is not None for one in said) != 1:
            raise ValueError("needs exactly one of value, abstained and error")
        return self


@dataclass
class CommandJudgeModel:
    """A program that judges."""

    command: tuple[str, ...]
    spec: str
    store: AnswerCache | None = None
    deadline_s: float = DEADLINE_S
    files: Mapping[str, str] = field(default_factory=dict)
    """Files in the command → hash of their content."""

    def keeping(self, store: AnswerCache | None) -> CommandJudgeModel:
        """Return the judge model with a store for its lines."""
        return replace(self, store=store)

    @property
    def identity(self) -> Mapping[str, Any]:
        """The command and the hashes of its files."""
        return {
            "spec": self.spec,
            "backend": "command",
            "files": dict(self.files),
            "fingerprint": self.fingerprint,
        }

    @property
    def fingerprint(self) -> str:
        """Hash of the command and its files."""
        return sha256(["command", self.command, dict(self.files)])

    def judge(
        self, tasks: Sequence[JudgementTask]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        """Yield every task with its outcome, each as soon as it is known."""
        left: dict[str, JudgementTask] = {}
        for task in tasks:
            key = sha256([self.fingerprint, task.key])
            earlier = self._known(key, task)
            if earlier is None:
                left[key] = task
            else:
                yield task, earlier
        if left:
            yield from self._ask(left)

    def _known(self, key: str, task: JudgementTask) -> JudgementOutcome | None:
        completion = None if self.store is None else self.store.completions([key]).get(key)
        if completion is None:
            return None
        outcome = _outcome(completion.text or "", key, task)
        stored = tuple(reply.model_copy(update={"stored": True}) for reply in outcome.replies)
        return (
            None
            if outcome.score is None
            else replace(outcome, replies=stored, attempts=0, cost=None)
        )

    def _ask(
        self, left: dict[str, JudgementTask]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        waiting: set[str] = set()
        coming = iter(list(left.items()))
        why = noise = ""
        with LineProcess(self.command, start_new_session=True) as process:  # Ctrl-C is for us
            while left:
                for key, task in coming if len(waiting) < AT_ONCE else ():
                    process.send(json.dumps(_request_line(key, task)))
                    waiting.add(key)
                    if len(waiting) >= AT_ONCE:
                        break
                try:
                    line = process.receive(self.deadline_s)
                except (TimeoutError, EOFError) as error:
                    why = _why_silent(process, error)
                    break
                answered_key = _key_of(line)
                if answered_key is None:
                    noise = f"; it wrote {line.strip()[:120]!r}"
                elif answered_key in waiting:
                    waiting.remove(answered_key)
                    task = left.pop(answered_key)
                    yield task, self._taken(line, answered_key, task)
        for task in left.values():
            yield task, JudgementOutcome(None, f"{self.spec}: {why}{noise}")

    def _taken(self, line: str, key: str, task: JudgementTask) -> JudgementOutcome:
        outcome = _outcome(line, key, task)
        if outcome.score is not None and self.store is not None:
            answer = JudgeAnswer(key, Completion(text=line), None, time.time())
            self.store.put(answer, replace=True)
        return outcome


def _why_silent(process: LineProcess, error: TimeoutError | EOFError) -> str:
    """Return why no more answers come."""
    if isinstance(error, TimeoutError):
        process.close()
        return str(error)
    return f"the program ended (exit code {process.exit_code()}) without an answer"


def _request_line(key: str, task: JudgementTask) -> dict[str, Any]:
    """Return the line that asks for a judgement."""
    texts = [completion.text for completion in task.completions]
    names = ("base", "tuned") if task.judge.pairs else ("completion",)
    options = {n: str(v) if isinstance(v, Path) else v for n, v in task.judge.options.items()}
    return {
        "key": key,
        "metric": task.metric,
        "judge": task.judge.name,
        "options": options,
        "case": task.case.model_dump(mode="json", exclude_none=True, by_alias=True),
        **dict(zip(names, texts, strict=True)),
    }


def _key_of(line: str) -> str | None:
    """Return the key of a line, or None if it is not an answer."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    key = value.get("key") if isinstance(value, dict) else None
    return key if isinstance(key, str) else None


def _outcome(line: str, key: str, task: JudgementTask) -> JudgementOutcome:
    replies = (JudgeReply(step="command", text=line),)
    try:
        reply = CommandReply.model_validate_json(line)
    except ValidationError as error:
        why = validation_problem(CommandReply, error)
        return JudgementOutcome(None, f"unreadable line: {why}", replies, attempts=1)
    if reply.error is not None:
        return JudgementOutcome(None, reply.error, replies, attempts=1)
    low, high = (-1.0, 1.0) if task.judge.pairs else task.judge.range or (-LARGEST, LARGEST)
    if reply.value is not None and not low <= reply.value <= high:
        text = f"the value {reply.value:g} is outside {low:g} to {high:g}"
        return JudgementOutcome(None, text, replies, attempts=1)
    score = (
        Score.unscored(reply.abstained or "it abstained")
        if reply.value is None
        else Score.of(reply.value, reply.reason, parts=reply.parts)
    )
    return JudgementOutcome(score, None, replies, attempts=1, cost=reply.cost)


def command(target: str) -> CommandJudgeModel:
    """Open a program as judge.

    Raises:
        ModelError: no program is named, or it does not exist.
    """
    try:
        words = tuple(shlex.split(target))
    except ValueError as error:
        raise ModelError(f"judge command:{target}: {error}") from error
    if not words:
        raise ModelError("judge command: no program; write command:PROGRAM ARGUMENTS")
    if shutil.which(words[0]) is None:
        raise ModelError(f"judge command:{target}: no program {words[0]!r} on this machine")
    files = {
        word: hashlib.sha256(Path(word).read_bytes()).hexdigest()
        for word in words[1:]
        if Path(word).is_file()
    }
    return CommandJudgeModel(words, f"command:{target}", files=files)
