"""Indicators of answers: losses from 0 to 1 of one production call, without an expected answer.

One test serves all indicators. A value without a limit (length, time, tokens, cost) becomes a loss
of 1 if it is beyond the outermost tenth of the gate's values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.production.watch.answered_case import AnsweredCase
from tunegate.harness.records.scores import Score
from tunegate.harness.suite import Suite

QUANTILE = 0.9
"""Threshold of the gate's values: a tenth of them are beyond."""


class LossKind(StrEnum):
    """How a value becomes a loss."""

    SHARE = "share"
    """The value is 0 or 1."""
    MEAN = "mean"
    """The value has a range; the loss is its distance from the best, as a share of the range."""
    ABOVE = "above"
    """1 if the value is above the threshold."""
    BELOW = "below"
    """1 if the value is below the threshold."""


@dataclass(frozen=True, slots=True)
class MonitoredFigure:
    """One thing that is watched."""

    name: str
    says: str
    """What the losses count, as in "share of …"."""
    kind: LossKind
    measure: Callable[[AnsweredCase], Score] = field(repr=False)
    higher_is_better: bool = False
    range: tuple[float, float] = (0.0, 1.0)
    times: bool = False
    """Whether it needs answers that were timed one at a time."""
    metric: Metric | None = None
    """The suite's metric behind it, if any."""
    missing: str = ""
    """Why the gate may have no value for it, if there is a special reason."""
    allowed: float | None = None
    """Largest share without an alarm, if the user sets it and not the gate."""

    @property
    def cuts(self) -> bool:
        """Whether a threshold turns its values into losses."""
        return self.kind in (LossKind.ABOVE, LossKind.BELOW)

    def value(self, score: float) -> float:
        """Return what is compared with a threshold: larger is worse."""
        return -score if self.kind is LossKind.BELOW else score

    def loss(self, score: float, threshold: float | None) -> float:
        """Return the loss of a score, from 0 to 1."""
        if threshold is not None:
            return float(self.value(score) > threshold)
        low, high = self.range
        share = (score - low) / (high - low)
        return min(1.0, max(0.0, 1 - share if self.higher_is_better else share))


def suite_figures(suite: Suite) -> list[MonitoredFigure]:
    """Return the indicators of answers: the suite's own metrics first."""
    return [*_metric_figures(suite), *_general_figures(suite)]


def judge_figures(suite: Suite) -> list[MonitoredFigure]:
    """Return the figures of judges that read one answer and its prompt."""
    return [
        _metric_figure(metric)
        for metric in suite.metrics
        if metric.judge is not None and not metric.judge.pairs and metric.needs_prompt_only
    ]


_OF_ANY = ("refusal", "truncated", "loops", "length", "latency", "tokens", "cost")
"""Metrics watched under other names, with the suite's options if it has them."""


def _metric_figures(suite: Suite) -> Iterator[MonitoredFigure]:
    for metric in suite.metrics:
        named = metric.name in _OF_ANY or metric.indicative or metric.judge is not None
        if not named and metric.needs_prompt_only:
            yield _metric_figure(metric)


def _metric_figure(metric: Metric) -> MonitoredFigure:
    def measure(one: AnsweredCase) -> Score:
        if one.completion is None:
            return Score.unscored("the call failed")
        return metric(one.case, one.completion)

    limits = metric.range
    if limits is None:
        kind, says = LossKind.ABOVE, f"answers whose {metric.name} is beyond the gate's 90 %"
        if metric.higher_is_better:
            kind = LossKind.BELOW
    elif metric.binary:
        kind = LossKind.SHARE
        verb = "fail" if metric.higher_is_better else "are caught by"
        says = f"answers that {verb} {metric.name}"
    else:
        kind, says = LossKind.MEAN, f"loss of {metric.name}, as a share of its range"
    return MonitoredFigure(
        metric.name,
        says,
        kind,
        measure,
        higher_is_better=metric.higher_is_better,
        range=limits or (0.0, 1.0),
        metric=metric,
    )


def _general_figures(suite: Suite) -> Iterator[MonitoredFigure]:
    named = {metric.name: metric for metric in suite.metrics}

    def by(metric: str) -> Callable[[AnsweredCase], Score]:
        found = named.get(metric) or lookup.find_object(
            "tunegate.harness.metrics", metric, what="metric"
        )
        return lambda one: _score(found, one)

    above, below = LossKind.ABOVE, LossKind.BELOW
    yield MonitoredFigure("failed", "calls that failed", LossKind.SHARE, _failure_score)
    refusal = lookup.find_object("tunegate.harness.metrics", "refusal", what="metric")
    yield MonitoredFigure(
        "refused", "answers that refuse", LossKind.SHARE, _refusal_measure(refusal)
    )
    yield MonitoredFigure(
        "truncated", "answers that the token limit cut", LossKind.SHARE, by("truncated")
    )
    yield MonitoredFigure("loops", "answers caught in a loop", LossKind.SHARE, by("loops"))
    yield MonitoredFigure(
        "longer", "answers longer than the gate's longest tenth", above, by("length")
    )
    yield MonitoredFigure(
        "shorter", "answers shorter than the gate's shortest tenth", below, by("length")
    )
    yield MonitoredFigure(
        "slower", "calls slower than the gate's slowest tenth", above, by("latency"), times=True
    )
    yield MonitoredFigure(
        "tokens", "answers of more tokens than the gate's largest tenth", above, _tokens
    )
    yield MonitoredFigure("cost", "calls dearer than the gate's dearest tenth", above, by("cost"))


def _score(metric: Any, one: AnsweredCase) -> Score:
    if one.completion is None:
        return Score.unscored("the call failed")
    score: Score = metric(one.case, one.completion)
    return score


def _failure_score(one: AnsweredCase) -> Score:
    return Score.of(float(one.completion is None))


def _refusal_measure(refusal: Any) -> Callable[[AnsweredCase], Score]:
    def measure(one: AnsweredCase) -> Score:
        if one.completion is None or one.completion.text is None:
            return Score.unscored("the answer has no text")
        score: Score = refusal(one.case, one.completion, expected="answer")
        return Score.of((score.parts or {}).get("refused", 0.0))

    return measure


def _tokens(one: AnsweredCase) -> Score:
    if one.completion is None or one.completion.output_tokens is None:
        return Score.unscored("the tokens of the answer are not known")
    return Score.of(float(one.completion.output_tokens))


_GOOD = {"up", "thumbs_up", "good", "positive", "like", "yes", "true", "pass", "correct"}
_BAD = {"down", "thumbs_down", "bad", "negative", "dislike", "no", "false", "fail", "incorrect"}


def feedback_figure(attribute: str, allowed: float) -> MonitoredFigure:
    """Return the share of calls about which users complained, among those with feedback."""

    def measure(answered: AnsweredCase) -> Score:
        feedback = answered.attributes.get(attribute)
        if isinstance(feedback, str):
            word = feedback.strip().lower().replace(" ", "_").replace("-", "_")
            feedback = True if word in _GOOD else False if word in _BAD else None
        if not isinstance(feedback, bool | int | float):
            return Score.unscored("nobody gave feedback")
        return Score.of(float(feedback <= 0))

    says = "calls with feedback about which users complained"
    return MonitoredFigure(FEEDBACK, says, LossKind.SHARE, measure, allowed=allowed)


FEEDBACK = "feedback"
