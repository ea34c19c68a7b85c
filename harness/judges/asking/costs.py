"""Forecast of judging: number of questions, tokens and price, before anything is asked.

Each judge is started on made-up answers, and its questions are counted. Stored replies and equal
answers of several arms make it less; more claims or demands than assumed make it more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from tunegate.harness.contracts import lookup
from tunegate.harness.contracts.judge import Judge, JudgeQuestion, ParsedReply
from tunegate.harness.contracts.metric import Metric
from tunegate.harness.judges.asking.specs import BACKENDS, split_spec
from tunegate.harness.judges.asking.stage import case_with_system, judge_metrics
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.hashing import canonical_json
from tunegate.harness.records.judgements import JudgeSpending
from tunegate.harness.suite import Suite

ASSUMED_ITEMS = 5
"""Claims of an answer, or demands of a prompt."""
_ASSUMED_ANSWER = 120
"""Tokens of an answer, unless the suite allows fewer."""
_ASSUMED_TEXT = 60
"""Tokens of a reply's free text."""
_ASSUMED_ITEM = 20
"""Tokens of a claim or a demand."""
_SAMPLED = 50
"""Most cases that a forecast samples, evenly spread."""


def forecast_judging(
    suites: Iterable[Suite], specs: Sequence[str], arms: Sequence[str] = ("base", "tuned")
) -> Iterator[JudgeSpending]:
    """Yield what judging will take, by suite, metric and judge model; the price needs `specs`."""
    about = lookup.defined_texts(BACKENDS, "CALL")
    for suite, metric in judge_metrics(suites):
        load = _load_of(suite, metric, arms)
        tokens = load.input_tokens, load.output_tokens
        for spec in specs or ("a judge",):
            name, target = split_spec(spec)
            kind = about.get(name, "question")
            calls = {"question": load.questions, "answer": load.answers, "nothing": 0}[kind]
            counted = kind == "question"
            yield JudgeSpending(
                suite=suite.name,
                metric=metric.name,
                judge=spec,
                calls=calls,
                input_tokens=load.input_tokens if counted else None,
                output_tokens=load.output_tokens if counted else None,
                cost=_price(name, target, tokens) if counted and specs else None,
            )


def forecast_lines(found: Iterable[JudgeSpending]) -> Iterator[str]:
    """Yield a line for each judge model of a metric."""
    for one in found:
        if one.calls:
            yield f"{one.suite}: {one.metric} will take up to about {one.sentence}"


@dataclass(frozen=True, slots=True)
class JudgingLoad:
    """Estimate of what a judge metric takes on one suite."""

    questions: int
    """Different questions; each is asked once."""
    answers: int
    """Answers that are judged, or pairs of them."""
    input_tokens: int
    """Of all questions."""
    output_tokens: int
    """Of all replies."""


def _load_of(suite: Suite, metric: Metric, arms: Sequence[str]) -> JudgingLoad:
    """Estimate what a judge metric takes from its questions about a sample of cases."""
    judge = metric.judge
    assert judge is not None
    cases = suite.cases[:: max(1, len(suite.cases) // _SAMPLED)]
    samples = getattr(suite.generation, "samples", 1)
    length = min(_ASSUMED_ANSWER, suite.generation.max_new_tokens)
    questions: dict[str, JudgeQuestion] = {}
    for case in (case_with_system(c, suite.generation.system) for c in cases):
        for sample in range(samples):
            answers = [_assumed_answer(f"{arm} {sample}", length) for arm in arms]
            for arm_answers in [tuple(answers[:2])] if judge.pairs else [(a,) for a in answers]:
                questions |= {q.hash: q for q in _questions_of(judge, case, arm_answers)}
    scale = len(suite.cases) / max(1, len(cases))
    unique = questions.values()
    tokens_in = sum(len(q.system) + len(q.text) + len(canonical_json(q.schema)) for q in unique) / 4
    tokens_out = sum(_reply_tokens(q) for q in unique)
    return JudgingLoad(
        questions=round(len(questions) * scale),
        answers=len(suite.cases) * samples * (1 if judge.pairs else len(arms)),
        input_tokens=round(tokens_in * scale),
        output_tokens=round(tokens_out * scale),
    )


def _questions_of(
    judge: Judge, case: Case, completions: tuple[Completion, ...]
) -> Iterator[JudgeQuestion]:
    """Yield what a judge asks about made-up answers; every reply is the first choice."""
    steps = judge.begin(case, *completions)
    try:
        batch = next(steps)
        while True:
            yield from batch
            batch = steps.send([_assumed_reply(question) for question in batch])
    except StopIteration:
        return
    except Exception:  # a user's judge may fail on made-up replies
        return


def _assumed_answer(name: str, tokens: int) -> Completion:
    words = " ".join(f"{name} {number}." for number in range(tokens))
    return Completion(text=words[: 4 * tokens])


def _assumed_reply(question: JudgeQuestion) -> ParsedReply:
    fields = {
        name: _assumed_value(form, question.verdicts or ASSUMED_ITEMS)
        for name, form in question.fields.items()
    }
    return ParsedReply(fields, question.choice)


def _assumed_value(form: Mapping[str, Any], items: int) -> Any:
    if "enum" in form:
        return form["enum"][0]
    if form.get("type") == "object":
        return {name: _assumed_value(schema, items) for name, schema in form["properties"].items()}
    if form.get("type") == "array" and form["items"].get("type") == "object":
        return [_assumed_value(form["items"], items)] * items
    if form.get("type") == "array":
        return [f"item {number} of about a dozen words" for number in range(items)]
    return {"string": "", "integer": 1}.get(form.get("type", ""), True)


def _reply_tokens(question: JudgeQuestion) -> int:
    """Estimate the tokens of a reply."""
    items = question.verdicts or ASSUMED_ITEMS
    return 20 + sum(_value_tokens(form, items) for form in question.fields.values())


def _value_tokens(form: Mapping[str, Any], items: int) -> int:
    kind = form.get("type")
    if kind == "array":
        return (
            items * _value_tokens(form["items"], items)
            if "properties" in form["items"]
            else items * _ASSUMED_ITEM
        )
    if kind == "object":
        return sum(10 + _value_tokens(schema, items) for schema in form["properties"].values())
    return _ASSUMED_TEXT if kind == "string" else 5


def _price(name: str, target: str, tokens: tuple[float, float]) -> float | None:
    """Return a price in US dollars, if the backend knows it."""
    if name not in lookup.module_names(BACKENDS):
        return None
    price = getattr(import_module(f"{BACKENDS}.{name}"), "price", None)
    dollars: float | None = None if price is None else price(target, tokens)
    return dollars
