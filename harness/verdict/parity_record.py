"""Tuned and shipped side by side, as verdict.json holds them."""

from __future__ import annotations

from harness.records import Record, Text
from harness.verdict.gate_record import GateResult, Number
from harness.verdict.status import ParityStatus, Verdict


class MetricParity(Record):
    """One metric of tuned and shipped. Differences are shipped − tuned."""

    metric: str
    """Name of the metric within the suite."""
    status: ParityStatus
    """How it ended."""
    sentence: str
    """The outcome in words, with its numbers."""
    higher_is_better: bool = True
    """Whether a positive delta is an improvement."""
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
    """Difference that still counts as none: a number, or a share of tuned's level (`5%`)."""
    margin_from: str
    """Where the margin comes from: the suite's tolerance, half its gain, or the default."""
    n: int
    """Complete pairs."""
    needed_n: int | None = None
    """Cases that would prove equivalence with 80 % power, if there is no difference."""
    advisory: bool = False
    """Shown, but without influence on the verdict."""


class Agreement(Record):
    """How far the answers of tuned and shipped are the same text."""

    answers: int
    """Answers that both arms wrote."""
    same: int
    """Those that are equal, byte for byte."""
    until: Number = None
    """Mean share of the longer answer's characters before the first difference."""


class Divergence(Record):
    """How far the predictions of shipped lie from tuned's, along tuned's own answers."""

    answers: int
    """Answers of tuned that were read, a sample of the suite's."""
    tokens: int
    """Tokens of them, each of which is one prediction."""
    kl: Number
    """Mean KL(tuned‖shipped) in nats a token."""
    logprob: Number
    """Mean of shipped's minus tuned's log-probability of the token that tuned wrote."""
    same_choice: Number
    """Share of the tokens at which both hold the same one for the likeliest."""
    until: Number
    """Mean share of an answer's tokens before the first at which they do not."""


class SuiteParity(Record):
    """One suite's comparison of tuned and shipped."""

    name: str
    """Its name in suite.toml."""
    status: ParityStatus
    """The worst of its metrics that count."""
    metrics: tuple[MetricParity, ...]
    """Its gated metrics but measured times, in the order of suite.toml."""
    guards: tuple[GateResult, ...]
    """Its floors, ceilings, tolerances and limits, with shipped in tuned's place."""
    guards_verdict: Verdict | None
    """What they alone would decide; None where there are none."""
    agreement: Agreement | None = None
    """None where no answers are written."""
    divergence: Divergence | None = None
    """None where one of the arms' logits are not at hand, or no answers are written."""


class Parity(Record):
    """Tuned and shipped: is the artifact that will run the fine-tune that was judged?"""

    status: ParityStatus
    """The worst of the suites that count."""
    verdict: Verdict
    """The worst that the run can still end with: SHIP takes equivalence and shipped's guards."""
    sentence: str
    """The sentence that decided it."""
    step: Text
    """What lies between tuned and shipped, by their identities."""
    suites: tuple[SuiteParity, ...]
    """In the order of the run."""
