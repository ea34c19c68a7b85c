"""Records of judgements: one line of `judgements.jsonl` in a run folder.

A judgement is one judge's opinion of one completion (of one pair, where a judge compares) under one
metric. Its scores are in `scores.jsonl` with those of every other metric; here is what they rest
on: the replies as they came, how often the judge was asked, and what that took.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from tunegate.harness.records.cases import LARGEST, Record, Text

FILE_NAME = "judgements.jsonl"


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
    """Why it could not be used; None if it could."""
    started_s: float | None = None
    """Unix time at which it was asked for; None where nobody knows."""
    latency_s: float | None = Field(default=None, ge=0)
    """Seconds until it was there."""
    input_tokens: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)


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
    attempts: int = Field(default=0, ge=0)
    """Questions sent for it in this run, re-asks included; 0 if all was stored or recorded."""
    input_tokens: int | None = Field(default=None, ge=0)
    output_tokens: int | None = Field(default=None, ge=0)
    cost: float | None = Field(default=None, ge=0)
    """Price in US dollars of its replies; None if unknown."""
    latency_s: float | None = Field(default=None, ge=0)
    """Seconds its replies took, summed."""
