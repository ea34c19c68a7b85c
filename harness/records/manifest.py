"""manifest.json: what a run is, written before its first completion.

With the stored answers it determines the verdict: the suites' gates, the metrics' properties, the
identities of the arms, the plan, and what was proven about the arms before the first score.
"""

from __future__ import annotations

import operator
from itertools import takewhile
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, field_serializer, field_validator

from tunegate.harness.records.answers import Cell, CellKind
from tunegate.harness.records.calibration import Calibration
from tunegate.harness.records.command_line import shell_words
from tunegate.harness.records.contamination import ContaminationCheck
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.records.episodes import EpisodeSettings
from tunegate.harness.records.packed_plan import pack_plan, unpack_plan
from tunegate.harness.records.record import MAX_AMOUNT, SCHEMA_VERSION, Record, Text, is_none
from tunegate.harness.records.training_card import TrainingSummary
from tunegate.harness.records.wording import count_noun

KindName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,79}$")]
"""Name of a kind of gate, spelled like a module."""


def gate_id(metric: str, kind: str, tag: str | None, against: str | None = None) -> str:
    """Return the name of a gate within its suite: `f1::floor[refunds]`, `f1::gain@teacher`."""
    reference = "" if against is None else f"@{against}"
    return f"{metric}::{kind}{reference}" + ("" if tag is None else f"[{tag}]")


def rule_id(metric: str, kind: str, tag: str | None, against: str | None, every: str | None) -> str:
    """Return the name of a rule: that of its gate, or one for all values of a key."""
    return gate_id(metric, kind, tag if every is None else f"every {every}", against)


def gate_subject(metric: str, tag: str | None, against: str | None = None) -> str:
    """Return what a gate measures: `f1`, `f1 (tag refunds)`, `f1 (against teacher)`."""
    parts = [*([f"tag {tag}"] if tag else ()), *([f"against {against}"] if against else ())]
    return f"{metric} ({', '.join(parts)})" if parts else metric


class Gate(Record):
    """One rule on one metric; a `[[gates]]` table has one for each kind it names."""

    metric: str
    tag: Text | None = Field(default=None, exclude_if=is_none)
    """Tag of the cases that it rests on; absent if it rests on all cases of the suite."""
    every: Text | None = Field(default=None, exclude_if=is_none)
    """Key of its tag, if the rule must hold under each value of that key; absent if not."""
    against: Text | None = Field(default=None, exclude_if=is_none)
    """Further arm that tuned is compared with; absent if that is base."""
    kind: KindName
    """A module of harness/gates, or a name in the entry-point group tunegate.gates."""
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
    """Keys of the table that only its kind knows; absent if it has no such keys."""

    @property
    def id(self) -> str:
        """Name of the gate within its suite: `json_schema::floor[de]`."""
        return gate_id(self.metric, self.kind, self.tag, self.against)

    @property
    def rule_id(self) -> str:
        """Name of the rule, which gates on every value of a key share: `f1::gain[every topic]`."""
        return rule_id(self.metric, self.kind, self.tag, self.against, self.every)

    @property
    def subject(self) -> str:
        """The measured quantity: `json_schema (tag de)`."""
        return gate_subject(self.metric, self.tag, self.against)


class JudgeRecord(Record):
    """A judge of the run, and whether it may decide."""

    name: str
    """Its name in harness/judges, whatever the metric is called."""
    prompt_sha256: str
    """Hash of every text that makes its questions, including options such as the rubric."""
    pairs: bool = False
    """Whether it compared the arms' completions instead of scoring each alone."""
    calibration: Calibration | None = None
    """How it compares with people, if known for this judge and these models."""
    other_arms: bool = Field(default=False, exclude=True)
    """Whether it is used on arms that people did not label; never stored."""


class MetricRecord(Record):
    """Properties of a metric that the statistics need."""

    name: str
    use: str
    needs: CellKind
    higher_is_better: bool
    range: tuple[float, float] | None
    binary: bool
    corpus: dict[str, Any] | None = None
    """Options of its corpus function, which `use` names; None if an arm's level is the mean of its
    scores."""
    signature: Text | None = None
    """Exact definition of the numbers, as the library that computes them writes it."""
    indicative: bool = False
    """Whether it is only a hint for people."""
    judge: JudgeRecord | None = None
    """The judge that gave the scores; None if a rule did."""
    votes: bool = Field(default=False, exclude_if=operator.not_)
    """Whether people's votes are the scores."""
    training_rows: bool = Field(default=False, exclude_if=operator.not_)
    """Whether its cases are training rows on purpose."""
    label: Text | None = Field(default=None, exclude_if=is_none)
    """What it measures, in a few words; absent if its name says it."""
    only_if_base_has: str | None = Field(default=None, exclude_if=is_none)
    """Part of base's scores without which there is nothing for the metric to guard."""

    @property
    def advisory(self) -> bool:
        """Whether no gate may rest on its scores, unless people labelled answers of the run."""
        if self.judge is None:
            return self.indicative
        known = self.judge.calibration
        return self.judge.other_arms or known is None or bool(known.why_not())

    def on_other_arms(self) -> MetricRecord:
        """Return the metric for comparing arms other than base and tuned.

        How much kinder a judge is to one arm is known only for the two that people labelled.
        """
        if self.judge is None:
            return self
        judge = self.judge.model_copy(update={"other_arms": True})
        return self.model_copy(update={"judge": judge})

    @property
    def compares_pairs(self) -> bool:
        """Whether it compares base's answer with tuned's instead of scoring each alone."""
        return self.votes or (self.judge is not None and self.judge.pairs)

    @property
    def is_rate(self) -> bool:
        """Whether scores are between 0 and 1, so that texts show percent and points."""
        return self.binary or self.range == (0.0, 1.0)

    @property
    def bound(self) -> float | None:
        """Largest possible |difference| between two scores; None if unbounded."""
        return None if self.range is None else self.range[1] - self.range[0]

    @property
    def picks(self) -> bool:
        """Whether it scores the likeliest choice of a multiple-choice question."""
        return self.binary and self.needs is CellKind.CHOICES

    @property
    def guessable(self) -> bool:
        """Whether guessing gets some answers right: it scores a choice, likeliest or written."""
        return self.picks or (self.binary and self.use == "multiple_choice")


class LookSchedule(Record):
    """Interim looks at a suite while it runs, to stop as soon as everything is decided."""

    order: tuple[str, ...] = Field(repr=False)
    """Every case, in the seeded order in which they are asked."""
    sizes: tuple[int, ...]
    """Cases seen at each look; the last look sees all."""
    shares: tuple[float, ...]
    """Share of the independent units (clusters, where cases have them) seen at each look."""


class ArmPromptRecord(Record):
    """The prompt that one further arm gets instead of the suite's."""

    system: bool
    """Whether it has a system prompt of its own."""
    examples: int = Field(ge=0, le=MAX_AMOUNT)
    """Solved examples in front of each case."""
    sha256: str
    """Hash of all its texts, and of where they are put."""

    @property
    def words(self) -> str:
        """What it has: `its own system prompt and 4 examples`."""
        parts = ["its own system prompt"] if self.system else []
        parts += [count_noun(self.examples, "example")] if self.examples else []
        return " and ".join(parts)


class SuiteRecord(Record):
    """A suite as the run judged it."""

    name: str
    path: Text
    hash: str
    n_cases: int = Field(ge=0, le=MAX_AMOUNT)
    n_variants: int = Field(default=0, ge=0, le=MAX_AMOUNT, exclude_if=operator.not_)
    """Those of the cases that word others in another way; absent if 0."""
    goal_rule: str
    """`primary`, `all` or `any`."""
    max_unscored: float = Field(ge=0, le=1)
    metrics: tuple[MetricRecord, ...]
    gates: tuple[Gate, ...]
    generation: dict[str, Any]
    alpha_per_attempt: bool = False
    """Whether the k-th candidate is judged at 1/k of the error."""
    extended: int = Field(default=0, ge=0, le=MAX_AMOUNT, exclude_if=operator.not_)
    """Earlier verdicts on this candidate with other cases or seeds; absent if 0."""
    looks: LookSchedule | None = None
    """None if every case is asked before anything is judged."""
    sealed: bool = Field(default=False, exclude_if=operator.not_)
    """Whether it is judged only when the user opens it."""
    content_metrics: tuple[str, ...] | None = Field(default=None, exclude_if=is_none)
    """Metrics that judge what answers say, if a SHIP must rest on one."""
    episode: EpisodeSettings | None = Field(default=None, exclude_if=is_none)
    """How its episodes are played; absent if it has none."""
    equal_prompts: tuple[tuple[str, ...], ...] = Field(
        default=(), repr=False, exclude_if=operator.not_
    )
    """Groups of cases with the same prompt, each within a cluster that cases.jsonl names."""
    base_expects: tuple[Text, ...] = Field(default=(), exclude_if=operator.not_)
    """What base may answer although it looks broken; absent if the suite names nothing."""
    arm_prompts: dict[str, ArmPromptRecord] = Field(default_factory=dict, exclude_if=operator.not_)
    """Further arm → the prompt that it gets instead of the suite's; absent if none has one."""

    @property
    def training_rows(self) -> bool:
        """Whether its cases are training rows on purpose."""
        return any(metric.training_rows for metric in self.metrics)


class LedgerState(Record):
    """Findings in the attempts ledger of a suite that a reader must know."""

    file: Text
    """The ledger."""
    first: bool = False
    """Whether the ledger has no other verdict on the suite."""
    unwritable: Text | None = None
    """Why the run's line cannot be written."""
    unknown_runs: tuple[Text, ...] = ()
    """Stored runs of the suite that are missing in the ledger."""
    unknown_promotions: tuple[Text, ...] = ()
    """Runs whose fine-tune was shipped that are missing in the ledger."""
    edited: int = Field(default=0, exclude_if=operator.not_)
    """Other versions of the suite, with nearly the same prompts, that judged the candidate."""


class AnswerFinding(Record):
    """Something about a suite's answers as a whole that a reader must know."""

    suite: Text
    text: Text
    """The finding, with the remedy."""
    caps: bool = False
    """Whether it caps the verdict at UNDECIDED."""


PACKED_FROM = 2_000
"""Number of answers from which a run's files are written compactly."""


UNBOXED = (
    "programs in answers ran without a sandbox (--sandbox none): an answer could read and change "
    "everything that this job could, its scores included"
)


class Manifest(Record):
    """The description of a run."""

    schema_version: int = SCHEMA_VERSION
    run_id: str
    created: str
    """ISO 8601 time of the first start, UTC."""
    command: tuple[str, ...]
    """Arguments of pytest that repeat the run, including those that `tunegate gate` adds."""
    arms: dict[str, dict[str, Any]]
    """Identity of each arm: spec, hashes, format, engine."""
    suites: tuple[SuiteRecord, ...]
    plan: tuple[Cell, ...] = Field(repr=False)
    """Every cell, in the order of the suites; blocks in the file from `PACKED_FROM` cells on."""
    seed: int
    versions: dict[str, str]
    origin: dict[str, Text] = Field(default_factory=dict)
    """Where it was made: commit, CI job, machine, if known."""
    comparability: dict[str, Any]
    """Proofs or declarations about prompts and templates."""
    liveness: dict[str, Any]
    """Proofs that the adapter is active."""
    served_identity: dict[str, Any] = Field(default_factory=dict, exclude_if=operator.not_)
    """Served arm → proof that it computes with the weights on disk, or why it is missing."""
    served_prompts: dict[str, Any] = Field(default_factory=dict, exclude_if=operator.not_)
    """Served arm → proof that its server builds the trained prompt, or how it differs."""
    sandbox: str | None = Field(default=None, exclude_if=is_none)
    """Name and version of the sandbox in which programs of answers ran; absent if none did."""
    attempts: dict[str, Annotated[int, Field(le=MAX_AMOUNT)]]
    """Suite hash → number of candidates judged on it so far, including this one."""
    ledger: dict[str, LedgerState] = Field(default_factory=dict, exclude_if=operator.not_)
    """Suite → state of its attempts ledger; absent if the run is not an attempt."""
    judges: tuple[dict[str, Any], ...] = ()
    """Identities of the judge models: several for a jury, none if no metric asks one."""
    filtered: tuple[str, ...] = ()
    """Why the run judges less than the suites ask for, which caps the verdict at UNDECIDED."""
    findings: tuple[AnswerFinding, ...] = Field(default=(), exclude_if=operator.not_)
    """Findings in the answers that no score shows; absent if nothing was found."""
    draft: bool = Field(default=False, exclude_if=operator.not_)
    """Whether the suites are still being written: no attempt is counted, and nothing ships."""
    training: TrainingSummary | None = None
    """How tuned was trained, by the card next to it; None if the run did not look for one."""
    leakage: ContaminationCheck | None = None
    """Which cases are in the training rows; None if the run did not look for them."""

    @property
    def packed(self) -> bool:
        """Whether the files of the run are written compactly."""
        return len(self.plan) >= PACKED_FROM

    def taken_on_trust(self) -> tuple[str, ...]:
        """Return what is believed without proof, such as the prompts of recorded answers."""
        note = self.comparability.get("note")
        recorded = (str(note),) if note and self.comparability.get("on_trust") else ()
        return (*recorded, *((UNBOXED,) if self.sandbox == "none" else ()))

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
        """Return the words that repeat the run in a shell."""
        return shell_words(self.command)

    def suite_words(self) -> tuple[str, ...]:
        """Return the suites' folders as `tunegate gate` was told them, else as they are stored."""
        words = self.shell_words()
        files = [suite.path for suite in self.suites]
        if words[:2] == ("tunegate", "gate"):
            files = list(takewhile(lambda word: not word.startswith("-"), words[2:]))
        return tuple(file.removesuffix("/suite.toml") for file in files)

    def identity(self, arm: str) -> dict[str, Any]:
        """Return an arm's identity; arms made from base, such as `base_again`, are base."""
        return self.arms.get(arm) or self.arms["base"]
