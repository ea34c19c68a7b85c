"""Two runs of another tool, compared score by score.

There is no verdict, because no margin was written before the scores were seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.checks.equal_answers import find_unequal_scores
from tunegate.harness.checks.liveness import check_liveness
from tunegate.harness.checks.recorded_results import compare_results
from tunegate.harness.comparison.delta import Delta, compare_scores
from tunegate.harness.contracts.result_set import ResultSet, completion_of
from tunegate.harness.models.results import result_arm
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.manifest import MetricRecord


@dataclass(frozen=True, slots=True)
class ScoreComparison:
    """One score of a task in both runs."""

    key: str
    delta: Delta
    """Over the cases with a score in both runs that were asked with one prompt."""
    better: int
    worse: int
    unpaired: int
    """The other cases of the task."""
    unequal: str
    """Why the two runs were scored by different rules; empty where nothing shows it."""


def refuse_unpaired(base: ResultSet, tuned: ResultSet) -> None:
    """Refuse two runs that have no case or no score in common."""
    if not base.case_set & tuned.case_set:
        raise UsageError(
            f"no case is in both runs: base has {min(base.case_set)!r}, tuned "
            f"{min(tuned.case_set)!r}; runs are paired by task and id"
        )
    ours, theirs = ({summary.key for summary in result_set.scores} for result_set in (base, tuned))
    if not ours & theirs:
        raise UsageError(
            f"no score is in both runs: base has {', '.join(sorted(ours))}; tuned has "
            f"{', '.join(sorted(theirs))}"
        )


def check_comparable(base: ResultSet, tuned: ResultSet, keys: Sequence[str]) -> Mapping[str, Any]:
    """Prove that the runs are of two models, asked the same; return status and note.

    Raises:
        NotComparable: they differ in more than the model, or are identical.
    """
    runs = {"base": base, "tuned": tuned}
    check_liveness({name: result_arm(name, result_set) for name, result_set in runs.items()})
    return compare_results(sorted(base.case_set | tuned.case_set), runs, keys)


def compare_task(
    base: ResultSet, tuned: ResultSet, task: str, keys: Sequence[str]
) -> Iterator[ScoreComparison]:
    """Compare each score that a run has for the task."""
    scores = {s.key for result_set in (base, tuned) for s in result_set.scores if s.task == task}
    for key in keys:
        if key in scores:
            yield _compare_score(base, tuned, task, key)


def _compare_score(base: ResultSet, tuned: ResultSet, task: str, key: str) -> ScoreComparison:
    # pair the cases that were asked with one prompt
    scores, others = _means(base, task, key), _means(tuned, task, key)
    pairs: list[tuple[float, float]] = []
    clusters: list[str] = []
    for case, score in scores.items():
        other = others.get(case)
        if score is None or other is None:
            continue
        prompt = base.answers[case, 0].prompt_sha256
        if prompt in (None, tuned.answers[case, 0].prompt_sha256):
            pairs.append((score, other))
            clusters.append(prompt or case)

    # compare
    traits = tuned.traits(task, key)
    binary = all(score in (0.0, 1.0) for pair in pairs for score in pair)
    metric = MetricRecord(
        name=key,
        use="recorded",
        needs=CellKind.RECORDED,
        higher_is_better=traits.higher_is_better is not False,
        range=(0.0, 1.0) if binary else traits.range,
        binary=binary,
    )
    delta = compare_scores(
        [score for score, _ in pairs],
        [other for _, other in pairs],
        metric=metric,
        clusters=clusters,
    )
    sign = 1 if metric.higher_is_better else -1
    changes = [sign * (other - score) for score, other in pairs]
    return ScoreComparison(
        key=key,
        delta=delta,
        better=sum(change > 0 for change in changes),
        worse=sum(change < 0 for change in changes),
        unpaired=len(scores.keys() | others.keys()) - len(pairs),
        unequal=_unequal_sentence(base, tuned, task, key),
    )


def _means(result_set: ResultSet, task: str, key: str) -> Mapping[str, float | None]:
    """Return case → mean of its samples; None if one of them is unscored or missing."""
    samples: dict[str, list[float | None]] = {}
    for (case, _), row in result_set.answers.items():
        if row.task == task:
            score = row.scores.get(key) if row.error is None else None
            samples.setdefault(case, []).append(score)
    means: dict[str, float | None] = {}
    for case, scores in samples.items():
        numbers = [score for score in scores if score is not None]
        complete = len(numbers) == len(scores) == result_set.samples
        means[case] = sum(numbers) / len(numbers) if complete else None
    return means


def _unequal_sentence(base: ResultSet, tuned: ResultSet, task: str, key: str) -> str:
    arms = {"base": base, "tuned": tuned}
    if any(result_set.traits(task, key).deterministic is False for result_set in arms.values()):
        return ""
    answers = (
        (
            case,
            {
                name: [
                    completion_of(row)
                    for sample in range(result_set.samples)
                    if (row := result_set.answers.get((case, sample))) and row.error is None
                ]
                for name, result_set in arms.items()
            },
        )
        for case in base.cases
        if base.answers[case, 0].task == task
    )
    unequal = find_unequal_scores(answers, "tuned", key)
    return unequal.sentence if unequal.too_many else ""
