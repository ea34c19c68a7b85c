"""manifest.json: what a run is, written before its first completion.

It holds all that the verdict is a function of, next to the cells: the suites' gates and what the
statistics must know of each metric, the identities of the arms, the plan, and what was proven
about the arms before anything was scored.
"""

from __future__ import annotations

import operator
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, field_serializer, field_validator

from tunegate.harness.records.answers import Cell, CellKind
from tunegate.harness.records.calibration import Calibration
from tunegate.harness.records.command import shell_words
from tunegate.harness.records.contamination import ContaminationCheck
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.records.episodes import EpisodeSettings
from tunegate.harness.records.packed_plan import pack_plan, unpack_plan
from tunegate.harness.records.record import MAX_AMOUNT, SCHEMA_VERSION, Record, Text, is_none
from tunegate.harness.records.training_card import TrainingSummary

KindName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,79}$")]
"""Name of a kind of gate, as Python spells the name of a module."""


def gate_id(metric: str, kind: str, tag: str | None) -> str:
    """Return the name of a gate within its suite: `accuracy::floor`, `accuracy::floor[refunds]`."""
    return f"{metric}::{kind}" if tag is None else f"{metric}::{kind}[{tag}]"


def gate_subject(metric: str, tag: str | None) -> str:
    """Return what a gate measures, as sentences write it: `accuracy`, `accuracy (tag refunds)`."""
    return metric if tag is None else f"{metric} (tag {tag})"


class Gate(Record):
    """One rule on one metric; a `[[gates]]` table makes one for each kind it names."""

    metric: str
    tag: Text | None = Field(default=None, exclude_if=is_none)
    """Tag of the cases that it rests on; absent of a gate on all cases of the suite."""
    kind: KindName
    """Name of its kind: a module of harness/gates, or one of the entry-point group
    tunegate.gates."""
    margin: float | str
    """The bound: a number in the metric's unit, or "2%" of base for a tolerance."""
    floor_mode: str = "observed"
    """`observed`, `certified` or `zero_tolerance`."""
    drop: float | None = None
    """Loss from which a drop is severe; None is half the metric's range."""
    expected_gain: float | None = None
    """Smallest gain of interest; the only way to HOLD."""
    confidence: float = Field(default=CONFIDENCE, gt=0, lt=1)
    """Two-sided: 0.90 tests at 5 % one-sided."""
    where: Text = ""
    """File and line, for messages and annotations."""
    options: dict[str, Any] = Field(default_factory=dict, exclude_if=operator.not_)
    """Keys of the table that only its kind knows; absent without any."""

    @property
    def id(self) -> str:
        """Name of the gate within its suite: `json_schema::floor`, with its tag if it has one."""
        return gate_id(self.metric, self.kind, self.tag)

    @property
    def subject(self) -> str:
        """The measured quantity, in words: the metric, with its tag if it has one."""
        return gate_subject(self.metric, self.tag)


class JudgeRecord(Record):
    """A run's record of a judge: its prompt, and whether it may decide."""

    name: str
    """Its name in harness/judges, whatever the metric is called."""
    prompt_sha256: str
    """Hash of every text that makes its questions, options such as the rubric included."""
    pairs: bool = False
    """Whether it compared the arms' completions instead of scoring each alone."""
    calibration: Calibration | None = None
    """How it compares with people, if that is known of this judge and these models."""
    other_arms: bool = Field(default=False, exclude=True)
    """Whether it is used on arms other than those that people labelled; never stored."""


class MetricRecord(Record):
    """Properties of a metric for the statistics."""

    name: str
    use: str
    needs: CellKind
    higher_is_better: bool
    range: tuple[float, float] | None
    binary: bool
    corpus: dict[str, Any] | None = None
    """Options of its corpus function, which is found again by `use`; None where an arm's level is
    the mean of its scores."""
    signature: Text | None = None
    """How exactly the numbers are made, as the library that makes them writes it."""
    indicative: bool = False
    """Whether it is a hint for people, whatever the scores."""
    judge: JudgeRecord | None = None
    """The judge that gave the scores; None where a rule did."""
    label: Text | None = Field(default=None, exclude_if=is_none)
    """What it measures in a few words; absent where the name's own words say it."""
    silent_without: str | None = Field(default=None, exclude_if=is_none)
    """Part of the scores without which base lacks what the metric guards; None of most metrics."""

    @property
    def advisory(self) -> bool:
        """Whether no gate may rest on its scores, unless people labelled answers of the run."""
        if self.judge is None:
            return self.indicative
        known = self.judge.calibration
        return self.judge.other_arms or known is None or bool(known.why_not())

    def on_other_arms(self) -> MetricRecord:
        """Return the metric where it compares other arms than base with tuned.

        A judge may be kinder to one of them. What it adds to their difference is known of the two
        arms whose answers people labelled, and of no others.
        """
        if self.judge is None:
            return self
        judge = self.judge.model_copy(update={"other_arms": True})
        return self.model_copy(update={"judge": judge})

    @property
    def is_rate(self) -> bool:
        """Whether scores are between 0 and 1, so that texts show percent and points."""
        return self.binary or self.range == (0.0, 1.0)

    @property
    def bound(self) -> float | None:
        """Largest possible |difference| of two scores; None if unbounded."""
        return None if self.range is None else self.range[1] - self.range[0]

    @property
    def picks(self) -> bool:
        """Whether it calls the answer to a multiple-choice question right or wrong."""
        return self.binary and self.needs is CellKind.CHOICES

    @property
    def guessable(self) -> bool:
        """Whether guessing gets some answers right: of several choices, named or likeliest."""
        return self.picks or (self.binary and self.use == "multiple_choice")


class LookSchedule(Record):
    """When a suite is looked at while it runs, to stop as soon as all is decided."""

    order: tuple[str, ...] = Field(repr=False)
    """Every case, in the seeded order in which they are asked."""
    sizes: tuple[int, ...]
    """Cases seen at each look; the last look sees all."""
    shares: tuple[float, ...]
    """Share of the independent units (clusters, where cases have them) seen at each look."""


class SuiteRecord(Record):
    """A suite as the run judged it."""

    name: str
    path: Text
    hash: str
    n_cases: int = Field(ge=0, le=MAX_AMOUNT)
    goal_rule: str
    """`primary`, `all` or `any`."""
    max_unscored: float = Field(ge=0, le=1)
    metrics: tuple[MetricRecord, ...]
    gates: tuple[Gate, ...]
    generation: dict[str, Any]
    alpha_per_attempt: bool = False
    """Whether the k-th candidate is judged at 1/k of the error."""
    extended: int = Field(default=0, ge=0, le=MAX_AMOUNT, exclude_if=operator.not_)
    """Other cases or seeds with which the suite judged this candidate before; absent without."""
    looks: LookSchedule | None = None
    """None where every case is asked before anything is judged."""
    sealed: bool = Field(default=False, exclude_if=operator.not_)
    """Whether it is judged only when the user opens it; absent where it is not."""
    content_metrics: tuple[str, ...] | None = Field(default=None, exclude_if=is_none)
    """Of replayed traffic the metrics that judge what answers say, one of which a SHIP must rest
    on; absent of other suites."""
    episode: EpisodeSettings | None = Field(default=None, exclude_if=is_none)
    """How its episodes are played; absent of a suite whose completions are written at once."""
    equal_prompts: tuple[tuple[str, ...], ...] = Field(
        default=(), repr=False, exclude_if=operator.not_
    )
    """Cases by prompt, where several have the same one: they belong to one cluster, which
    cases.jsonl names. Absent without any."""


class LedgerState(Record):
    """A run's findings in the attempts ledger of a suite, where a reader must know them."""

    file: Text
    """The ledger."""
    first: bool = False
    """Whether it knows of no other verdict on the suite."""
    unwritable: Text | None = None
    """Why the run's line cannot be written."""
    unknown_runs: tuple[Text, ...] = ()
    """Stored runs of the suite that it does not know."""
    unknown_promotions: tuple[Text, ...] = ()
    """Runs whose fine-tune was shipped and that it does not know."""
    edited: int = Field(default=0, exclude_if=operator.not_)
    """Other versions of the suite, with about the same prompts, that have judged the candidate."""


class AnswerFinding(Record):
    """Something about a suite's answers as a whole that a reader must know."""

    suite: Text
    text: Text
    """What it is, with the remedy."""
    caps: bool = False
    """Whether nothing ships on such answers: it caps the verdict at UNDECIDED."""


PACKED_FROM = 2_000
"""Answers of a run from which on its files are written in fewer bytes."""


class Manifest(Record):
    """The description of a run."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    created: str
    """ISO 8601 time of the first start, UTC."""
    command: tuple[str, ...]
    """Arguments of pytest that repeat the run, those that `tunegate gate` made included."""
    arms: dict[str, dict[str, Any]]
    """Identity of each arm: spec, hashes, format, engine."""
    suites: tuple[SuiteRecord, ...]
    plan: tuple[Cell, ...] = Field(repr=False)
    """Every cell in the order of the suites; in the file as blocks from `PACKED_FROM` cells on."""
    seed: int
    versions: dict[str, str]
    origin: dict[str, Text] = Field(default_factory=dict)
    """Where it was made: commit, CI job, machine, those that are known."""
    comparability: dict[str, Any]
    """Proofs or declarations about prompts and templates."""
    liveness: dict[str, Any]
    """Proofs that the adapter is active."""
    served_identity: dict[str, Any] = Field(default_factory=dict, exclude_if=operator.not_)
    """Served arm → proof that it computes with the weights on the disk, or why none is had."""
    attempts: dict[str, Annotated[int, Field(le=MAX_AMOUNT)]]
    """Suite hash → number of candidates judged on it so far, this one included."""
    ledger: dict[str, LedgerState] = Field(default_factory=dict, exclude_if=operator.not_)
    """Suite → the state of its attempts ledger; absent of runs that are no attempt."""
    judges: tuple[dict[str, Any], ...] = ()
    """Identity of the judge models, several for a jury; none where no metric asks one."""
    filtered: tuple[str, ...] = ()
    """Why the run judges less than the suites ask for: it caps the verdict at UNDECIDED."""
    findings: tuple[AnswerFinding, ...] = Field(default=(), exclude_if=operator.not_)
    """What was found in the answers that no score shows; absent where nothing was."""
    draft: bool = Field(default=False, exclude_if=operator.not_)
    """Whether the suites are still being written: no attempt is counted, and nothing ships."""
    training: TrainingSummary | None = None
    """How tuned was trained, by the card next to it; None of runs that never asked."""
    leakage: ContaminationCheck | None = None
    """Which cases are in the training rows; None of runs that never looked for them."""

    @property
    def packed(self) -> bool:
        """Whether the files of the run are written in fewer bytes."""
        return len(self.plan) >= PACKED_FROM

    @field_validator("plan", mode="before")
    @classmethod
    def _read_plan(cls, plan: Any) -> Any:
        return tuple(unpack_plan(plan)) if isinstance(plan, (list, tuple)) else plan

    @field_serializer("plan", mode="wrap")
    def _write_plan(self, plan: tuple[Cell, ...], plain: SerializerFunctionWrapHandler) -> Any:
        if not self.packed or any(" " in cell.key for cell in plan):
            return plain(plan)
        return list(pack_plan(plan))

    def shell_words(self) -> tuple[str, ...]:
        """Return the words that repeat the run in a shell, as a user types them."""
        return shell_words(self.command)

    def identity(self, arm: str) -> dict[str, Any]:
        """Return what an arm is; one that was made from base, such as `base_again`, is base."""
        return self.arms.get(arm) or self.arms["base"]
