"""Gate results: how a gate ended, with its numbers."""

from __future__ import annotations

import operator
from enum import StrEnum
from typing import Any

from pydantic import Field

from tunegate.harness.records.manifest import KindName, gate_id, gate_subject, rule_id
from tunegate.harness.records.record import MAX_AMOUNT, Number, Record, Text, is_none


class GateStatus(StrEnum):
    """How a gate ended."""

    PASS = "pass"
    FAIL = "fail"
    UNDECIDED = "undecided"
    ERROR = "error"


class GateReason(StrEnum):
    """Why a gate did not pass; `pass_with_loss` marks a gate that held despite a proven loss."""

    BELOW_FLOOR = "below_floor"
    ABOVE_CEILING = "above_ceiling"
    REGRESSED = "regressed"
    SEVERE_DROPS = "severe_drops"
    BOUND_BROKEN = "bound_broken"
    NO_WORTHWHILE_GAIN = "no_worthwhile_gain"
    PROMPT_SUFFICES = "prompt_suffices"
    UNDERPOWERED = "underpowered"
    INSENSITIVE = "insensitive"
    WITHIN_NOISE = "within_noise"
    NOT_COMPUTABLE = "not_computable"
    LOSS_MAY_BE_STYLE = "loss_may_be_style"
    LOSS_NOT_BOUNDED = "loss_not_bounded"
    UNSCORED = "unscored"
    NOT_VOTED = "not_voted"
    CANARY = "canary"
    FILTERED = "filtered"
    PASS_WITH_LOSS = "pass_with_loss"


class GateResult(Record):
    """One gate's outcome. Differences are tuned − base, whatever direction is better."""

    metric: str
    """Name of the metric within the suite."""
    label: Text | None = Field(default=None, exclude_if=is_none)
    """What the metric measures, in a few words; absent if its name says it."""
    tag: Text | None = Field(default=None, exclude_if=is_none)
    """Tag of the cases that it rests on; absent if it rests on all cases of the suite."""
    every: Text | None = Field(default=None, exclude_if=is_none)
    """Key of its tag, if the rule must hold under each value of that key; absent if not."""
    worst: bool = Field(default=False, exclude_if=operator.not_)
    """Whether it is the worst of the gates on every value of the key."""
    against: Text | None = Field(default=None, exclude_if=is_none)
    """Further arm that stands in base's place in all numbers; absent if that is base itself."""
    kind: KindName
    """Its rule in the `[[gates]]` table: floor, gain or another kind of gate."""
    status: GateStatus
    """How it ended."""
    reason: GateReason | None = None
    """Why it did not pass; None for a plain pass."""
    sentence: str
    """The outcome in words, with its numbers."""
    higher_is_better: bool = True
    """Whether a positive delta is an improvement."""
    rate: bool = Field(default=False, exclude_if=operator.not_)
    """Whether scores are between 0 and 1, so that texts show percent and points."""
    base: Number = None
    """Base's level over the complete pairs."""
    tuned: Number = None
    """Tuned's level over the complete pairs."""
    delta: Number = None
    """tuned − base."""
    estimate: Number = Field(default=None, exclude_if=is_none)
    """The measured value, such as a ratio; absent if it is a level, the delta or the share."""
    low: Number = None
    """Lower end of the interval: of the estimate if there is one, else of tuned's level (floors,
    ceilings), of the share (severe drops), or of the delta."""
    high: Number = None
    """Upper end, likewise."""
    confidence: float
    """Two-sided confidence of the interval."""
    method: str
    """The interval and test used."""
    margin: float | str
    """The bound as the suite writes it: 0.02, or "2%" of base."""
    options: dict[str, Any] = Field(default_factory=dict, exclude_if=operator.not_)
    """Keys of the gate's table that only its kind knows; absent if it has no such keys."""
    p_value: Number = None
    """One-sided p-value of the gate's null hypothesis; None for observed floors."""
    n: int = Field(ge=0, le=MAX_AMOUNT)
    """Complete pairs."""
    drop: Number = None
    """Loss from which a drop counts as severe; None for other kinds of gate."""
    share: Number = None
    """Share of cases with a severe drop, likewise."""
    facts: dict[str, Number] = Field(default_factory=dict, exclude_if=operator.not_)
    """Numbers that only its kind knows; absent if it has none but these two."""
    noise: Number = None
    """Mean |difference| between base and base asked again, where arithmetic is inexact."""
    noise_n: int | None = Field(default=None, exclude_if=is_none)
    """Cases that base was asked twice; absent if arithmetic is exact."""
    noise_low: Number = Field(default=None, exclude_if=is_none)
    """Lower end of the interval of (base again − base), whose far end a claimed difference must
    clear; absent if it is unbounded."""
    noise_high: Number = Field(default=None, exclude_if=is_none)
    """Upper end, likewise."""
    needed_n: int | None = None
    """Cases that would decide an undecided gate with 80 % power, if the effect is as hoped (the
    expected gain, or no change) and the spread stays as in this run."""
    needed_most: int | None = Field(default=None, exclude_if=is_none)
    """The same at the upper end of the 80 % interval of the spread; absent if unknown."""
    missing: str | None = Field(default=None, exclude_if=is_none)
    """What an undecided gate lacks that more cases alone would not give, such as clusters."""
    advisory: bool = False
    """Shown, but without effect on the verdict."""
    judge_basis: str | None = None
    """Why a judge's gate counts or does not; None if no judge is asked."""

    @property
    def id(self) -> str:
        """Name of the gate within its suite: `json_schema::floor[de]`."""
        return gate_id(self.metric, self.kind, self.tag, self.against)

    @property
    def rule_id(self) -> str:
        """Name of the rule, which gates on every value of a key share: `f1::gain[every topic]`."""
        return rule_id(self.metric, self.kind, self.tag, self.against, self.every)

    @property
    def tag_value(self) -> str:
        """The value of the key in its tag: `de` of `language:de`."""
        return (self.tag or "").removeprefix(f"{self.every}:")

    @property
    def subject(self) -> str:
        """The measured quantity: `json_schema (tag de)`."""
        return gate_subject(self.metric, self.tag, self.against)

    @property
    def words(self) -> str:
        """The measured quantity in words: `valid JSON by the schema (tag de)`.

        The worst gate of a rule on every value says so: `f1 (worst language: de)`.
        """
        return self.named(self.label or self.metric.replace("_", " "))

    def named(self, metric: str) -> str:
        """Return what it measures, with the metric named so."""
        if self.worst:
            worst = f"{metric} (worst {self.every}: {self.tag_value})"
            return gate_subject(worst, None, self.against)
        return gate_subject(metric, self.tag, self.against)
