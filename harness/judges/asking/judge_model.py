"""The contract of judge models: tasks in, outcomes out; a jury takes the median of several.

Most judge models are language models behind a backend, which answer the questions of a judge
(`tunegate.harness.judges.asking.conversation`). Programs and recordings judge whole answers.
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
"""Fields of a case that judges never see."""


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
    """One completion, or one pair, for one judge."""

    metric: str
    judge: Judge
    case: Case
    completions: tuple[Completion, ...]
    """One, or base's and tuned's."""
    repeat: int = 0
    """Number of the repetition, when calibration asks the same again to see whether it flips."""
    target: JudgementTarget | None = None
    """Whose completion it is; the first one's if several are identical."""
    apart: str = ""
    """Keeps tasks of the same content apart: the case's id when judgements are replayed."""

    @property
    def key(self) -> str:
        """Hash of what is judged and how; equal for identical completions."""
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
    """None if judging failed; unscored if the judge abstained."""
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


class JudgeBackend(Protocol):
    """A language model that answers a judge's questions."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Spec, backend and settings, for people."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything in it that can change a reply."""

    def ask(self, questions: Mapping[str, JudgeQuestion]) -> Iterator[JudgeAnswer]:
        """Yield one answer for each key, in any order, each as soon as it is known.

        A choice may be answered by `choice_logprobs`, one for each of the question's labels.

        Raises:
            BackendError: the whole backend is gone; answers yielded so far count.
        """


class JudgeModel(Protocol):
    """A model, program or recording that judges completions."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """Description for people; always has `spec`."""

    @property
    def fingerprint(self) -> str:
        """Hash of everything in it that can change a judgement."""

    def judge(
        self, tasks: Sequence[JudgementTask]
    ) -> Iterator[tuple[JudgementTask, JudgementOutcome]]:
        """Yield every task with its outcome, each as soon as it is known."""


@runtime_checkable
class RecordedJudgeModel(Protocol):
    """A judge model that replays recorded judgements and cannot be asked anything new."""

    @property
    def recorded(self) -> Literal[True]:
        """Marks such a judge model."""


def are_recorded(judge_models: Iterable[JudgeModel]) -> bool:
    """Return whether any judge model replays recorded judgements."""
    return any(isinstance(judge_model, RecordedJudgeModel) for judge_model in judge_models)


@dataclass(frozen=True, slots=True)
class JudgedTask:
    """What one judge model says of a task."""

    task: JudgementTask
    outcome: JudgementOutcome
    judge_model: JudgeModel = field(repr=False)

    def judgements(self, targets: Sequence[JudgementTarget]) -> Iterator[Judgement]:
        """Yield a judgement for each target; the first carries the cost."""
        key = sha256([self.judge_model.fingerprint, self.task.key])
        for number, target in enumerate(targets):
            yield self._line(key, target, self.outcome if number == 0 else None)

    def _line(self, key: str, target: JudgementTarget, spent: JudgementOutcome | None) -> Judgement:
        score = self.outcome.score
        return Judgement(
            key=key,
            suite=target.suite,
            metric=target.metric,
            case=target.case,
            arm=target.arm,
            sample=target.sample,
            judge=self.judge_model.identity["spec"],
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


def combine_outcomes(outcomes: Sequence[JudgementOutcome]) -> Score:
    """Return the median score of a jury, or the score of its only judge model.

    Unless more than half of them gave a value, the completion is unscored.
    """
    scored = [o.score for o in outcomes if o.score is not None and o.score.value is not None]
    if 2 * len(scored) <= len(outcomes):
        return _first_unscored(outcomes)
    if len(outcomes) == 1:
        return scored[0]
    values = [score.value for score in scored if score.value is not None]
    parts = _medians([score.parts or {} for score in scored])
    middle = statistics.median(values)
    nearest = min(scored, key=lambda score: abs((score.value or 0.0) - middle))
    return Score.of(middle, nearest.reason, parts={**parts, SPREAD: max(values) - min(values)})


def _first_unscored(outcomes: Sequence[JudgementOutcome]) -> Score:
    failed = [o for o in outcomes if o.status is JudgementStatus.JUDGE_ERROR]
    if failed:
        return Score.unscored(f"judge_error: {failed[0].error}")
    return next(o.score for o in outcomes if o.score is not None and o.score.value is None)


def _medians(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for one in parts for name in one)
    return {n: statistics.median(one[n] for one in parts if n in one) for n in names}
