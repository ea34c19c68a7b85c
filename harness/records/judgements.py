"""judgements.jsonl: what the judges' scores rest on.

A judgement is one judge's opinion of one completion (or pair, if the judge compares) under one
metric: its replies, and how many requests, tokens and seconds they took.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from pydantic import Field

from tunegate.harness.records.record import MAX_AMOUNT, Record, Text
from tunegate.harness.records.scores import LARGEST
from tunegate.harness.records.wording import count_noun

JUDGEMENTS_FILE = "judgements.jsonl"


class JudgementStatus(StrEnum):
    """How a judgement ended."""

    OK = "ok"
    """It has a value."""
    ABSTAINED = "abstained"
    """The completion gave the judge nothing to judge: unscored, but not a failure."""
    JUDGE_ERROR = "judge_error"
    """The judge could not be reached or read: unscored, not stored, asked again next time."""


class JudgeReply(Record):
    """A judge model's answer to one question."""

    step: str
    """Which of the judge's questions it answers: `verdict`, `claims` …"""
    text: Text | None = None
    """The raw reply; None if a local model's probabilities were read instead."""
    weights: dict[str, float] | None = None
    """Verdict → its probability, if they were read."""
    problem: Text | None = None
    """Why it could not be used, or why none came; None if it could be used."""
    stored: bool = Field(default=False, exclude_if=operator.not_)
    """Whether it was stored, or asked for by another judgement."""
    requests: int = Field(default=1, ge=1, exclude_if=lambda requests: requests == 1)
    """Requests that it took: several if the server failed or asked to wait."""
    started_s: float | None = None
    """Unix time at which it was asked for; None if unknown."""
    latency_s: float | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    """Seconds until it came."""
    input_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    output_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT)


class Judgement(Record):
    """One judge's opinion of one completion under one metric."""

    key: str
    """SHA-256 of judge model, prompt, options, case and completion: identical completions share
    it, and are judged once."""
    suite: str
    metric: str
    case: str
    arm: str
    """Whose completion it was; `tuned` if it was compared with base's."""
    sample: int = 0
    judge: Text
    """Spec of the judge model; a jury has a line for each of its judges."""
    status: JudgementStatus
    value: float | None = Field(default=None, ge=-LARGEST, le=LARGEST)
    """The score; None unless the status is `ok`."""
    reason: Text | None = None
    """The judge's reason, or why the value is missing."""
    parts: dict[str, float] | None = None
    """Named sub-scores: by criterion, by order …"""
    replies: tuple[JudgeReply, ...] = ()
    """Every reply, including unreadable ones."""
    attempts: int = Field(default=0, ge=0, le=1000 * MAX_AMOUNT)
    """Requests sent for it in this run; 0 if everything was stored or recorded."""
    input_tokens: int | None = Field(default=None, ge=0, le=1000 * MAX_AMOUNT)
    output_tokens: int | None = Field(default=None, ge=0, le=1000 * MAX_AMOUNT)
    cost: float | None = Field(default=None, ge=0, le=1000 * MAX_AMOUNT)
    """Price of its replies in US dollars; None if unknown."""
    latency_s: float | None = Field(default=None, ge=0, le=1000 * MAX_AMOUNT)
    """Seconds that its replies took, summed."""


class JudgeSpending(Record):
    """Calls, tokens and cost of one judge for one metric in a run."""

    suite: str
    metric: str
    judge: Text
    """Spec of the judge model."""
    calls: int = Field(ge=0)
    """Requests sent, including repeated ones; 0 if all replies were stored."""
    input_tokens: int | None = Field(default=None, ge=0)
    """Tokens of the questions; None if unknown."""
    output_tokens: int | None = Field(default=None, ge=0)
    cost: float | None = Field(default=None, ge=0)
    """US dollars; None if unknown."""

    @property
    def sentence(self) -> str:
        """The judge's calls, tokens and price, as a sentence."""
        if not self.calls:
            return f"{self.judge} was not asked: all of its replies were stored"
        calls = count_noun(self.calls, "call")
        return f"{calls} to {self.judge}, {format_tokens(self)}, {format_price(self.cost)}"


def format_tokens(spent: JudgeSpending) -> str:
    """Return the tokens of questions and replies, in words."""
    counts = {"in": spent.input_tokens, "out": spent.output_tokens}
    known = [f"{count:,} tokens {way}" for way, count in counts.items() if count is not None]
    return " and ".join(known) or "tokens not counted"


def format_price(dollars: float | None) -> str:
    """Return a price in words; None is an unknown price, not zero."""
    return "price unknown" if dollars is None else f"{dollars:.4g} US dollars"


def judge_spending(lines: Iterable[Judgement]) -> tuple[JudgeSpending, ...]:
    """Return the spending by suite, metric and judge, in the order of the judgements."""
    found: dict[tuple[str, str, str], list[Judgement]] = {}
    for line in lines:
        found.setdefault((line.suite, line.metric, line.judge), []).append(line)
    return tuple(
        JudgeSpending(
            suite=suite,
            metric=metric,
            judge=judge,
            calls=sum(line.attempts for line in own),
            input_tokens=_sum_of_known(line.input_tokens for line in own),
            output_tokens=_sum_of_known(line.output_tokens for line in own),
            cost=_sum_of_known(line.cost for line in own),
        )
        for (suite, metric, judge), own in found.items()
    )


def _sum_of_known(values: Iterable[float | None]) -> Any:
    """Return the sum of the known values; None if all are unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
