"""Indicators: losses from 0 to 1 of one production call that need no expected answer.

Answer indicators show whether the model has changed; input indicators, whether it is asked what the
gate asked: language, length, wording, tools and route. A gate case is compared with the cases of
other clusters, so that unchanged traffic looks as strange as gate cases do to each other.

One test serves all indicators. A value without a limit (length, time, tokens, cost) becomes a loss
of 1 if it is beyond the outermost tenth of the gate's values.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property, partial
from importlib.util import find_spec
from typing import Any

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.thoughts import without_thoughts
from tunegate.harness.models.remote.chat_message import UnansweredMessage, answer_of
from tunegate.harness.records.answers import Completion, reported_amount
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score
from tunegate.harness.suite import Suite
from tunegate.harness.telemetry.read.types import ModelCall, route_of

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
    attributes: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Those of the call's span and program; none of a case of the gate."""


@dataclass(frozen=True, slots=True)
class MonitoredFigure:
    """One thing that is watched."""

    name: str
    says: str
    """The denominator of the losses, as in "share of …"."""
    kind: LossKind
    measure: Callable[[AnsweredCase], Score] = field(repr=False)
    higher_is_better: bool = False
    range: tuple[float, float] = (0.0, 1.0)
    times: bool = False
    """Whether it is about the seconds of calls that had the model for themselves."""
    metric: Metric | None = None
    """The suite's metric that it is, whose scores the run has; None for the others."""
    missing: str = ""
    """Why the gate may have no value of it, where that is particular."""
    allowed: float | None = None
    """Largest share that is no reason for an alarm, where the user sets it and not the gate."""

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


def _route_tags(call: ModelCall) -> tuple[str, ...]:
    route = route_of({**call.span.resource, **call.span.attributes})
    return (route,) if route else ()


def input_figures(suite: Suite) -> list[MonitoredFigure]:
    """Return the indicators of the prompts compared with those of a suite's cases."""
    above, below, share = LossKind.ABOVE, LossKind.BELOW, LossKind.SHARE
    seen = _SeenInputs(suite.cases)
    made: list[tuple[str, str, LossKind, Callable[[Case], Score]]] = [
        ("input_language", "prompts in a language of no other case", share, seen.language),
        ("input_wording", "prompts stranger in wording than the gate's strangest tenth", above,
         seen.wording),
        ("input_longer", "prompts longer than the gate's longest tenth", above, _characters),
        ("input_shorter", "prompts shorter than the gate's shortest tenth", below, _characters),
        ("input_tools", "calls that offer a tool of no other case", share, seen.tools),
    ]  # fmt: skip
    if suite.content_metrics is not None:  # replayed traffic: its tags are models and routes
        made.append(("input_route", "calls of a route of no other case", share, seen.route))
    if seen.is_multilingual:
        says = "prompts in another language than most cases"
        made.append(("input_other_language", says, share, seen.other_language))
    why = {"input_language": _NO_DETECTOR} if find_spec("py3langid") is None else {}
    return [
        MonitoredFigure(
            name,
            says,
            kind,
            partial(_of_case, measure),
            missing=why.get(name, "the gate's cases do not show it"),
        )
        for name, says, kind, measure in made
    ]


_GOOD = {"up", "thumbs_up", "good", "positive", "like", "yes", "true", "pass", "correct"}
_BAD = {"down", "thumbs_down", "bad", "negative", "dislike", "no", "false", "fail", "incorrect"}


def feedback_figure(attribute: str, allowed: float) -> MonitoredFigure:
    """Return the share of calls about which users complained.

    Args:
        attribute: Attribute of the span that holds what a user said: a truth value, a number (above
            0 is good) or a word such as `thumbs_down`.
        allowed: Share of complaints, of the calls with feedback, that is no reason for an alarm.
    """

    def measure(one: AnsweredCase) -> Score:
        told = one.attributes.get(attribute)
        if isinstance(told, str):
            word = told.strip().lower().replace(" ", "_").replace("-", "_")
            told = True if word in _GOOD else False if word in _BAD else None
        if not isinstance(told, bool | int | float):
            return Score.unscored("nobody gave feedback")
        return Score.of(float(told <= 0))

    says = "calls with feedback about which users complained"
    return MonitoredFigure(FEEDBACK, says, LossKind.SHARE, measure, allowed=allowed)


FEEDBACK = "feedback"
_NO_DETECTOR = "py3langid is not installed; pip install 'tunegate[metrics]'"
_GRAM = 4
"""Characters of the n-grams that wording is compared by."""
_MOST_CHARACTERS = 20_000
"""Of a prompt that are compared."""
_MINORITY = 0.05
"""Share of the cases in other languages than the commonest from which their share is watched."""
_LEAST_LETTERS = 20
"""Below so many letters the language of a prompt is not detected."""


def _of_case(measure: Callable[[Case], Score], one: AnsweredCase) -> Score:
    return measure(one.case)


def asked_text(case: Case) -> str:
    """Return the user's last message; empty where the trace does not hold it."""
    turns = [turn for turn in case.input_messages() if turn.get("role") == "user"]
    content = turns[-1].get("content") if turns else None
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        content = "\n".join(text for text in parts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _characters(case: Case) -> Score:
    text = asked_text(case)
    return Score.of(float(len(text))) if text else Score.unscored("the prompt is not known")


def _grams(case: Case) -> frozenset[str]:
    """Return the n-grams of a prompt's words, whatever its numbers are."""
    text = re.sub(r"\d", "0", asked_text(case)[:_MOST_CHARACTERS].casefold())
    found: set[str] = set()
    for word in re.findall(r"\w+", text):
        padded = f" {word} "
        found.update(padded[at : at + _GRAM] for at in range(max(1, len(padded) - _GRAM + 1)))
    return frozenset(found)


def _tool_names(case: Case) -> frozenset[str]:
    tools = case.tools or ()
    return frozenset(str(tool.get("function", tool).get("name")) for tool in tools)


def _language(case: Case) -> str | None:
    """Return the language of a prompt; None where it is too short or not recognised."""
    text = asked_text(case)[:_MOST_CHARACTERS]
    detector = _detector()
    if detector is None or sum(sign.isalpha() for sign in text) < _LEAST_LETTERS:
        return None
    found, _ = detector.classify(text)
    return str(found)


@cache
def _detector() -> Any:
    try:
        from py3langid import langid
    except ImportError:
        return None
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


class _SeenInputs:
    """Prompts of a suite's cases, each counted once per cluster."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._cases = cases
        self._units = {case.id: case.cluster or f"\0{case.id}" for case in cases}

    def language(self, case: Case) -> Score:
        """Score 1 for a language in which no other case asks."""
        found = _language(case)
        if found is None:
            return Score.unscored("the language of the prompt is unknown")
        return self._strange(case, frozenset([found]), self._languages)

    @property
    def is_multilingual(self) -> bool:
        """Whether cases ask in several languages, so that none of them is new in production."""
        total = self._languages.total()
        return total > 0 and self._languages[self._main_language] < (1 - _MINORITY) * total

    def other_language(self, case: Case) -> Score:
        """Score 1 for a language other than the one in which most cases ask."""
        found = _language(case)
        if found is None:
            return Score.unscored("the language of the prompt is unknown")
        return Score.of(float(found != self._main_language))

    def tools(self, case: Case) -> Score:
        """Score 1 for a tool that no other case offers."""
        return self._strange(case, _tool_names(case), self._tools)

    def route(self, case: Case) -> Score:
        """Score 1 for a route that no other case has."""
        if case.id not in self._units and not case.tags:
            return Score.unscored("the call names no route")
        names = frozenset(case.tags)
        known = any(self._others(case, name, self._routes) for name in names)
        return Score.of(float(not known))

    def wording(self, case: Case) -> Score:
        """Score the share of a prompt's n-grams that no other case has."""
        grams = _grams(case)
        if not grams:
            return Score.unscored("the prompt is not known")
        unseen = sum(not self._others(case, gram, self._wordings) for gram in grams)
        return Score.of(unseen / len(grams))

    def _strange(self, case: Case, names: frozenset[str], counts: Counter[str]) -> Score:
        return Score.of(float(any(not self._others(case, name, counts) for name in names)))

    def _others(self, case: Case, name: str, counts: Counter[str]) -> bool:
        """Return whether a case of another cluster has it; all are others of production's."""
        return counts[name] > int(case.id in self._units)

    def _counted(self, traits: Callable[[Case], frozenset[str]]) -> Counter[str]:
        found = {(self._units[case.id], name) for case in self._cases for name in traits(case)}
        return Counter(name for _, name in found)

    @cached_property
    def _languages(self) -> Counter[str]:
        return self._counted(lambda case: frozenset(filter(None, [_language(case)])))

    @cached_property
    def _main_language(self) -> str:
        # Of equally many the first by name, the same each time.
        return min(self._languages, key=lambda name: (-self._languages[name], name))

    @cached_property
    def _tools(self) -> Counter[str]:
        return self._counted(_tool_names)

    @cached_property
    def _routes(self) -> Counter[str]:
        return self._counted(lambda case: frozenset(case.tags))

    @cached_property
    def _wordings(self) -> Counter[str]:
        return self._counted(_grams)


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
        tags=_route_tags(call),
    )
    reason = _finish_reason(call.finish_reason)
    known = {**call.span.resource, **call.span.attributes}
    if call.span.error is not None or reason == _WITHHELD:
        return AnsweredCase(case, None, known)
    completion = Completion(
        text=_text(call),
        finish_reason=reason,
        input_tokens=reported_amount(call.input_tokens),
        output_tokens=reported_amount(call.output_tokens),
        latency_s=reported_amount(call.latency_s),
        batch_size=1,
        cost=reported_amount(call.cost),
        answered_by=call.model,
    )
    return AnsweredCase(case, without_thoughts(completion), known)


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
