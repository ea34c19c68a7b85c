"""Calibration rates: from pairs of human label and judge score to agreement and error rates."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from tunegate.harness.records.calibration import ArmErrors, LabelledPair, RateEstimate
from tunegate.harness.records.cases import Case
from tunegate.harness.records.labels import Label
from tunegate.harness.records.scores import Score
from tunegate.harness.stats import judge_accuracy, judge_bias
from tunegate.harness.stats.judge_accuracy import cohens_kappa
from tunegate.harness.stats.types import Interval

ALL = "all"
"""Name of the arm of labels that name none."""


@dataclass(frozen=True, slots=True)
class JudgedLabel:
    """A label with the judge's score of the same answer."""

    label: Label
    score: float


def rate_estimate(interval: Interval, n: int) -> RateEstimate:
    """Return an interval of the statistics as a record."""
    return RateEstimate(estimate=interval.estimate, low=interval.low, high=interval.high, n=n)


def confusion_table(rows: Sequence[JudgedLabel], good_from: float) -> list[list[int]]:
    """Return counts: rows by people, columns by the judge, good before bad."""
    counts = [[0, 0], [0, 0]]
    for row in rows:
        counts[int(row.label.label < good_from)][int(row.score < good_from)] += 1
    return counts


def cohen_kappa(counts: Sequence[Sequence[int]]) -> RateEstimate:
    """Return the agreement beyond chance."""
    return rate_estimate(cohens_kappa(counts), _size(counts))


def balanced_accuracy(counts: Sequence[Sequence[int]]) -> RateEstimate | None:
    """Return the mean of sensitivity and specificity; None if people used one label only."""
    if not all(map(sum, counts)):
        return None
    return rate_estimate(judge_accuracy.balanced_accuracy(counts), _size(counts))


def arm_errors(rows: Sequence[JudgedLabel], good_from: float) -> dict[str, ArmErrors]:
    """Return the judge's errors on each arm."""
    arms: dict[str, list[JudgedLabel]] = {}
    for row in rows:
        arms.setdefault(row.label.arm or ALL, []).append(row)
    return {arm: _errors(confusion_table(own, good_from)) for arm, own in sorted(arms.items())}


def _errors(counts: Sequence[Sequence[int]]) -> ArmErrors:
    good, bad = map(sum, counts)
    return ArmErrors(
        n=good + bad,
        sensitivity=rate_estimate(judge_accuracy.sensitivity(counts), good) if good else None,
        specificity=rate_estimate(judge_accuracy.specificity(counts), bad) if bad else None,
    )


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Difference tuned − base on one case, by people and by the judge."""

    human: float
    judge: float
    log_ratio: float
    """Logarithm of the lengths' ratio, tuned's to base's."""


def paired_differences(rows: Sequence[JudgedLabel]) -> list[PairedDifference]:
    """Return the cases on which both arms' answers have a label and a score."""
    return [
        PairedDifference(
            human=tuned.label.label - base.label.label,
            judge=tuned.score - base.score,
            log_ratio=log_ratio(base.label.completion, tuned.label.completion),
        )
        for base, tuned in both_arms(rows)
    ]


def labelled_pairs(
    scored: Iterable[tuple[Label, Label, float, float]], case_of: Callable[[Label], Case]
) -> tuple[LabelledPair, ...]:
    """Return labelled pairs with the judge's scores, equal ones counted.

    Args:
        scored: Base's and tuned's label, and the judge's scores of their answers.
        case_of: From a label to its case.
    """
    counts = Counter(
        (base.label, tuned.label, *scores, case_of(base).cluster) for base, tuned, *scores in scored
    )
    return tuple(
        LabelledPair(
            base_label=base,
            tuned_label=tuned,
            base_score=base_score,
            tuned_score=tuned_score,
            cluster=cluster,
            n=n,
        )
        for (base, tuned, base_score, tuned_score, cluster), n in counts.items()
    )


def both_arms(rows: Sequence[JudgedLabel]) -> list[tuple[JudgedLabel, JudgedLabel]]:
    """Return base's and tuned's row of the cases on which both have one."""
    found: dict[str, dict[str, JudgedLabel]] = {}
    for row in rows:
        if row.label.arm:
            found.setdefault(row.label.id, {})[row.label.arm] = row
    return [(p["base"], p["tuned"]) for p in found.values() if {"base", "tuned"} <= p.keys()]


def log_ratio(base: str, tuned: str) -> float:
    """Return the logarithm of two answers' length ratio; an empty one counts as one character."""
    return math.log((len(tuned.strip()) + 1) / (len(base.strip()) + 1))


def differential_error(
    pairs: Sequence[PairedDifference], bound: float | None
) -> RateEstimate | None:
    """Return how far the judge's mean difference is from people's; None below two pairs."""
    if len(pairs) < 2:
        return None
    human, judge = [p.human for p in pairs], [p.judge for p in pairs]
    return rate_estimate(judge_accuracy.differential_error(human, judge, bound=bound), len(pairs))


def length_slope(pairs: Sequence[PairedDifference]) -> RateEstimate | None:
    """Return how the judged difference goes with length; None where lengths are no evidence."""
    ratios = [p.log_ratio for p in pairs]
    if len(pairs) < 4 or max(ratios) - min(ratios) < 1e-9:
        return None
    fitted = judge_bias.length_fit([p.judge for p in pairs], ratios)
    return rate_estimate(fitted.slope, len(pairs))


def _size(counts: Sequence[Sequence[int]]) -> int:
    return sum(map(sum, counts))


@dataclass(frozen=True)
class CalibrationSetup:
    """The judges of a calibration with what they judge by."""

    metric: Metric
    judge_models: Sequence[JudgeModel]
    stream: TextIO | None = None
    suite: str = ""
    """Name of the suite, by which recorded judgements are found."""

    @property
    def recorded(self) -> bool:
        """Whether judgements are read that were made before, so that nothing else can be asked."""
        return are_recorded(self.judge_models)

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

    def task(
        self, case: Case, *texts: str, repeat: int = 0, whose: Label | None = None
    ) -> JudgementTask:
        """Return the task of judging an answer, or base's and tuned's.

        Args:
            case: The case.
            texts: The answers.
            repeat: Which repetition it is.
            whose: Label of the answer; none of one that was made up.
        """
        completions = tuple(Completion(text=text, finish_reason="stop") for text in texts)
        name, place = self.metric.name, None
        if whose is not None:
            place = JudgementTarget(self.suite, name, whose.id, whose.arm or "")
        apart = whose.id if whose is not None and self.recorded else ""
        return JudgementTask(name, self.judge, case, completions, repeat, place, apart)

    def scores(self, tasks: Iterable[JudgementTask]) -> Mapping[str, Score]:
        """Return key of the task → its score, unscored where the judge failed or abstained."""
        wanted = list({task.key: task for task in tasks}.values())
        found: dict[str, list[JudgementOutcome]] = {task.key: [] for task in wanted}
        total = float(len(wanted) * len(self.judge_models))
        progress = None if self.stream is None else ProgressReporter(total, stream=self.stream)
        try:
            for judge_model in self.judge_models:
                for task, outcome in judge_model.judge(wanted):
                    found[task.key].append(outcome)
                    if progress is not None:
                        progress.add(1.0, tokens=outcome.output_tokens or 0, label="judging")
        finally:
            if progress is not None:
                progress.close()
        return {key: combine_outcomes(outcomes) for key, outcomes in found.items()}
