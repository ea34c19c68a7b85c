"""What a calibration asks: a metric, its judge models, and the tasks it makes of answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from tunegate.harness.contracts.judge import Judge
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.judges.asking.judge_model import (
    JudgementOutcome,
    JudgementTarget,
    JudgementTask,
    JudgeModel,
    are_recorded,
    combine_outcomes,
)
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.labels import Label
from tunegate.harness.records.scores import Score


@dataclass(frozen=True)
class CalibrationSetup:
    """A judge metric and the judge models that are asked."""

    metric: Metric
    judge_models: Sequence[JudgeModel]
    stream: TextIO | None = None
    suite: str = ""
    """The suite's name, by which recorded judgements are found."""

    @property
    def recorded(self) -> bool:
        """Whether judgements are replayed, so that nothing new can be asked."""
        return are_recorded(self.judge_models)

    @property
    def judge(self) -> Judge:
        """The judge behind the metric."""
        assert self.metric.judge is not None
        return self.metric.judge

    @property
    def good_from(self) -> float:
        """Lowest score of a good answer: the middle of the range."""
        low, high = self.metric.range or (0.0, 1.0)
        return (low + high) / 2

    def task(
        self, case: Case, *texts: str, repeat: int = 0, whose: Label | None = None
    ) -> JudgementTask:
        """Return the task of judging an answer, or base's and tuned's.

        `whose` is the label of the answer; a made-up answer has none.
        """
        completions = tuple(Completion(text=text, finish_reason="stop") for text in texts)
        name, target = self.metric.name, None
        if whose is not None:
            target = JudgementTarget(self.suite, name, whose.id, whose.arm or "")
        apart = whose.id if whose is not None and self.recorded else ""
        return JudgementTask(name, self.judge, case, completions, repeat, target, apart)

    def scores(self, tasks: Iterable[JudgementTask]) -> Mapping[str, Score]:
        """Return task key → score; unscored if the judge failed or abstained."""
        wanted = list({task.key: task for task in tasks}.values())
        outcomes_of: dict[str, list[JudgementOutcome]] = {task.key: [] for task in wanted}
        total = float(len(wanted) * len(self.judge_models))
        progress = None if self.stream is None else ProgressReporter(total, stream=self.stream)
        try:
            for judge_model in self.judge_models:
                for task, outcome in judge_model.judge(wanted):
                    outcomes_of[task.key].append(outcome)
                    if progress is not None:
                        progress.add(1.0, tokens=outcome.output_tokens or 0, label="judging")
        finally:
            if progress is not None:
                progress.close()
        return {key: combine_outcomes(outcomes) for key, outcomes in outcomes_of.items()}
