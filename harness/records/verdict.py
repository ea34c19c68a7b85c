"""verdict.json: what was decided, on which numbers, and why; the file that CI and reports read.

verdict.json: what was decided, on which numbers, and why; the one file CI and reports read. The
bytes are a pure function of the manifest and the stored answers: no clock, sorted keys, numbers
rounded to six significant digits. `harness/records/schemas/verdict.schema.json` documents it.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, JsonValue, SerializeAsAny

from tunegate.harness.records.cases import (
    SCHEMA_VERSION,
    Number,
    Record,
    Text,
    replace_surrogates,
)
from tunegate.harness.records.episodes import MOST
from tunegate.harness.records.manifest import KindName, gate_id, gate_subject
from tunegate.harness.records.training_card import ContaminationResult


class Verdict(StrEnum):
    """The answer to "ship it or not?"; only SHIP ships."""

    SHIP = "SHIP"
    """All floors hold, every guardrail is proven non-inferior and the goal rule holds."""
    HOLD = "HOLD"
    """Nothing broke, but the gain is proven smaller than the written expected gain."""
    UNDECIDED = "UNDECIDED"
    """Too little evidence either way."""
    BLOCK = "BLOCK"
    """A bound is broken, or a regression is proven."""
    NOT_COMPARABLE = "NOT_COMPARABLE"
    """The arms differ in more than the weights, or the adapter is not active."""
    ERROR = "ERROR"
    """Too much is unscored, or a backend, judge or disk failed; resumable."""

    @property
    def exit_code(self) -> int:
        """Exit code of the CLI and of pytest."""
        return _EXIT_CODES[self]

    @classmethod
    def worst(cls, verdicts: list[Verdict]) -> Verdict:
        """Return the worst of several verdicts: one verdict a run."""
        return max(verdicts, key=list(cls).index)


_EXIT_CODES = {
    Verdict.SHIP: 0,
    Verdict.BLOCK: 1,
    Verdict.UNDECIDED: 10,
    Verdict.HOLD: 11,
    Verdict.NOT_COMPARABLE: 12,
    Verdict.ERROR: 13,
}


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
    UNDERPOWERED = "underpowered"
    INSENSITIVE = "insensitive"
    WITHIN_NOISE = "within_noise"
    NOT_COMPUTABLE = "not_computable"
    LOSS_MAY_BE_STYLE = "loss_may_be_style"
    LOSS_NOT_BOUNDED = "loss_not_bounded"
    UNSCORED = "unscored"
    CANARY = "canary"
    FILTERED = "filtered"
    PASS_WITH_LOSS = "pass_with_loss"


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


class GateResult(Record):
    """One gate's outcome. Differences are tuned − base, whatever direction is better."""

    metric: str
    """Name of the metric within the suite."""
    label: Text | None = Field(default=None, exclude_if=lambda label: label is None)
    """What the metric measures in a few words; absent where its name's own words say it."""
    tag: Text | None = Field(default=None, exclude_if=lambda tag: tag is None)
    """Tag of the cases that it rests on; absent of a gate on all cases of the suite."""
    kind: KindName
    """Which rule of the `[[gates]]` table it is: floor, gain or another kind of gate."""
    status: GateStatus
    """How it ended."""
    reason: GateReason | None = None
    """Why it did not pass; None for a plain pass."""
    sentence: str
    """The outcome in words, with its numbers."""
    higher_is_better: bool = True
    """Whether a positive delta is an improvement."""
    rate: bool = Field(default=False, exclude_if=lambda rate: not rate)
    """Whether scores are between 0 and 1, so that texts write them in per cent and points."""
    base: Number = None
    """Base's level over the complete pairs."""
    tuned: Number = None
    """Tuned's level over the complete pairs."""
    delta: Number = None
    """tuned − base."""
    estimate: Number = Field(default=None, exclude_if=lambda value: value is None)
    """The measured value, such as a ratio, if it is none of the levels, the delta and the
    share; absent otherwise."""
    low: Number = None
    """Lower end of the interval of the estimate, if there is one; else of the delta, of tuned's
    level for floors and ceilings, of the share for severe drops."""
    high: Number = None
    """Upper end, likewise."""
    confidence: float
    """Two-sided confidence of the interval."""
    method: str
    """The interval and test used."""
    margin: float | str
    """The bound as the suite writes it: 0.02, or "2%" of base."""
    options: dict[str, Any] = Field(default_factory=dict, exclude_if=lambda options: not options)
    """Keys of the gate's table that only its kind knows; absent without any."""
    p_value: Number = None
    """One-sided p-value of the gate's null hypothesis; None for observed floors."""
    n: int = Field(ge=0, le=MOST)
    """Complete pairs."""
    drop: Number = None
    """Loss from which a drop counts as severe; None for other gates."""
    share: Number = None
    """Share of cases with a severe drop, likewise."""
    noise: Number = None
    """Mean |difference| of base to itself asked again, where arithmetic is inexact (bfloat16 …)."""
    noise_n: int | None = Field(default=None, exclude_if=lambda value: value is None)
    """Cases that base was asked twice; absent where arithmetic is exact."""
    noise_low: Number = Field(default=None, exclude_if=lambda value: value is None)
    """Lower end of the interval of base again − base, whose far end a claimed difference must
    clear; absent where nothing bounds it."""
    noise_high: Number = Field(default=None, exclude_if=lambda value: value is None)
    """Upper end, likewise."""
    needed_n: int | None = None
    """Cases that would decide an undecided gate with 80 % power at the effect hoped for (the
    expected gain, or no change), if this run's spread holds."""
    needed_most: int | None = Field(default=None, exclude_if=lambda value: value is None)
    """The same at the upper end of the 80 % interval of the spread; absent where there is none."""
    missing: str | None = Field(default=None, exclude_if=lambda missing: missing is None)
    """What an undecided gate lacks that more cases alone do not give, such as clusters; absent
    otherwise."""
    advisory: bool = False
    """Shown, but without influence on the verdict."""
    right: str | None = None
    """Why a judge's gate counts or does not, in words; None where no judge is asked."""

    @property
    def id(self) -> str:
        """Name of the gate within its suite: `json_schema::floor`, with its tag if it has one."""
        return gate_id(self.metric, self.kind, self.tag)

    @property
    def subject(self) -> str:
        """The measured quantity: the metric, with its tag if it has one."""
        return gate_subject(self.metric, self.tag)

    @property
    def words(self) -> str:
        """The measured quantity in words: `valid JSON by the schema (tag de)`."""
        return gate_subject(self.label or self.metric.replace("_", " "), self.tag)


class SuiteResult(Record):
    """One suite's gates and counts."""

    name: str
    """Its name in suite.toml."""
    hash: str
    """SHA-256 of its definition, cases and files."""
    verdict: Verdict
    """The decision on this suite alone."""
    goal_rule: str
    """`primary`, `all` or `any`: which gains it needs."""
    has_goal: bool
    """False for a pure regression check, where SHIP means "no worse"."""
    n_planned: int
    """Cases the suite asks for."""
    n_scored: int
    """Cases with a complete pair of scores on every gated metric."""
    n_unscored: dict[str, int]
    """Arm → cases without a score on some gated metric."""
    n_touched: int = Field(default=0, exclude_if=lambda n: not n)
    """Cases left out of the gates because they are in the training rows; absent without any."""
    n_skipped_decided: int = 0
    """Cases not run because everything was decided."""
    unscored_reasons: dict[str, int] = Field(default_factory=dict)
    """Reason → count over both arms."""
    worst_case: Verdict | None = None
    """The verdict if every unscored case went worst for tuned and best for base."""
    notes: tuple[str, ...] = ()
    """Warnings a reader must see, the gravest first: what capped the verdict, cut answers, skew."""
    collapsed: Text | None = Field(default=None, exclude_if=lambda found: found is None)
    """The form that tuned's answers have and base's do not; absent where the suite asks for it."""
    remarks: tuple[str, ...] = Field(default=(), exclude_if=operator.not_)
    """Facts that leave the verdict as it is: times, answers that changed sides, an early end."""
    gates: tuple[GateResult, ...]
    """In the order of suite.toml."""

    @property
    def counts(self) -> bool:
        """Whether it counts: a suite of which all gates are advisory decides nothing."""
        return any(not gate.advisory for gate in self.gates)


class ArmResult(Record, extra="allow"):
    """Result of the comparison of a further arm.

    An arm adds its own fields: JSON values by name to this record, or those of a subclass that its
    `ArmComparison` names. The report shows a text, number or bool by its name.
    """

    __pydantic_extra__: dict[str, Annotated[JsonValue, BeforeValidator(replace_surrogates)]]

    verdict: Verdict
    """The worst that the run can still end with."""
    sentence: str
    """The sentence that decided it."""

    @property
    def outcome(self) -> str:
        """How it ended, in one word."""
        return self.verdict

    @property
    def facts(self) -> dict[str, object]:
        """Name → value of what one line can show."""
        plain = self.model_dump(exclude={"sentence"})
        return {name: v for name, v in plain.items() if isinstance(v, str | int | float)}

    def decided_gates(self) -> Iterator[tuple[str, GateResult]]:
        """Yield suite and result of each gate that was decided on this arm."""
        yield from ()


class SuiteIncumbentResult(Record):
    """One suite's comparison of the incumbent and tuned."""

    name: str
    """Its name in suite.toml."""
    verdict: Verdict | None
    """Decision by its gates alone; None where none compares."""
    n_unscored: dict[str, int]
    """Arm → cases without a score on some metric compared."""
    gates: tuple[GateResult, ...]
    """Its tolerances and limits, and a tolerance for each metric with a goal alone; `base` is the
    incumbent's level, `delta` is tuned − incumbent."""


class IncumbentResult(ArmResult, extra="forbid"):
    """Incumbent and tuned: SHIP requires that tuned is no worse, on each suite that compares."""

    suites: tuple[SuiteIncumbentResult, ...]
    """In the order of the run."""

    def decided_gates(self) -> Iterator[tuple[str, GateResult]]:
        """Yield suite and result of each gate, the incumbent taking the place of base."""
        yield from ((suite.name, gate) for suite in self.suites for gate in suite.gates)


class MetricParity(Record):
    """One metric of tuned and shipped. Differences are shipped − tuned."""

    metric: str
    """Name of the metric within the suite."""
    tag: Text | None = Field(default=None, exclude_if=lambda tag: tag is None)
    """Tag of the cases compared, where the suite gates them; absent for all cases."""
    status: ParityStatus
    """How it ended."""
    sentence: str
    """The outcome in words, with its numbers."""
    higher_is_better: bool = True
    """Whether a positive delta is an improvement."""
    rate: bool = Field(default=False, exclude_if=lambda rate: not rate)
    """Whether scores are between 0 and 1, so that texts write them in per cent and points."""
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


class AnswerAgreement(Record):
    """How far the answers of tuned and shipped are the same text."""

    answers: int
    """Answers that both arms wrote."""
    same: int
    """Those that are equal, byte for byte."""
    until: Number = None
    """Mean share of the longer answer's characters before the first difference."""


class PredictionDivergence(Record):
    """How far the predictions of shipped are from tuned's, along tuned's own answers."""

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
    """Decision by them alone; None where there are none."""
    agreement: AnswerAgreement | None = None
    """None where no answers are written."""
    divergence: PredictionDivergence | None = None
    """None where one of the arms' logits are not available, or no answers are written."""


class DeploymentParity(ArmResult, extra="forbid"):
    """Tuned and shipped: SHIP requires that they are equivalent, and that shipped's guards hold.

    Its verdict is the worst that the run can still end with.
    """

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


class LostSlice(Record):
    """One metric on the cases of a tag, on which tuned is worse. Differences are tuned − base."""

    suite: str
    """Name of the suite."""
    metric: str
    """Name of the metric within it."""
    tag: Text
    """Tag of the cases."""
    higher_is_better: bool
    """Whether a positive delta is an improvement."""
    rate: bool = Field(default=False, exclude_if=lambda rate: not rate)
    """Whether scores are between 0 and 1, so that texts write them in per cent and points."""
    base: Number
    """Base's level over the complete pairs."""
    tuned: Number
    """Tuned's level, likewise."""
    delta: Number
    """tuned − base."""
    low: Number
    """Lower end of the delta's interval; None where the data bound neither end."""
    high: Number
    """Upper end, likewise."""
    confidence: float
    """Two-sided confidence of this one interval, taken by itself."""
    n: int
    """Complete pairs."""
    q_value: Number
    """Two-sided p-value of "no difference", by Benjamini and Hochberg over the slices tested."""
    stands_out: bool
    """Whether that is at most 0.10; if not, the interval alone is on the side of a loss."""


class SliceLosses(Record):
    """Slices that lost in a run that ships, which a mean that holds may hide; without influence."""

    tested: int
    """Slices that were looked at: gated metrics on tags with cases enough and no gate of their
    own that compares."""
    sentence: str
    """How many lost, the worst of them with their numbers, and how to gate on one."""
    lost: tuple[LostSlice, ...]
    """Those that stand out first, then by size of the loss."""


HEADLINE_WORDS = 25


def headline(core: str, *tails: str) -> str:
    """Return a core with the tails that fit into a headline; a long core ends with a clause."""
    words = core.split()
    if len(words) > HEADLINE_WORDS:
        kept = words[:HEADLINE_WORDS]
        ends = [place for place, word in enumerate(kept, 1) if word[-1] in ",;:"]
        return " ".join(kept[: ends[-1]])[:-1] if ends else " ".join([*kept[:-1], "…"])
    for tail in tails:
        if len(f"{core}{tail}".split()) <= HEADLINE_WORDS:
            core += tail
    return core


class VerdictRecord(Record):
    """The whole of verdict.json."""

    schema_version: int = SCHEMA_VERSION
    """Version of the format; a reader refuses one it does not know."""
    verdict: Verdict
    """The worst of the suites' verdicts, or why the run was refused or did not finish."""
    sentence: str
    """The headline: in at most 25 words what decided it; the cause of a refused run in full."""
    run_id: str
    """Name of the run's folder."""
    arms: dict[str, dict[str, Any]]
    """Arm → its identity: spec, hashes, number format, engine."""
    suites: tuple[SuiteResult, ...]
    """In the order of the run; none if it was refused or did not finish."""
    comparability: dict[str, Any]
    """Proofs or declarations about prompts and templates."""
    liveness: dict[str, Any]
    """Proofs that the adapter is active."""
    served_identity: dict[str, Any] = Field(default_factory=dict, exclude_if=operator.not_)
    """Served arm → proof that it computes with the weights on the disk, or why none is had."""
    attempts: dict[str, int]
    """Suite hash → number of candidates judged on it so far, this one included."""
    seed: int
    """Seed of everything drawn at random."""
    versions: dict[str, str]
    """Package → version, Python among them."""
    slices: SliceLosses | None = Field(default=None, exclude_if=lambda slices: slices is None)
    """Tags on which tuned lost although the gates let it ship; absent where none did."""
    training: dict[str, Any] | None = Field(default=None, exclude_if=lambda card: not card)
    """Main facts of how tuned was trained, from the card next to it; absent without one."""
    leakage: ContaminationResult | None = Field(
        default=None, exclude_if=lambda found: found is None
    )
    """Cases that tuned was trained on, shown apart; absent of runs that never looked for them."""
    further_arms: dict[str, SerializeAsAny[ArmResult]] = Field(
        default_factory=dict, exclude_if=lambda found: not found
    )
    """Further arm → what its comparison found; absent where none is compared."""

    def trust_notes(self) -> tuple[str, ...]:
        """Return what is taken on trust: recorded prompts, an adapter's base, what a server has."""
        note = self.comparability.get("note")
        prompts: tuple[str, ...] = (
            (str(note),) if note and self.comparability.get("on_trust") else ()
        )
        named = self.comparability.get("base_name")
        prompts += (str(named),) if named else ()
        served = {arm: found.get("note") for arm, found in self.served_identity.items()}
        return prompts + tuple(f"{arm}: {why}" for arm, why in served.items() if why)

    def after(self, arm: str, found: ArmResult) -> VerdictRecord:
        """Return the run's verdict after the comparison of a further arm: it can only be worse.

        Args:
            arm: The arm's name.
            found: What its comparison found.
        """
        worst = Verdict.worst([self.verdict, found.verdict])
        sentence = self.sentence
        if worst is not self.verdict:
            sentence = headline(found.sentence)
        elif worst is Verdict.SHIP:
            sentence = headline(sentence, f"; {found.sentence}")
        arms = {**self.further_arms, arm: found}
        return self.model_copy(
            update={"verdict": worst, "sentence": sentence, "further_arms": arms}
        )
