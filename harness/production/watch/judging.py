"""Judging of a sample of production's answers, by the judge of the gate that shipped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.judges.asking.judge_model import (
    JudgementOutcome,
    JudgementTarget,
    JudgementTask,
    combine_outcomes,
)
from tunegate.harness.judges.asking.specs import open_judge_models, parse_specs
from tunegate.harness.production.watch.answered_case import AnsweredCase
from tunegate.harness.production.watch.indicators import MonitoredFigure, judge_figures
from tunegate.harness.production.watch.monitor import JudgeSample, Judging
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.scores import Score
from tunegate.harness.suite import Suite


def judge_of_sample(
    run: Run, suite: Suite, spec: str, size: int, store: Path, report: Callable[[str], None]
) -> JudgeSample:
    """Return the judge of a sample of production's answers."""
    figures = judge_figures(suite)
    _refuse_other_judge(run, suite, figures, spec)
    return JudgeSample(_make_judging(figures, spec, store, report), tuple(figures), size)


def _refuse_other_judge(
    run: Run, suite: Suite, figures: Sequence[MonitoredFigure], spec: str
) -> None:
    """Refuse a judge whose scores cannot be compared with the run's."""
    if not figures:
        raise UsageError(
            f"{suite.path}: none of its metrics has a judge score an answer by itself, so --judge "
            "has nothing to do"
        )
    judged_by = ",".join(str(identity["spec"]) for identity in run.manifest.judges)
    if judged_by and judged_by != ",".join(part.strip() for part in spec.split(",")):
        raise UsageError(f"{run.folder}: was judged by {judged_by}; name that one with --judge")
    record = next(s for s in run.manifest.suites if s.name == suite.name)
    prompts = {m.name: m.judge.prompt_sha256 for m in record.metrics if m.judge is not None}
    for figure in figures:
        judge = figure.metric and figure.metric.judge
        if judge and prompts.get(figure.name) not in (None, judge.prompt_sha256):
            raise UsageError(
                f"{suite.path}: the questions of {figure.name!r} have changed since "
                f"{run.folder}; `tunegate judge run {run.folder} --suite DIR` asks the new ones"
            )


def _make_judging(
    figures: Sequence[MonitoredFigure], spec: str, store: Path, report: Callable[[str], None]
) -> Judging:
    """Return a function that has every judge model judge each different answer once."""

    def judge(answers: Sequence[AnsweredCase]) -> list[Mapping[str, Score]]:
        tasks: dict[tuple[str, str], JudgementTask] = {}
        for answer in answers:
            for figure in figures:
                assert figure.metric is not None
                assert figure.metric.judge is not None
                assert answer.completion is not None
                target = JudgementTarget("watch", figure.name, answer.case.id, "production")
                tasks[figure.name, answer.case.id] = JudgementTask(
                    figure.name,
                    figure.metric.judge,
                    answer.case,
                    (answer.completion,),
                    target=target,
                )
        report(f"judging {len(answers)} answers of production")
        outcomes: dict[str, list[JudgementOutcome]] = {}
        opened = AnswerCache(store)
        try:
            different = list({task.key: task for task in tasks.values()}.values())
            for judge_model in open_judge_models(parse_specs(spec), opened):
                for task, outcome in judge_model.judge(different):
                    outcomes.setdefault(task.key, []).append(outcome)
        finally:
            opened.close()
        return [
            {f.name: combine_outcomes(outcomes[tasks[f.name, a.case.id].key]) for f in figures}
            for a in answers
        ]

    return judge
