"""Records of judgements: one line of `judgements.jsonl` in a run folder.

A judgement is one judge's opinion of one completion (of one pair, where a judge compares) under one
metric. Its scores are in `scores.jsonl` with those of every other metric; here is what they rest
on: the replies as they came, how often the judge was asked, and what that took.
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
    """The judge worked, and the completion gave it nothing to judge: unscored, and no failure."""
    JUDGE_ERROR = "judge_error"
    """The judge could not be reached or read: unscored, not stored, asked again next time."""


class JudgeReply(Record):
    """A judge model's answer to one question."""

    step: str
    """Which of the judge's questions it was: `verdict`, `claims` …"""
    text: Text | None = None
    """The reply as it came; None where a local model's probabilities were read instead."""
    weights: dict[str, float] | None = None
    """Verdict → its probability, where they were read."""
    problem: Text | None = None
    """Why it could not be used, or why none came; None if it could be used."""
    stored: bool = Field(default=False, exclude_if=operator.not_)
    """Whether no call of this judgement brought it: it was stored, or asked for another one."""
    requests: int = Field(default=1, ge=1, exclude_if=lambda requests: requests == 1)
    """Requests that it took: more where the server failed or asked to wait."""
    started_s: float | None = None
    """Unix time at which it was asked for; None where nobody knows."""
    latency_s: float | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    """Seconds until it was there."""
    input_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    output_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT)


class Judgement(Record):
    """One judge's opinion of one completion under one metric."""

    key: str
    """SHA-256 of judge model, prompt and options, the case's content and the completion's text:
    identical completions share it, and are judged once."""
    suite: str
    metric: str
    case: str
    arm: str
    """Whose completion it was; `tuned` where it was compared with base's."""
    sample: int = 0
    judge: Text
    """Spec of the judge model; a jury leaves a line for each of its judges."""
    status: JudgementStatus
    value: float | None = Field(default=None, ge=-LARGEST, le=LARGEST)
    """The score; None unless the status is `ok`."""
    reason: Text | None = None
    """The judge's reason, or the cause of a missing value."""
    parts: dict[str, float] | None = None
    """Named sub-scores: by criterion, by order …"""
    replies: tuple[JudgeReply, ...] = ()
    """Every reply as it came, the unreadable ones included."""
    attempts: int = Field(default=0, ge=0, le=1000 * MAX_AMOUNT)
    """Requests sent for it in this run; 0 if all was stored or recorded."""
    input_tokens: int | None = Field(default=None, ge=0, le=1000 * MAX_AMOUNT)
    output_tokens: int | None = Field(default=None, ge=0, le=1000 * MAX_AMOUNT)
    cost: float | None = Field(default=None, ge=0, le=1000 * MAX_AMOUNT)
    """Price in US dollars of its replies; None if unknown."""
    latency_s: float | None = Field(default=None, ge=0, le=1000 * MAX_AMOUNT)
    """Seconds its replies took, summed."""


class JudgeSpending(Record):
    """Calls, tokens and cost of one judge for one metric in a run."""

    suite: str
    metric: str
    judge: Text
    """Spec of the judge model."""
    calls: int = Field(ge=0)
    """Requests sent, those that had to be repeated included; 0 where all was there before."""
    input_tokens: int | None = Field(default=None, ge=0)
    """Tokens of the questions; None where nobody counted."""
    output_tokens: int | None = Field(default=None, ge=0)
    cost: float | None = Field(default=None, ge=0)
    """US dollars; None where the price is unknown."""

    @property
    def sentence(self) -> str:
        """Who was asked how often, and what it took."""
        if not self.calls:
            return f"{self.judge} was not asked: all of its replies were stored"
        calls = count_noun(self.calls, "call")
        return f"{calls} to {self.judge}, {format_tokens(self)}, {format_price(self.cost)}"


def format_tokens(spent: JudgeSpending) -> str:
    """Return the tokens of questions and replies in words."""
    counts = {"in": spent.input_tokens, "out": spent.output_tokens}
    known = [f"{count:,} tokens {way}" for way, count in counts.items() if count is not None]
    return " and ".join(known) or "tokens not counted"


def format_price(dollars: float | None) -> str:
    """Return a price in words; an unknown one is unknown, not nothing."""
    return "price unknown" if dollars is None else f"{dollars:.4g} US dollars"


def judge_spending(lines: Iterable[Judgement]) -> tuple[JudgeSpending, ...]:
    """Return what judgements took, by suite, metric and judge, in their order."""
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
    """Return the sum of what is known; None if nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
