"""Scores of other tools, which a suite's metrics must be able to read as they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.model import Arm
from tunegate.harness.contracts.result_set import ResultSet, ScoreSummary, results_of
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UsageError, unknown_name_message
from tunegate.harness.suite import Suite


def check_recorded_scores(suites: Iterable[Suite], arms: Mapping[str, Arm]) -> None:
    """Refuse recorded metrics that an arm's results cannot answer as the suite states them."""
    results = {name: of for name, arm in arms.items() if (of := results_of(arm)) is not None}
    problems = [
        f"{suite.name}: {problem}"
        for suite in suites
        for found in results.values()
        for problem in _suite_problems(suite, found)
    ]
    for suite in suites:
        problems += [f"{suite.name}: {problem}" for problem in _scale_problems(suite, results)]
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))


OTHER_SCALE = 4
"""Ratio of the largest scores of two arms, from which on their scales differ."""
_PERCENT = (0.0, 100.0)


def _scale_problems(suite: Suite, results: Mapping[str, ResultSet]) -> Iterator[str]:
    """Yield scores that base has on another scale than an arm, such as 0 to 1 and 0 to 100.

    A range in the metric says that both are on that scale; but scores of 0 to 1 are no percentages.
    """
    for metric in suite.metrics if "base" in results else ():
        key = str(metric.options.get("score", ""))
        if metric.needs is not CellKind.RECORDED:
            continue
        spans = {name: _spans(found, key) for name, found in results.items()}
        for name, theirs in spans.items():
            for task, (low, high) in theirs.items():
                ours = spans["base"].get(task)
                if ours is None:
                    continue
                small, large = sorted(max(map(abs, span)) for span in (ours, (low, high)))
                declared = metric.range is not None and not (
                    metric.range == _PERCENT and small <= 1
                )
                if 0 < small * OTHER_SCALE <= large and not declared:
                    yield (
                        f"metric {metric.name!r}: {key!r} is between {ours[0]:g} and {ours[1]:g} "
                        f"in base and between {low:g} and {high:g} in {name}; score both on one "
                        "scale, or write the range of both into the metric (range = [low, high])"
                    )


def _spans(found: ResultSet, key: str) -> dict[str, tuple[float, float]]:
    """Return task → smallest and largest value of a score."""
    return {s.task: (s.low, s.high) for s in found.scores if s.key == key and s.values}


def _suite_problems(suite: Suite, found: ResultSet) -> Iterator[str]:
    used = [m for m in suite.metrics if m.needs is CellKind.RECORDED]
    if not used:
        return
    place = f"results:{found.spec.path}"
    ids = {case.id for case in suite.cases}
    if not ids & found.case_set:
        yield (
            f"{place} has none of the {len(ids)} cases; it has {found.cases[0]!r} where the suite "
            f"has {suite.cases[0].id!r}; make the suite with `tunegate suite new --from {place}`"
        )
        return
    if found.samples != suite.generation.samples:
        yield (
            f"{place} has {found.samples} samples of most cases, the suite asks for "
            f"{suite.generation.samples}; write samples = {found.samples} under [generation]"
        )
    rows = [row for (case, _), row in found.answers.items() if case in ids]
    if all(row.error for row in rows):
        return  # every case is unscored, and the verdict says why
    tasks = {row.task for row in rows}
    for metric in used:
        yield from _metric_problems(metric, [s for s in found.scores if s.task in tasks], place)


def _metric_problems(metric: Metric, there: Sequence[ScoreSummary], place: str) -> Iterator[str]:
    key = str(metric.options.get("score", ""))
    name = f"metric {metric.name!r}"
    found = [summary for summary in there if summary.key == key]
    if not found:
        keys = tuple(dict.fromkeys(summary.key for summary in there))
        near = [known for known in keys if known.split(",")[0] == key]
        hint = (
            f"score {key!r} is ambiguous; there are: {', '.join(map(repr, near))}"
            if near
            else unknown_name_message(key, keys, what="score")
        )
        yield f"{name}: {place}: {hint}"
    for summary in found:
        yield from (f"{name}: {place}{p}" for p in _score_problems(metric, summary))


def _score_problems(metric: Metric, summary: ScoreSummary) -> Iterator[str]:
    """Yield where a score's values and traits contradict the metric."""
    key, traits = summary.key, summary.traits
    values = f"scores from {summary.low:g} to {summary.high:g} for {key!r}"
    if traits.refused:
        yield f": {key!r} cannot be compared by case: {traits.refused}"
    elif not summary.values:
        yield f": no answer has a number for {key!r}: {summary.reason}"
    if traits.higher_is_better not in (None, metric.higher_is_better):
        better = str(traits.higher_is_better).lower()
        yield f" states higher_is_better = {better} for {key!r}; write it into the metric"
    if not summary.values or metric.range is None:
        return
    low, high = metric.range
    if metric.binary and not summary.binary:
        yield f" has {values}, where binary = true allows 0 and 1; remove it"
    elif summary.low < low or summary.high > high:
        yield f" has {values}, outside range = [{low:g}, {high:g}]; write the true range"


def recorded_scores(suites: Iterable[Suite]) -> frozenset[str]:
    """Return the scores that recorded metrics of the suites use."""
    metrics = (metric for suite in suites for metric in suite.metrics)
    return frozenset(str(m.options["score"]) for m in metrics if m.needs is CellKind.RECORDED)


def shared_cases(suite: Suite, arms: Mapping[str, Arm]) -> tuple[Case, ...]:
    """Return the cases of a suite that every arm with results has."""
    results = [of for arm in arms.values() if (of := results_of(arm)) is not None]
    return tuple(c for c in suite.cases if all(c.id in of.case_set for of in results))
