"""Asking a judge model: in rounds, each question once, an unreadable reply at most twice more.

All judgements of a run advance together. A round asks whatever they wait for, as many at once as
the backend allows; each reply is stored the moment it could be read, and a judgement whose replies
are complete goes on at once. A question that two judgements share, such as the checklist of a
prompt for base's answer and for tuned's, is asked once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.engine.store import Store, StoredAnswer
from harness.errors import BackendError
from harness.judge import Question, Reply, Steps
from harness.judgement import JudgeReply
from harness.judging.juror import JudgeModel, Outcome, Task
from harness.judging.reading import UnreadableReply, read
from harness.model import Answer
from harness.records import Completion, Score, sha256

RE_ASKS = 2
"""Times a question is asked again after a reply that could not be read."""
_AGAIN = " Your reply to this could not be used: {problem}. Reply once more, in exactly that form."


@dataclass
class _Asked:
    """A question under way, with everything that was said to it."""

    question: Question
    log: list[JudgeReply] = field(default_factory=list)
    spent: list[Completion] = field(default_factory=list)
    attempts: int = 0
    reply: Reply | None = None
    error: str | None = None
    counted: bool = False
    """Whether a judgement has it on its bill already."""

    @property
    def settled(self) -> bool:
        return self.reply is not None or self.error is not None

    def take(self, completion: Completion, started_s: float | None) -> bool:
        """Read a reply that was asked for then, and note it; return whether it could be read."""
        problem = None
        try:
            self.reply = read(self.question, completion)
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
            )
        )
        return problem is None


@dataclass
class _Judgement:
    """A task under way."""

    task: Task
    steps: Steps
    waiting: tuple[str, ...] = ()
    """Keys of the questions it waits for."""
    past: list[_Asked] = field(default_factory=list)

    def outcome(self, score: Score | None, error: str | None = None) -> Outcome:
        """Return the outcome, with the bill of what no other judgement has paid."""
        bill = [asked for asked in self.past if not asked.counted]
        for asked in bill:
            asked.counted = True
        spent = [completion for asked in bill for completion in asked.spent]
        return Outcome(
            score,
            error,
            replies=tuple(reply for asked in self.past for reply in asked.log),
            attempts=sum(asked.attempts for asked in bill),
            input_tokens=_total(spent, "input_tokens"),
            output_tokens=_total(spent, "output_tokens"),
            cost=_total(spent, "cost"),
            latency_s=_total(spent, "latency_s"),
        )


@dataclass
class ModelJuror:
    """A judge model as a juror; what it said before is read from the store."""

    model: JudgeModel
    store: Store | None = None
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
        """Ask nothing new; what is under way is still answered, and stored."""
        self.gone = self.gone or "the run was stopped before it was asked"

    def judge(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, Outcome]]:
        """Yield every task with its outcome, each as soon as it is known."""
        known: dict[str, _Asked] = {}
        going = [_Judgement(task, task.judge.begin(task.case, *task.completions)) for task in tasks]
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
        self, waiting: Sequence[_Judgement], known: dict[str, _Asked]
    ) -> Iterator[tuple[Task, Outcome]]:
        """Ask what is waited for; take every judgement as far as it goes."""
        wanted = {k: known[k] for j in waiting for k in j.waiting if not known[k].settled}
        users: dict[str, list[_Judgement]] = {}
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
        self, judgement: _Judgement, known: dict[str, _Asked]
    ) -> Iterator[tuple[Task, Outcome]]:
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
        self, judgement: _Judgement, replies: Sequence[Reply] | None, known: dict[str, _Asked]
    ) -> Outcome | None:
        """Send replies to a judge; return its outcome, or None if it asks on."""
        try:
            steps = judgement.steps
            questions = next(steps) if replies is None else steps.send(replies)
        except StopIteration as ended:
            problem = _no_score(judgement.task, ended.value)
            return judgement.outcome(None if problem else ended.value, problem)
        except Exception as error:  # the judge's own code, a user's perhaps: no score comes of it
            name = judgement.task.judge.name
            return judgement.outcome(None, f"the judge {name!r} failed: {_one_line(error)}")
        keys = []
        for question in questions:
            key = self._key(question, judgement.task.repeat)
            known.setdefault(key, _Asked(question))
            keys.append(key)
        judgement.waiting = tuple(keys)
        return None

    def _key(self, question: Question, repeat: int) -> str:
        again = [repeat] if repeat else []
        return sha256(["judge", self.model.fingerprint, question.hash, *again])

    def _settle(self, wanted: Mapping[str, _Asked]) -> Iterator[str]:
        """Yield the key of each question as soon as it has its reply, or never will."""
        left = {}
        stored = {} if self.store is None else self.store.get(wanted)
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

    def _ask(self, left: Mapping[str, _Asked], *, last: bool) -> Iterator[str]:
        """Yield the key of each question once it was answered, readably or not, or failed."""
        if not left:
            return
        unanswered = dict(left)
        put = _UntilGone({key: _as_put(asked) for key, asked in left.items()}, self)
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

    def _take(self, asked: _Asked, answer: Answer, *, last: bool) -> None:
        asked.attempts += 1
        if answer.completion is None:
            asked.error = answer.error or "the judge gave no reply"
            return
        asked.spent.append(answer.completion)
        if asked.take(answer.completion, answer.started_s):
            if self.store is not None:
                row = StoredAnswer(answer.completion, None, answer.started_s)
                self.store.put(answer.key, row, replace=True)
        elif last:
            asked.error = f"unreadable reply, asked {asked.attempts} times: {asked.log[-1].problem}"


class _UntilGone(dict[str, Question]):
    """The questions of a round, of which no more are taken once the juror asks no more."""

    def __init__(self, questions: Mapping[str, Question], juror: ModelJuror) -> None:
        super().__init__(questions)
        self.juror = juror

    def items(self) -> Any:
        """Yield the questions one by one, as they are taken."""
        for pair in super().items():
            if self.juror.gone is not None:
                return
            yield pair


def _as_put(asked: _Asked) -> Question:
    """Return the question as it is put: again, with what was wrong with the reply before."""
    if not asked.attempts:
        return asked.question
    note = _AGAIN.replace("{problem}", asked.log[-1].problem or "")
    return replace(asked.question, form=asked.question.form + note)


def _no_score(task: Task, score: Any) -> str | None:
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


def _one_line(error: Exception) -> str:
    line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {line}"[:300]
