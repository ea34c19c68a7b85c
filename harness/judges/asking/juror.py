"""The juror contract: tasks in, outcomes out; a jury takes the median of several.

Most jurors are judge models, which are asked the questions that a judge of ours yields
(`tunegate.harness.judges.asking.conversation`). Others bring a judgement of their own: recorded
ones, and programs.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from tunegate.harness.contracts.judge import Judge, JudgeAnswer, JudgeQuestion
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.judgements import Judgement, JudgementStatus, JudgeReply
from tunegate.harness.records.scores import Score

_NOT_SEEN = {"id", "tags", "cluster", "stop", "delimiter", "choices", "answer"}
"""Fields of a case that no judge looks at."""


@dataclass(frozen=True, slots=True)
class JudgementTarget:
    """Whose completion a judgement is about."""

    suite: str
    metric: str
    case: str
    arm: str
    sample: int = 0


@dataclass(frozen=True)
class JudgementTask:
    """One completion, or one pair, to be judged by one judge."""

    metric: str
    judge: Judge
    case: Case
    completions: tuple[Completion, ...]
    """One, or base's and tuned's."""
    repeat: int = 0
    """Which repetition it is, where a judge is asked the same again to see whether it flips."""
    place: JudgementTarget | None = None
    """Whose completion it is; the first one's, where several are identical."""
    apart: str = ""
    """Distinguishes tasks of the same content: the case's id where judgements were
    recorded, since every case has one of its own."""

    @property
    def key(self) -> str:
        """Hash of what is judged and how; the same for identical completions."""
        case = self.case.model_dump(mode="json", exclude_none=True, exclude=_NOT_SEEN)
        texts: list[Any] = [completion.text for completion in self.completions]
        texts += [
            completion.episode.model_dump(mode="json")
            for completion in self.completions
            if completion.episode is not None
        ]
        apart = [self.apart] if self.apart else []
        judge = self.judge.name, self.judge.prompt_sha256
        return sha256([*judge, case, texts, self.repeat, *apart])


@dataclass(frozen=True, slots=True)
class JudgementOutcome:
    """The result and the cost of a task."""

    score: Score | None
    """None if the judge failed; unscored if it abstained."""
    error: str | None = None
    replies: tuple[JudgeReply, ...] = ()
    attempts: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    latency_s: float | None = None

    @property
    def status(self) -> JudgementStatus:
        """How it ended."""
        if self.score is None:
            return JudgementStatus.JUDGE_ERROR
        return JudgementStatus.ABSTAINED if self.score.value is None else JudgementStatus.OK


class JudgeModel(Protocol):
    """A model that answers a judge's questions."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Description for people: spec, backend, settings."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything in it that can change a reply."""

    def ask(self, questions: Mapping[str, JudgeQuestion]) -> Iterator[JudgeAnswer]:
        """Yield one answer for each key, in any order, each as soon as it is known.

        A choice may be answered by `choice_logprobs`, one for each of the question's labels.

        Raises:
            BackendError: the judge as a whole is gone; what was yielded counts.
        """


class Juror(Protocol):
    """Somebody who judges."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Description for people; `spec` is always there."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything in it that can change a judgement."""

    def judge(
        self, tasks: Sequence[JudgementTask]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        """Yield every task with its outcome, each as soon as it is known."""


@runtime_checkable
class RecordedJuror(Protocol):
    """A juror that reads what was judged before: it cannot be asked anything else."""

    @property
    def recorded(self) -> Literal[True]:
        """The mark of such a juror."""


def are_recorded(jurors: Iterable[Juror]) -> bool:
    """Return whether some of the jurors read their judgements."""
    return any(isinstance(juror, RecordedJuror) for juror in jurors)


@dataclass(frozen=True, slots=True)
class JudgedTask:
    """A task with its outcome and the places it is about, as one juror sees them."""

    task: JudgementTask
    outcome: JudgementOutcome
    juror: Juror = field(repr=False)

    def judgements(self, places: Sequence[JudgementTarget]) -> Iterator[Judgement]:
        """Yield a line for each place; what it took is in the first."""
        key = sha256([self.juror.fingerprint, self.task.key])
        for number, place in enumerate(places):
            yield self._line(key, place, self.outcome if number == 0 else None)

    def _line(self, key: str, place: JudgementTarget, spent: JudgementOutcome | None) -> Judgement:
        score = self.outcome.score
        return Judgement(
            key=key,
            suite=place.suite,
            metric=place.metric,
            case=place.case,
            arm=place.arm,
            sample=place.sample,
            judge=self.juror.identity["spec"],
            status=self.outcome.status,
            value=None if score is None else score.value,
            reason=self.outcome.error if score is None else score.reason,
            parts=None if score is None else score.parts,
            replies=self.outcome.replies,
            attempts=spent.attempts if spent else 0,
            input_tokens=spent.input_tokens if spent else None,
            output_tokens=spent.output_tokens if spent else None,
            cost=spent.cost if spent else None,
            latency_s=spent.latency_s if spent else None,
        )


SPREAD = "jury_spread"
"""Part of a jury's score: its largest value minus its smallest."""


def combine_jurors(outcomes: Sequence[JudgementOutcome]) -> Score:
    """Return the score of all jurors together; one juror's own score where there is one.

    More than half of them must have given a value: else the completion is unscored, for the reason
    of the first who gave none.
    """
    given = [o.score for o in outcomes if o.score is not None and o.score.value is not None]
    if 2 * len(given) <= len(outcomes):
        return _first_unscored(outcomes)
    if len(outcomes) == 1:
        return given[0]
    values = [score.value for score in given if score.value is not None]
    parts = _medians([score.parts or {} for score in given])
    middle = statistics.median(values)
    nearest = min(given, key=lambda score: abs((score.value or 0.0) - middle))
    return Score.of(middle, nearest.reason, parts={**parts, SPREAD: max(values) - min(values)})


def _first_unscored(outcomes: Sequence[JudgementOutcome]) -> Score:
    failed = [o for o in outcomes if o.status is JudgementStatus.JUDGE_ERROR]
    if failed:
        return Score.unscored(f"judge_error: {failed[0].error}")
    return next(o.score for o in outcomes if o.score is not None and o.score.value is None)


def _medians(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for one in parts for name in one)
    return {n: statistics.median(one[n] for one in parts if n in one) for n in names}
