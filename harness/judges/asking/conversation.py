"""Conversation with a judge model: rounds of questions, replies parsed strictly.

All judgements of a run advance together. A round asks whatever they wait for, as many at once as
the backend allows; each reply is stored the moment it could be read, and a judgement whose replies
are complete goes on at once. A question that two judgements share, such as the checklist of a
prompt for base's answer and for tuned's, is asked once.

Strict reading of a judge's own reply: one JSON object of the form asked for, or no score. Nothing
is searched for in prose and nothing is fixed. A reply that is fenced, cut, doubled, of another
type, without the question's nonce or with a verdict too many is unreadable.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from tunegate.harness.contracts.judge import (
    VERDICTS,
    JudgeAnswer,
    JudgeQuestion,
    ParsedReply,
    Steps,
)
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judges.asking.juror import JudgementOutcome, JudgementTask, JudgeModel
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.errors import BackendError, error_summary
from tunegate.harness.records.hashing import canonical_json, sha256
from tunegate.harness.records.judgements import JudgeReply
from tunegate.harness.records.record import replace_surrogates
from tunegate.harness.records.scores import Score

RE_ASKS = 2
"""Times a question is asked again after a reply that could not be read."""
_AGAIN = " Your reply to this could not be used: {problem}. Reply once more, in exactly that form."


@dataclass
class _OpenQuestion:
    """A question in progress, with all messages about it."""

    question: JudgeQuestion
    log: list[JudgeReply] = field(default_factory=list)
    spent: list[Completion] = field(default_factory=list)
    attempts: int = 0
    """Times it was asked in this run."""
    requests: int = 0
    """Requests that this took."""
    reply: ParsedReply | None = None
    error: str | None = None
    counted: bool = False
    """Whether a judgement has it on its bill already."""

    @property
    def settled(self) -> bool:
        return self.reply is not None or self.error is not None

    def take(self, completion: Completion, started_s: float | None, *, requests: int = 0) -> bool:
        """Read a reply and note it; return whether it could be read.

        Args:
            completion: The reply.
            started_s: When it was asked for.
            requests: What it took in this run; 0 where it was stored.
        """
        problem = None
        try:
            self.reply = parse_reply(self.question, completion)
        except UnreadableReply as error:
            problem = str(error)
        weights = None if self.reply is None else self.reply.weights
        self.log.append(
            JudgeReply(
                step=self.question.step,
                text=completion.text,
                weights=None if weights is None else dict(weights),
                problem=problem,
                started_s=started_s or None,
                latency_s=completion.latency_s,
                input_tokens=completion.input_tokens,
                output_tokens=completion.output_tokens,
                stored=not requests,
                requests=requests or 1,
            )
        )
        return problem is None

    def fail(self, answer: JudgeAnswer) -> None:
        """Note that no reply came."""
        self.error = answer.error or "the judge gave no reply"
        self.log.append(
            JudgeReply(
                step=self.question.step,
                problem=self.error,
                started_s=answer.started_s or None,
                requests=answer.requests,
            )
        )


@dataclass
class _OpenTask:
    """A task in progress."""

    task: JudgementTask
    steps: Steps
    waiting: tuple[str, ...] = ()
    """Keys of the questions it waits for."""
    past: list[_OpenQuestion] = field(default_factory=list)

    def outcome(self, score: Score | None, error: str | None = None) -> JudgementOutcome:
        """Return the outcome, with the bill of what no other judgement has paid."""
        bill = [asked for asked in self.past if not asked.counted]
        replies = [
            reply.model_copy(update={"stored": True}) if asked.counted else reply
            for asked in self.past
            for reply in asked.log
        ]
        for asked in bill:
            asked.counted = True
        spent = [completion for asked in bill for completion in asked.spent]
        return JudgementOutcome(
            score,
            error,
            replies=tuple(replies),
            attempts=sum(asked.requests for asked in bill),
            input_tokens=_total(spent, "input_tokens"),
            output_tokens=_total(spent, "output_tokens"),
            cost=_total(spent, "cost"),
            latency_s=_total(spent, "latency_s"),
        )


@dataclass
class ModelJuror:
    """A judge model as a juror; its earlier replies are read from the store."""

    model: JudgeModel
    store: AnswerCache | None = None
    gone: str | None = None
    """Why the model is asked no more."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """That of the model."""
        return self.model.identity

    @property
    def fingerprint(self) -> str:
        """That of the model."""
        return self.model.fingerprint

    def stop(self) -> None:
        """Ask nothing new; what is in progress is still answered, and stored."""
        self.gone = self.gone or "the run was stopped before it was asked"

    def judge(
        self, tasks: Sequence[JudgementTask]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        """Yield every task with its outcome, each as soon as it is known."""
        known: dict[str, _OpenQuestion] = {}
        going = [_OpenTask(task, task.judge.begin(task.case, *task.completions)) for task in tasks]
        waiting = []
        for judgement in going:
            ended = self._advance(judgement, None, known)
            if ended is None:
                waiting.append(judgement)
            else:
                yield judgement.task, ended
        while waiting:
            yield from self._round(waiting, known)
            waiting = [judgement for judgement in waiting if judgement.waiting]

    def _round(
        self, waiting: Sequence[_OpenTask], known: dict[str, _OpenQuestion]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        """Ask what is waited for; take every judgement as far as it goes."""
        wanted = {k: known[k] for j in waiting for k in j.waiting if not known[k].settled}
        users: dict[str, list[_OpenTask]] = {}
        for judgement in waiting:
            for key in judgement.waiting:
                users.setdefault(key, []).append(judgement)
        # First those whose questions were all answered for others.
        ready = [j for j in waiting if not any(key in wanted for key in j.waiting)]
        for judgement in ready:
            yield from self._resume(judgement, known)
        for key in self._settle(wanted):
            for judgement in users[key]:
                if judgement.waiting and all(known[k].settled for k in judgement.waiting):
                    yield from self._resume(judgement, known)

    def _resume(
        self, judgement: _OpenTask, known: dict[str, _OpenQuestion]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        asked = [known[key] for key in judgement.waiting]
        judgement.waiting = ()
        judgement.past += asked
        error = next((a.error for a in asked if a.error is not None), None)
        if error is not None:
            judgement.steps.close()
            yield judgement.task, judgement.outcome(None, error)
            return
        ended = self._advance(judgement, [a.reply for a in asked if a.reply is not None], known)
        if ended is not None:
            yield judgement.task, ended

    def _advance(
        self,
        judgement: _OpenTask,
        replies: Sequence[ParsedReply] | None,
        known: dict[str, _OpenQuestion],
    ) -> JudgementOutcome | None:
        """Send replies to a judge; return its outcome, or None if it asks on."""
        try:
            steps = judgement.steps
            questions = next(steps) if replies is None else steps.send(replies)
        except StopIteration as ended:
            problem = _no_score(judgement.task, ended.value)
            return judgement.outcome(None if problem else ended.value, problem)
        except Exception as error:  # the judge's own code, a user's perhaps: no score comes of it
            name = judgement.task.judge.name
            return judgement.outcome(None, f"the judge {name!r} failed: {error_summary(error)}")
        keys = []
        for question in questions:
            key = self._key(question, judgement.task.repeat)
            known.setdefault(key, _OpenQuestion(question))
            keys.append(key)
        judgement.waiting = tuple(keys)
        return None

    def _key(self, question: JudgeQuestion, repeat: int) -> str:
        again = [repeat] if repeat else []
        return sha256(["judge", self.model.fingerprint, question.hash, *again])

    def _settle(self, wanted: Mapping[str, _OpenQuestion]) -> Iterator[str]:
        """Yield the key of each question as soon as it has its reply, or never will."""
        left = {}
        stored = {} if self.store is None else self.store.judge_answers(wanted)
        for key, asked in wanted.items():
            row = stored.get(key)
            known = None if row is None else row.completion
            if row is not None and known is not None and asked.take(known, row.started_s):
                yield key
            else:
                left[key] = asked
        for attempt in range(1 + RE_ASKS):
            again = {}
            for key in self._ask(left, last=attempt == RE_ASKS):
                if left[key].settled:
                    yield key
                else:
                    again[key] = left[key]
            left = again

    def _ask(self, left: Mapping[str, _OpenQuestion], *, last: bool) -> Iterator[str]:
        """Yield the key of each question once it was answered, readably or not, or failed."""
        if not left:
            return
        unanswered = dict(left)
        put = _RoundQuestions({key: _question_to_send(asked) for key, asked in left.items()}, self)
        answers = iter(()) if self.gone else self.model.ask(put)
        try:
            for answer in answers:
                asked = unanswered.pop(answer.key)
                self._take(asked, answer, last=last)
                yield answer.key
        except BackendError as error:
            self.gone = str(error)
        finally:
            close = getattr(answers, "close", None)
            if close is not None:
                close()
        for key, asked in unanswered.items():
            asked.error = self.gone or "the judge left it unanswered"
            yield key

    def _take(self, asked: _OpenQuestion, answer: JudgeAnswer, *, last: bool) -> None:
        asked.attempts += 1
        asked.requests += answer.requests
        if answer.completion is None:
            asked.fail(answer)
            return
        asked.spent.append(answer.completion)
        if asked.take(answer.completion, answer.started_s, requests=answer.requests):
            if self.store is not None:
                self.store.put(answer, replace=True)
        elif last:
            asked.error = f"unreadable reply, asked {asked.attempts} times: {asked.log[-1].problem}"


class _RoundQuestions(dict[str, JudgeQuestion]):
    """The questions of a round, of which no more are taken once the juror asks no more."""

    def __init__(self, questions: Mapping[str, JudgeQuestion], juror: ModelJuror) -> None:
        super().__init__(questions)
        self.juror = juror

    def items(self) -> Any:
        """Yield the questions one by one, as they are taken."""
        for pair in super().items():
            if self.juror.gone is not None:
                return
            yield pair


def _question_to_send(asked: _OpenQuestion) -> JudgeQuestion:
    """Return the question as it is put: again, with what was wrong with the reply before."""
    if not asked.attempts:
        return asked.question
    note = _AGAIN.replace("{problem}", asked.log[-1].problem or "")
    return replace(asked.question, note=note)


def _no_score(task: JudgementTask, score: Any) -> str | None:
    """Return why what a judge returned is no score of its range; None if it is one."""
    name = task.judge.name
    if not isinstance(score, Score):
        return f"the judge {name!r} returned no Score"
    limits = (-1.0, 1.0) if task.judge.pairs else task.judge.range
    if limits is None or score.value is None:
        return None
    if limits[0] - 1e-9 <= score.value <= limits[1] + 1e-9:
        return None
    return f"the judge {name!r} returned {score.value:g}, outside {limits[0]:g} to {limits[1]:g}"


def _total(spent: Sequence[Completion], name: str) -> Any:
    """Return the sum of what is known; None if nothing is."""
    known = [value for c in spent if (value := getattr(c, name)) is not None]
    return sum(known) if known else None


LONGEST = 200_000
"""Characters of a reply beyond which nothing is read."""


class UnreadableReply(ValueError):
    """A reply that is not of the form asked for."""


def parse_reply(question: JudgeQuestion, completion: Completion) -> ParsedReply:
    """Return a judge model's reply.

    Raises:
        UnreadableReply: in words, why it is none.
    """
    if completion.choice_logprobs is not None:
        return _reply_of_logprobs(question, completion.choice_logprobs)
    text = completion.text or ""
    if not text.strip():
        raise UnreadableReply("the reply is empty")
    if completion.finish_reason == "length":
        raise UnreadableReply("the reply was cut at its token limit")
    if len(text) > LONGEST:
        raise UnreadableReply(f"the reply has {len(text)} characters, more than {LONGEST}")
    value = _parse_json(text)
    if not isinstance(value, dict):
        raise UnreadableReply(f"the reply is not a JSON object: {_short(text)}")
    _check(question, value)
    fields = {name: _coerce_value(value[name], form) for name, form in question.fields.items()}
    return ParsedReply(fields, question.choice)


def _coerce_value(value: Any, form: Mapping[str, Any]) -> Any:
    """Return a value as the question spells it: JSON's 4.0 is the verdict 4."""
    allowed = form.get("enum")
    return replace_surrogates(value) if allowed is None else allowed[allowed.index(value)]


def _reply_of_logprobs(question: JudgeQuestion, logprobs: tuple[float, ...]) -> ParsedReply:
    """Return the reply of a local model: the probabilities of the verdicts it could give."""
    import math

    labels = question.labels
    if len(labels) != len(logprobs) or not labels:
        raise UnreadableReply(f"{len(logprobs)} probabilities for {len(labels)} verdicts")
    top = max(logprobs)
    odds = [math.exp(value - top) for value in logprobs]
    weights = {label: o / sum(odds) for label, o in zip(labels, odds, strict=True)}
    choice = question.choice or ""
    likeliest = max(weights, key=lambda label: weights[label])
    value = question.fields[choice]["enum"][labels.index(likeliest)]
    return ParsedReply({choice: value}, choice, weights)


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except RecursionError:
        raise UnreadableReply("the reply is nested too deeply") from None
    except UnreadableReply:
        raise
    except ValueError as error:
        raise UnreadableReply(f"the reply is not JSON alone ({error}): {_short(text)}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name, times in Counter(names).items() if times > 1)
        raise UnreadableReply(f"the key {twice!r} is in the reply twice")
    return found


def _refuse(name: str) -> Any:
    raise UnreadableReply(f"{name} is not a JSON number")


def _check(question: JudgeQuestion, value: Mapping[str, Any]) -> None:
    if value.get("nonce") != question.nonce:
        raise UnreadableReply(f"the reply's nonce is not {question.nonce!r}")
    body = {"type": "object", "additionalProperties": False, "properties": dict(question.fields),
            "required": list(question.fields)}  # fmt: skip
    rest = {name: item for name, item in value.items() if name != "nonce"}
    error = next(iter(_validator(canonical_json(body)).iter_errors(rest)), None)
    if error is not None:
        place = ".".join(map(str, error.absolute_path))
        raise UnreadableReply(f"{place}: {_short(error.message)}" if place else error.message[:300])
    if question.verdicts:
        numbers = [item["number"] for item in value[VERDICTS]]
        if numbers != list(range(1, question.verdicts + 1)):
            raise UnreadableReply(
                f"the verdicts are numbered {_short(str(numbers))}, not 1 to {question.verdicts}"
            )


@cache
def _validator(schema: str) -> Any:
    """Return the validator of a schema without the nonce, which is another in each question."""
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(schema))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 120 else f"{line[:119]}…"
