"""Conversation with judge models: rounds of questions until every task has its score.

All tasks of a run advance together. A round asks whatever they wait for, as many at once as the
backend allows. Readable replies are stored immediately, and a task whose replies are complete goes
on at once. A question that two tasks share, such as the checklist of a prompt for base's answer and
for tuned's, is asked once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tunegate.harness.contracts.judge import JudgeAnswer, JudgeQuestion, ParsedReply, Steps
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judges.asking.judge_model import JudgeBackend, JudgementOutcome, JudgementTask
from tunegate.harness.judges.asking.reply import UnreadableReply, parse_reply
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.errors import BackendError, error_summary
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.judgements import JudgeReply
from tunegate.harness.records.scores import Score

RE_ASKS = 2
"""Times a question is asked again after a reply that could not be read."""
_AGAIN = " Your reply to this could not be used: {problem}. Reply once more, in exactly that form."


@dataclass
class _OpenQuestion:
    """A question in progress, with every reply to it."""

    question: JudgeQuestion
    log: list[JudgeReply] = field(default_factory=list)
    spent: list[Completion] = field(default_factory=list)
    attempts: int = 0
    """Times it was asked during this run."""
    requests: int = 0
    """Requests sent for it, retries included."""
    reply: ParsedReply | None = None
    error: str | None = None
    counted: bool = False
    """Whether a task has already been charged for it."""

    @property
    def settled(self) -> bool:
        return self.reply is not None or self.error is not None

    def take(self, completion: Completion, started_s: float | None, *, requests: int = 0) -> bool:
        """Log a reply and return whether it could be read; a stored one took 0 requests."""
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
        """Log that no reply came."""
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
        """Return the outcome, with the costs that no other task was charged for."""
        bill = [open_question for open_question in self.past if not open_question.counted]
        replies = [
            reply.model_copy(update={"stored": True}) if open_question.counted else reply
            for open_question in self.past
            for reply in open_question.log
        ]
        for open_question in bill:
            open_question.counted = True
        spent = [completion for open_question in bill for completion in open_question.spent]
        return JudgementOutcome(
            score,
            error,
            replies=tuple(replies),
            attempts=sum(open_question.requests for open_question in bill),
            input_tokens=_total(spent, "input_tokens"),
            output_tokens=_total(spent, "output_tokens"),
            cost=_total(spent, "cost"),
            latency_s=_total(spent, "latency_s"),
        )


@dataclass
class AskedJudgeModel:
    """A judge model behind a backend; earlier replies come from the store."""

    backend: JudgeBackend
    store: AnswerCache | None = None
    gone: str | None = None
    """Why the backend is not asked anything more."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """That of the backend."""
        return self.backend.identity

    @property
    def fingerprint(self) -> str:
        """That of the backend."""
        return self.backend.fingerprint

    def stop(self) -> None:
        """Ask nothing new; open requests are still answered and stored."""
        self.gone = self.gone or "the run was stopped before it was asked"

    def judge(
        self, tasks: Sequence[JudgementTask]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        """Yield every task with its outcome, each as soon as it is known."""
        by_key: dict[str, _OpenQuestion] = {}
        going = [_OpenTask(task, task.judge.begin(task.case, *task.completions)) for task in tasks]
        waiting = []
        for judgement in going:
            ended = self._advance(judgement, None, by_key)
            if ended is None:
                waiting.append(judgement)
            else:
                yield judgement.task, ended
        while waiting:
            yield from self._round(waiting, by_key)
            waiting = [judgement for judgement in waiting if judgement.waiting]

    def _round(
        self, waiting: Sequence[_OpenTask], by_key: dict[str, _OpenQuestion]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        """Ask all open questions; take every task as far as it goes."""
        wanted = {k: by_key[k] for j in waiting for k in j.waiting if not by_key[k].settled}
        users: dict[str, list[_OpenTask]] = {}
        for judgement in waiting:
            for key in judgement.waiting:
                users.setdefault(key, []).append(judgement)
        # tasks whose questions were all answered for other tasks
        ready = [j for j in waiting if not any(key in wanted for key in j.waiting)]
        for judgement in ready:
            yield from self._resume(judgement, by_key)
        for key in self._settle(wanted):
            for judgement in users[key]:
                if judgement.waiting and all(by_key[k].settled for k in judgement.waiting):
                    yield from self._resume(judgement, by_key)

    def _resume(
        self, judgement: _OpenTask, by_key: dict[str, _OpenQuestion]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        open_questions = [by_key[key] for key in judgement.waiting]
        judgement.waiting = ()
        judgement.past += open_questions
        error = next((a.error for a in open_questions if a.error is not None), None)
        if error is not None:
            judgement.steps.close()
            yield judgement.task, judgement.outcome(None, error)
            return
        ended = self._advance(
            judgement, [a.reply for a in open_questions if a.reply is not None], by_key
        )
        if ended is not None:
            yield judgement.task, ended

    def _advance(
        self,
        judgement: _OpenTask,
        replies: Sequence[ParsedReply] | None,
        by_key: dict[str, _OpenQuestion],
    ) -> JudgementOutcome | None:
        """Send replies to a judge; return its outcome, or None if it asks more."""
        try:
            steps = judgement.steps
            questions = next(steps) if replies is None else steps.send(replies)
        except StopIteration as ended:
            problem = _no_score(judgement.task, ended.value)
            return judgement.outcome(None if problem else ended.value, problem)
        except Exception as error:  # the judge may be a user's code: no score
            name = judgement.task.judge.name
            return judgement.outcome(None, f"the judge {name!r} failed: {error_summary(error)}")
        keys = []
        for question in questions:
            key = self._key(question, judgement.task.repeat)
            by_key.setdefault(key, _OpenQuestion(question))
            keys.append(key)
        judgement.waiting = tuple(keys)
        return None

    def _key(self, question: JudgeQuestion, repeat: int) -> str:
        again = [repeat] if repeat else []
        return sha256(["judge", self.backend.fingerprint, question.hash, *again])

    def _settle(self, wanted: Mapping[str, _OpenQuestion]) -> Iterator[str]:
        """Yield the key of each question once it has a reply or is given up."""
        left = {}
        stored = {} if self.store is None else self.store.judge_answers(wanted)
        for key, open_question in wanted.items():
            row = stored.get(key)
            completion = None if row is None else row.completion
            if (
                row is not None
                and completion is not None
                and open_question.take(completion, row.started_s)
            ):
                yield key
            else:
                left[key] = open_question
        for attempt in range(1 + RE_ASKS):
            again = {}
            for key in self._ask(left, last=attempt == RE_ASKS):
                if left[key].settled:
                    yield key
                else:
                    again[key] = left[key]
            left = again

    def _ask(self, left: Mapping[str, _OpenQuestion], *, last: bool) -> Iterator[str]:
        """Yield the key of each question once it was answered or failed."""
        if not left:
            return
        unanswered = dict(left)
        round_ = _RoundQuestions(
            {key: _question_to_send(open_question) for key, open_question in left.items()}, self
        )
        answers = iter(()) if self.gone else self.backend.ask(round_)
        try:
            for answer in answers:
                open_question = unanswered.pop(answer.key)
                self._take(open_question, answer, last=last)
                yield answer.key
        except BackendError as error:
            self.gone = str(error)
        finally:
            close = getattr(answers, "close", None)
            if close is not None:
                close()
        for key, open_question in unanswered.items():
            open_question.error = self.gone or "the judge left it unanswered"
            yield key

    def _take(self, open_question: _OpenQuestion, answer: JudgeAnswer, *, last: bool) -> None:
        open_question.attempts += 1
        open_question.requests += answer.requests
        if answer.completion is None:
            open_question.fail(answer)
            return
        open_question.spent.append(answer.completion)
        if open_question.take(answer.completion, answer.started_s, requests=answer.requests):
            if self.store is not None:
                self.store.put(answer, replace=True)
        elif last:
            open_question.error = (
                f"unreadable reply, asked {open_question.attempts} times: "
                f"{open_question.log[-1].problem}"
            )


class _RoundQuestions(dict[str, JudgeQuestion]):
    """The questions of a round; yields none once the judge model was stopped."""

    def __init__(
        self, questions: Mapping[str, JudgeQuestion], judge_model: AskedJudgeModel
    ) -> None:
        super().__init__(questions)
        self.judge_model = judge_model

    def items(self) -> Any:
        """Yield the questions one by one, as the backend takes them."""
        for pair in super().items():
            if self.judge_model.gone is not None:
                return
            yield pair


def _question_to_send(open_question: _OpenQuestion) -> JudgeQuestion:
    """Return the question; when asked again, with what was wrong with the last reply."""
    if not open_question.attempts:
        return open_question.question
    note = _AGAIN.replace("{problem}", open_question.log[-1].problem or "")
    return replace(open_question.question, note=note)


def _no_score(task: JudgementTask, score: Any) -> str | None:
    """Return why what a judge returned is not a valid score, or None."""
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
    """Return the sum of the known values, or None."""
    known = [value for c in spent if (value := getattr(c, name)) is not None]
    return sum(known) if known else None
