"""Judging stage of a run: every judge metric on every completion, each task once.

It returns score rows, which verdict and report treat like any other metric's, and the judgements
behind them. Identical completions are judged once, whichever arm they come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TextIO

from tunegate.harness.contracts.further_arm import further_arm
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.engine.interrupts import stop_on_signal
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.judges.asking.judge_model import (
    JudgedTask,
    JudgementOutcome,
    JudgementTarget,
    JudgementTask,
    JudgeModel,
    are_recorded,
    combine_outcomes,
)
from tunegate.harness.records.answers import CellKind, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import RunInterrupted
from tunegate.harness.records.judgements import Judgement
from tunegate.harness.records.scores import Score, ScoreRow
from tunegate.harness.suite import Suite

NO_JUDGE = "no judge was asked; name one with --gate-judge SPEC"


@dataclass(frozen=True)
class JudgingResult:
    """The scores and judgements of a run."""

    rows: tuple[ScoreRow, ...] = field(repr=False, default=())
    judgements: tuple[Judgement, ...] = field(repr=False, default=())


@dataclass(frozen=True)
class _CompletionToJudge:
    """A completion, or base's and tuned's, that a judge metric scores."""

    metric: Metric
    case: Case
    """As the model saw it, the suite's system prompt included."""
    cells: tuple[StoredAnswer, ...]

    @property
    def target(self) -> JudgementTarget:
        cell = self.cells[-1].cell
        return JudgementTarget(cell.suite, self.metric.name, cell.case, cell.arm, cell.sample)

    @property
    def missing(self) -> str | None:
        """Why there is nothing to judge; None if there is."""
        for stored in self.cells:
            if stored.completion is None:
                return stored.error or "there is no completion"
            if stored.completion.text is None:
                return "the completion has no text"
        return None

    @property
    def task(self) -> JudgementTask:
        assert self.metric.judge is not None
        completions = tuple(c.completion for c in self.cells if c.completion is not None)
        return JudgementTask(
            self.metric.name, self.metric.judge, self.case, completions, target=self.target
        )


def judge_metrics(suites: Iterable[Suite]) -> list[tuple[Suite, Metric]]:
    """Return the metrics that ask a judge, with their suites."""
    return [(s, m) for s in suites for m in s.metrics if m.judge is not None]


def run_judges(
    suites: Sequence[Suite],
    cells: Iterable[StoredAnswer],
    judge_models: Sequence[JudgeModel],
    *,
    stream: TextIO | None = None,
) -> JudgingResult:
    """Judge the completions of a run.

    Args:
        suites: The suites.
        cells: The answers of the run.
        judge_models: Who judges; without any, every judge metric is unscored.
        stream: Where progress is written; None writes nothing.

    Raises:
        RunInterrupted: the user asked to stop; the replies so far are stored.
        BackendError: the store failed.
    """
    completions = list(_completions_to_judge(suites, cells)) if judge_metrics(suites) else []
    targets_of: dict[str, list[JudgementTarget]] = {}
    tasks: dict[str, JudgementTask] = {}
    recorded = are_recorded(judge_models)
    for completion in completions if judge_models else ():
        if completion.missing is None:
            task = (
                replace(completion.task, apart=completion.case.id) if recorded else completion.task
            )
            tasks.setdefault(task.key, task)
            targets_of.setdefault(task.key, []).append(completion.target)
    outcomes: dict[JudgementTarget, list[JudgementOutcome]] = {}
    judgements: list[Judgement] = []
    for judged in _outcomes(list(tasks.values()), judge_models, stream):
        targets = targets_of[judged.task.key]
        judgements += judged.judgements(targets)
        for target in targets:
            outcomes.setdefault(target, []).append(judged.outcome)
    order = {completion.target: number for number, completion in enumerate(completions)}
    specs = [judge_model.identity["spec"] for judge_model in judge_models]
    judgements.sort(key=lambda j: (order[_target_of(j)], specs.index(j.judge)))
    return JudgingResult(tuple(_rows(completions, outcomes)), tuple(judgements))


def _target_of(line: Judgement) -> JudgementTarget:
    return JudgementTarget(line.suite, line.metric, line.case, line.arm, line.sample)


def _outcomes(
    tasks: Sequence[JudgementTask], judge_models: Sequence[JudgeModel], stream: TextIO | None
) -> Iterator[JudgedTask]:
    """Yield what every judge model says of every task; Ctrl-C only waits for open requests."""
    progress = (
        None
        if stream is None
        else ProgressReporter(float(len(tasks) * len(judge_models)), stream=stream)
    )
    try:
        with stop_on_signal() as stop:
            for judge_model in judge_models:
                for task, outcome in judge_model.judge(tasks) if tasks else ():
                    yield JudgedTask(task, outcome, judge_model)
                    if progress is not None:
                        tokens = outcome.output_tokens or 0
                        progress.add(1.0, tokens=tokens, label=f"judging · {task.metric}")
                    if stop.requested:
                        stop_asking = getattr(judge_model, "stop", None)
                        if stop_asking is None:
                            break
                        stop_asking()  # open requests are still answered
                if stop.requested:
                    raise RunInterrupted(
                        f"stopped by signal {stop.signal_number}", stop.signal_number
                    )
    finally:
        if progress is not None:
            progress.close()


def _completions_to_judge(
    suites: Sequence[Suite], cells: Iterable[StoredAnswer]
) -> Iterator[_CompletionToJudge]:
    """Yield completions by suite, metric, case, arm and sample."""
    metrics = judge_metrics(suites)
    names = {suite.name for suite, _ in metrics}
    by_case: dict[tuple[str, str], list[StoredAnswer]] = {}
    for stored in cells:
        if stored.cell.kind is CellKind.GENERATE and stored.cell.suite in names:
            by_case.setdefault((stored.cell.suite, stored.cell.case), []).append(stored)
    for suite, metric in metrics:
        for case in (case_with_system(c, suite.generation.system) for c in suite.cases):
            answers = by_case.get((suite.name, case.id), [])
            if metric.judge is not None and metric.judge.pairs:
                for pair in _pairs(answers):
                    yield _CompletionToJudge(metric, case, pair)
            else:
                for stored in answers:
                    yield _CompletionToJudge(metric, case, (stored,))


def case_with_system(case: Case, system: str | None) -> Case:
    """Return a case with the suite's system prompt as its first message."""
    if system is None:
        return case
    turns = case.input_messages(system)
    return case.model_copy(update={"prompt": None, "messages": turns})


def _pairs(cells: Sequence[StoredAnswer]) -> list[tuple[StoredAnswer, StoredAnswer]]:
    """Return base's and tuned's completions of the same sample."""
    arms = {(c.cell.arm, c.cell.sample): c for c in cells}
    samples = sorted({c.cell.sample for c in cells if further_arm(c.cell.arm).reported})
    return [
        (arms["base", sample], arms["tuned", sample])
        for sample in samples
        if ("base", sample) in arms and ("tuned", sample) in arms
    ]


def _rows(
    completions: Sequence[_CompletionToJudge],
    outcomes_of: Mapping[JudgementTarget, list[JudgementOutcome]],
) -> Iterator[ScoreRow]:
    """Yield a row for each metric, case and arm: the mean over the samples."""
    scores: dict[tuple[str, str, str, str], list[Score]] = {}
    for completion in completions:
        target, outcomes = completion.target, outcomes_of.get(completion.target)
        if completion.missing is not None:
            score = Score.unscored(completion.missing)
        else:
            score = Score.unscored(NO_JUDGE) if outcomes is None else combine_outcomes(outcomes)
        pairs = completion.metric.judge is not None and completion.metric.judge.pairs
        for arm, arm_score in _split_advantage(score) if pairs else [(target.arm, score)]:
            scores.setdefault((target.suite, target.metric, target.case, arm), []).append(arm_score)
    for (suite, metric, case, arm), samples in scores.items():
        values = [score.value for score in samples if score.value is not None]
        unscored = [score.reason for score in samples if score.value is None]
        reasons = [score.reason for score in samples if score.reason]
        yield ScoreRow(
            suite=suite,
            metric=metric,
            case=case,
            arm=arm,
            value=None if unscored else sum(values) / len(values),
            reason=(unscored or reasons or [None])[0],
            parts=None if unscored else _means(samples),
        )


def _split_advantage(advantage: Score) -> list[tuple[str, Score]]:
    """Split tuned's advantage (-1 to 1) into two scores whose difference it is."""
    if advantage.value is None:
        return [("base", advantage), ("tuned", advantage)]
    base, tuned = (1 - advantage.value) / 2, (1 + advantage.value) / 2
    return [
        (arm, Score.of(value, advantage.reason, parts=advantage.parts))
        for arm, value in (("base", base), ("tuned", tuned))
    ]


def _means(samples: Sequence[Score]) -> dict[str, float] | None:
    by_name: dict[str, list[float]] = {}
    for score in samples:
        for name, value in (score.parts or {}).items():
            by_name.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in by_name.items()} or None
