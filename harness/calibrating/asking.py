"""Asking judges about labelled answers: one score for each, or none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from harness.engine.progress import Progress
from harness.judge import Judge
from harness.judging.juror import Juror, Outcome, Task
from harness.judging.jury import combined
from harness.metric import Metric
from harness.records import Case, Completion, Score


@dataclass(frozen=True)
class Bench:
    """The judges of a calibration with what they judge by."""

    metric: Metric
    jurors: Sequence[Juror]
    stream: TextIO | None = None

    @property
    def judge(self) -> Judge:
        """The judge behind the metric."""
        assert self.metric.judge is not None
        return self.metric.judge

    @property
    def good_from(self) -> float:
        """Score from which an answer counts as good: the middle of the range."""
        low, high = self.metric.range or (0.0, 1.0)
        return (low + high) / 2

    def task(self, case: Case, *texts: str, repeat: int = 0) -> Task:
        """Return the task of judging an answer, or base's and tuned's."""
        completions = tuple(Completion(text=text, finish_reason="stop") for text in texts)
        return Task(self.metric.name, self.judge, case, completions, repeat)

    def scores(self, tasks: Iterable[Task]) -> Mapping[str, Score]:
        """Return key of the task → its score, unscored where the judge failed or abstained."""
        wanted = list({task.key: task for task in tasks}.values())
        found: dict[str, list[Outcome]] = {task.key: [] for task in wanted}
        total = float(len(wanted) * len(self.jurors))
        progress = None if self.stream is None else Progress(total, stream=self.stream)
        try:
            for juror in self.jurors:
                for task, outcome in juror.judge(wanted):
                    found[task.key].append(outcome)
                    if progress is not None:
                        progress.add(1.0, tokens=outcome.output_tokens or 0, label="judging")
        finally:
            if progress is not None:
                progress.close()
        return {key: combined(outcomes) for key, outcomes in found.items()}
