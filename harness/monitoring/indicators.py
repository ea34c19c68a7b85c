"""Indicators: losses from 0 to 1 of one production call that need no expected answer.

Every figure turns a call into a loss from 0 to 1, the same for the gate's cases and for production,
so that one test serves them all. What has no natural limit (length, time, tokens, cost) is counted
as above or below the tenth of the gate's own values that is outermost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tunegate.harness import lookup
from tunegate.harness.metric import Metric
from tunegate.harness.otel_import.types import ModelCall
from tunegate.harness.records.cases import Case, Completion, Score
from tunegate.harness.remote.litellm import UnansweredMessage, answer_of
from tunegate.harness.suite import Suite
from tunegate.harness.thinking import without_thoughts

QUANTILE = 0.9
"""Where the gate's values are cut: a tenth of them are beyond."""


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
class AnsweredCase:
    """A case with its completion, of the gate or of production."""

    case: Case
    completion: Completion | None
    """None where the call failed, or a filter withheld the answer."""


@dataclass(frozen=True, slots=True)
class MonitoredFigure:
    """One thing that is watched."""

    name: str
    says: str
    """What the losses are a share of, as in "share of …"."""
    kind: LossKind
    measure: Callable[[AnsweredCase], Score] = field(repr=False)
    higher_is_better: bool = False
    range: tuple[float, float] = (0.0, 1.0)
    times: bool = False
    """Whether it is about the seconds of calls that had the model for themselves."""
    metric: Metric | None = None
    """The suite's metric that it is, whose scores the run has; None for the others."""

    @property
    def cuts(self) -> bool:
        """Whether a threshold makes its losses."""
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
    """Return what can be watched of a suite's answers: its own metrics first."""
    return [*_metric_figures(suite), *_general_figures(suite)]


def judge_figures(suite: Suite) -> list[MonitoredFigure]:
    """Return the figures that take a judge: of one answer, and of nothing but it."""
    return [
        _metric_figure(metric)
        for metric in suite.metrics
        if metric.judge is not None and not metric.judge.pairs and metric.needs_prompt_only
    ]


_OF_ANY = ("refusal", "truncated", "loops", "length", "latency", "tokens", "cost")
"""Metrics that are watched under names of their own, with the suite's options where it has them."""


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
            return Score.unscored("there is no text")
        score: Score = refusal(one.case, one.completion, expected="answer")
        return Score.of((score.parts or {}).get("refused", 0.0))

    return measure


def _tokens(one: AnsweredCase) -> Score:
    if one.completion is None or one.completion.output_tokens is None:
        return Score.unscored("the tokens of the answer are not known")
    return Score.of(float(one.completion.output_tokens))


_ENDED = {"stop", "end_turn", "stop_sequence", "eos", "eos_token", "tool_calls", "tool_use",
          "tool_call", "function_call"}  # fmt: skip
_CUT = {"length", "max_tokens", "max_output_tokens"}
_WITHHELD = "content_filter"


def unit_of(call: ModelCall) -> str | None:
    """Return what a call counts in: its conversation where it names one, else its trace."""
    if call.conversation is not None:
        return f"conversation {call.conversation}"
    return call.span.trace_id or None


def case_of_call(call: ModelCall) -> AnsweredCase:
    """Return a traced call as metrics read it."""
    case = Case(
        id=f"{call.span.trace_id}:{call.span.span_id}",
        messages=tuple(dict(message) for message in call.messages) or None,
        tools=tuple(dict(tool) for tool in call.tools) or None,
        cluster=unit_of(call),
    )
    reason = _finish_reason(call.finish_reason)
    if call.span.error is not None or reason == _WITHHELD:
        return AnsweredCase(case, None)
    completion = Completion(
        text=_text(call),
        finish_reason=reason,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        latency_s=call.latency_s,
        batch_size=1,
        cost=call.cost,
        answered_by=call.model,
    )
    return AnsweredCase(case, without_thoughts(completion))


def _text(call: ModelCall) -> str | None:
    """Return the answer in one text; None where the trace does not hold it."""
    try:
        return answer_of({"content": call.answer, "tool_calls": call.answer_calls}, None)
    except UnansweredMessage:
        return call.answer


def _finish_reason(said: str | None) -> str | None:
    """Return what providers call `stop` and `length` under these names."""
    word = said.lower() if said else said
    if word in _ENDED:
        return "stop"
    return "length" if word in _CUT else word
