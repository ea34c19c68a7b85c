"""Deployment parity: whether what ships behaves as the fine-tune that was judged."""

from __future__ import annotations

import operator
from enum import StrEnum

from pydantic import Field

from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.record import Number, Record, Text, is_none
from tunegate.harness.records.verdict import ArmResult, Verdict


class ParityStatus(StrEnum):
    """Whether what ships behaves as the fine-tune that was judged."""

    EQUIVALENT = "equivalent"
    """Every difference is proven to be within its margin."""
    NOT_EQUIVALENT = "not_equivalent"
    """A difference is proven to be beyond its margin."""
    UNDECIDED = "undecided"
    """Too little evidence either way."""
    ERROR = "error"
    """Too much of the shipped arm is unscored."""


class MetricParity(Record):
    """One metric of tuned and shipped. Differences are shipped − tuned."""

    metric: str
    """Name of the metric within the suite."""
    tag: Text | None = Field(default=None, exclude_if=is_none)
    """Tag of the cases compared; absent for all cases."""
    status: ParityStatus
    """How it ended."""
    sentence: str
    """The outcome in words, with its numbers."""
    higher_is_better: bool = True
    """Whether a positive delta is an improvement."""
    rate: bool = Field(default=False, exclude_if=operator.not_)
    """Whether scores are between 0 and 1, so that texts show percent and points."""
    tuned: Number = None
    """Tuned's level over the complete pairs."""
    shipped: Number = None
    """Shipped's level, likewise."""
    delta: Number = None
    """shipped − tuned."""
    low: Number = None
    """Lower end of the delta's interval."""
    high: Number = None
    """Upper end, likewise."""
    confidence: float
    """Two-sided confidence of the interval: two one-sided tests at half the rest each."""
    method: str
    """The interval used."""
    margin: float | str
    """Largest equivalent difference: a number, or a share of tuned's level (`5%`)."""
    margin_from: str
    """Where the margin comes from: the suite's tolerance, half its gain, or the default."""
    n: int
    """Complete pairs."""
    needed_n: int | None = None
    """Cases that would prove equivalence with 80 % power if the models are equal."""
    advisory: bool = False
    """Shown, but without effect on the verdict."""


class AnswerAgreement(Record):
    """How many answers of tuned and shipped are the same text."""

    answers: int
    """Answers that both arms wrote."""
    same: int
    """Answers that are equal, byte for byte."""
    until: Number = None
    """Mean share of the longer answer's characters before the first difference."""


class PredictionDivergence(Record):
    """How far shipped's predictions are from tuned's, along tuned's own answers."""

    answers: int
    """Answers of tuned in the sample."""
    tokens: int
    """Tokens in them; each is one prediction."""
    kl: Number
    """Mean KL(tuned‖shipped) in nats per token."""
    logprob: Number
    """Mean of shipped's minus tuned's log-probability of the token that tuned wrote."""
    same_choice: Number
    """Share of the tokens for which both have the same most likely token."""
    until: Number
    """Mean share of an answer's tokens before the first one that differs."""


class SuiteParity(Record):
    """One suite's comparison of tuned and shipped."""

    name: str
    """Its name in suite.toml."""
    status: ParityStatus
    """The worst of its metrics that count."""
    metrics: tuple[MetricParity, ...]
    """Its gated metrics except measured times, in the order of suite.toml."""
    guards: tuple[GateResult, ...]
    """Its floors, ceilings, tolerances and limits, with shipped in tuned's place."""
    guards_verdict: Verdict | None
    """Decision by the guards alone; None without guards."""
    agreement: AnswerAgreement | None = None
    """None if no answers are written."""
    divergence: PredictionDivergence | None = None
    """None if no answers are written, or the logits of an arm are not available."""


class DeploymentParity(ArmResult, extra="forbid"):
    """Tuned and shipped: SHIP requires that they are equivalent, and that shipped's guards hold."""

    status: ParityStatus
    """The worst of the suites that count."""
    step: Text
    """Difference between tuned and shipped, by their identities."""
    suites: tuple[SuiteParity, ...]
    """In the order of the run."""

    @property
    def outcome(self) -> str:
        """How it ended, in one word."""
        return self.status

    @property
    def facts(self) -> dict[str, object]:
        """Status and step."""
        return {"status": self.status, "step": self.step}
