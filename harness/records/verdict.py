"""verdict.json: what was decided, on which numbers, and why.

CI and reports read this file. Its bytes are a pure function of the manifest and the stored answers:
no clock, sorted keys, numbers rounded to six significant digits. It is described in
`harness/records/schemas/verdict.schema.json`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, JsonValue, SerializeAsAny

from tunegate.harness.records.contamination import ContaminationResult
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.manifest import UNBOXED
from tunegate.harness.records.record import (
    SCHEMA_VERSION,
    Record,
    Text,
    is_none,
    replace_surrogates,
)
from tunegate.harness.records.slices import SliceLosses


class Verdict(StrEnum):
    """The answer to "ship it or not?"; only SHIP ships."""

    SHIP = "SHIP"
    """All floors hold, every guardrail is proven non-inferior, and the goal rule holds."""
    HOLD = "HOLD"
    """Nothing broke, but the gain is proven smaller than the written expected gain."""
    UNDECIDED = "UNDECIDED"
    """Too little evidence either way."""
    BLOCK = "BLOCK"
    """A bound is broken, or a regression is proven."""
    NOT_COMPARABLE = "NOT_COMPARABLE"
    """The arms differ in more than the weights, or the adapter is not active."""
    ERROR = "ERROR"
    """Too much is unscored, or a backend, judge or disk failed; the run can be resumed."""

    @property
    def exit_code(self) -> int:
        """Exit code of the CLI and of pytest."""
        return _EXIT_CODES[self]

    @classmethod
    def worst(cls, verdicts: list[Verdict]) -> Verdict:
        """Return the worst of several verdicts."""
        return max(verdicts, key=list(cls).index)


_EXIT_CODES = {
    Verdict.SHIP: 0,
    Verdict.BLOCK: 1,
    Verdict.UNDECIDED: 10,
    Verdict.HOLD: 11,
    Verdict.NOT_COMPARABLE: 12,
    Verdict.ERROR: 13,
}


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
    """Cases that both arms have a score for on every gated metric."""
    n_unscored: dict[str, int]
    """Arm → cases without a score on some gated metric."""
    n_touched: int = Field(default=0, exclude_if=operator.not_)
    """Cases left out of the gates because they are in the training rows; absent if 0."""
    n_skipped_decided: int = 0
    """Cases not run because everything was already decided."""
    unscored_reasons: dict[str, int] = Field(default_factory=dict)
    """Reason → count in both arms together."""
    worst_case: Verdict | None = None
    """The verdict if every unscored case had gone worst for tuned and best for base."""
    notes: tuple[str, ...] = ()
    """Warnings that a reader must see, the gravest first."""
    collapsed: Text | None = Field(default=None, exclude_if=is_none)
    """The form that tuned's answers have and base's lack; absent if the suite asks for it."""
    causes: tuple[Text, ...] = Field(default=(), exclude_if=operator.not_)
    """What probably led to the failing gates, and what to do; absent where nothing shows it."""
    remarks: tuple[str, ...] = Field(default=(), exclude_if=operator.not_)
    """Facts without effect on the verdict: times, answers that changed sides, an early end."""
    gates: tuple[GateResult, ...]
    """In the order of suite.toml."""

    @property
    def rules(self) -> tuple[GateResult, ...]:
        """Its gates, of those on every value of a tag key the worst alone."""
        return tuple(gate for gate in self.gates if gate.every is None or gate.worst)

    @property
    def counts(self) -> bool:
        """Whether it has a gate that is not advisory."""
        return any(not gate.advisory for gate in self.gates)


class ArmResult(Record, extra="allow"):
    """Result of comparing a further arm.

    An arm adds fields of its own: JSON values by name, or a subclass that its `ArmComparison`
    names. The report shows texts, numbers and bools by their names.
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
        """Field → value, of the fields that fit on one line."""
        plain = self.model_dump(exclude={"sentence"})
        return {name: v for name, v in plain.items() if isinstance(v, str | int | float)}

    def decided_gates(self) -> Iterator[tuple[str, GateResult]]:
        """Yield suite and result of each gate that was decided on this arm."""
        yield from ()


HEADLINE_WORDS = 25


def headline(core: str, *tails: str) -> str:
    """Return a core with the tails that fit into a headline; a long core is cut after a clause.

    It ends in `…` if anything is left out.
    """
    words = core.split()
    if len(words) > HEADLINE_WORDS:
        kept = words[: HEADLINE_WORDS - 1]
        ends = [place for place, word in enumerate(kept, 1) if word[-1] in ",;:"]
        return f"{' '.join(kept[: ends[-1]])[:-1] if ends else ' '.join(kept)} …"
    left_out = core.endswith("…")
    core = core.removesuffix("…").rstrip()
    for tail in tails:
        fits = len(f"{core}{tail}".split()) <= HEADLINE_WORDS
        core += tail if fits else ""
        left_out |= not fits
    space = " " if len(core.split()) < HEADLINE_WORDS else ""
    return f"{core}{space}…" if left_out else core


def _by_arms(found: Mapping[str, Any], kind: str) -> list[str]:
    """Return the sentences of a kind, each once, with the arms that it is about in front."""
    arms: dict[str, list[str]] = {}
    for arm, record in found.items():
        told = record.get(kind) if isinstance(record, Mapping) else None
        for sentence in told if isinstance(told, list | tuple) else [told]:
            if sentence:
                arms.setdefault(str(sentence), []).append(arm)
    return [f"{' and '.join(names)}: {sentence}" for sentence, names in arms.items()]


class VerdictRecord(Record):
    """The whole of verdict.json."""

    schema_version: int = SCHEMA_VERSION
    """Version of the format; readers refuse other versions."""
    verdict: Verdict
    """The worst of the suites' verdicts, or why the run was refused or did not finish."""
    sentence: str
    """What decided the run, in at most 25 words; of a refused run, the full cause."""
    run_id: str
    """Name of the run's folder."""
    arms: dict[str, dict[str, Any]]
    """Arm → its identity: spec, hashes, number format, engine."""
    suites: tuple[SuiteResult, ...]
    """In the order of the run; empty if it was refused or did not finish."""
    comparability: dict[str, Any]
    """Proofs or declarations about prompts and templates."""
    liveness: dict[str, Any]
    """Proofs that the adapter is active."""
    served_identity: dict[str, Any] = Field(default_factory=dict, exclude_if=operator.not_)
    """Served arm → proof that it computes with the weights on disk, or why it is missing."""
    served_prompts: dict[str, Any] = Field(default_factory=dict, exclude_if=operator.not_)
    """Served arm → proof that its server builds the trained prompt, or how it differs."""
    attempts: dict[str, int]
    """Suite hash → number of candidates judged on it so far, including this one."""
    seed: int
    """Seed of all random draws."""
    versions: dict[str, str]
    """Package → version, including Python."""
    slices: SliceLosses | None = Field(default=None, exclude_if=is_none)
    """Tags on which tuned lost although the gates let it ship; absent if no tag stands out."""
    training: dict[str, Any] | None = Field(default=None, exclude_if=operator.not_)
    """How tuned was trained, from the card next to it; absent if it has no card."""
    leakage: ContaminationResult | None = Field(default=None, exclude_if=is_none)
    """Cases that tuned was trained on; absent if the run did not look for them."""
    further_arms: dict[str, SerializeAsAny[ArmResult]] = Field(
        default_factory=dict, exclude_if=operator.not_
    )
    """Further arm → result of its comparison; absent if no arm is compared."""

    def trust_notes(self) -> tuple[str, ...]:
        """Return what is taken on trust: prompts, an adapter's base, a server, unboxed programs."""
        notes = []
        if self.comparability.get("on_trust"):
            notes.append(self.comparability.get("note"))
        notes.append(self.comparability.get("base_name"))
        for found in (self.served_identity, self.served_prompts):
            notes += _by_arms(found, "note")
        if any(note.endswith(UNBOXED) for suite in self.suites for note in suite.notes):
            notes.append(UNBOXED)
        return tuple(str(note) for note in notes if note)

    def arm_warnings(self) -> tuple[str, ...]:
        """Return in what an arm differs from base, or from its training, besides the weights.

        A run that was refused says so in its sentence.
        """
        if self.verdict is Verdict.NOT_COMPARABLE:
            return ()
        return tuple(
            warning
            for found in (self.liveness, self.served_prompts)
            for kind in ("warning", "lost")
            for warning in _by_arms(found, kind)
        )

    def declared_arms(self) -> tuple[str, ...]:
        """Return the further arms with another model or prompt than base's, one line each."""
        declared: dict[str, str] = self.comparability.get("declared", {})
        return tuple(f"{name}: {what}" for name, what in declared.items())

    def after(self, arm: str, found: ArmResult) -> VerdictRecord:
        """Return the run's verdict after a further arm was compared: it can only get worse."""
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
