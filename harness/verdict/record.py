"""verdict.json: what was decided, on which numbers, and why; the one file CI and reports read.

The bytes are a pure function of the manifest and the stored cells: no clock, sorted keys, numbers
rounded to six significant digits. `harness/schemas/verdict.schema.json` documents it.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from harness.manifest import GateKind
from harness.records import SCHEMA_VERSION, Record
from harness.verdict.gate_record import GateResult, Number, six_digits
from harness.verdict.leakage_record import LeakageResult
from harness.verdict.parity_record import Parity
from harness.verdict.standing_record import Standing
from harness.verdict.status import GateReason, GateStatus, Verdict


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
    """Cases left out of the gates because they stand in the training rows; absent without any."""
    n_skipped_decided: int = 0
    """Cases not run because everything was decided."""
    unscored_reasons: dict[str, int] = Field(default_factory=dict)
    """Reason → count over both arms."""
    worst_case: Verdict | None = None
    """The verdict if every unscored case went worst for tuned and best for base."""
    notes: tuple[str, ...] = ()
    """Warnings a reader must see: skew, few clusters, equal scores, what capped the verdict."""
    gates: tuple[GateResult, ...]
    """In the order of suite.toml."""

    @property
    def counts(self) -> bool:
        """Whether it has a say: a suite of which all gates are advisory decides nothing."""
        return any(not gate.advisory for gate in self.gates)


class VerdictRecord(Record):
    """The whole of verdict.json."""

    schema_version: int = SCHEMA_VERSION
    """Version of the format; a reader refuses one it does not know."""
    verdict: Verdict
    """The worst of the suites' verdicts, or why the run was refused or broke off."""
    sentence: str
    """The sentence that decided it, naming gate and numbers."""
    run_id: str
    """Name of the run's folder."""
    arms: dict[str, dict[str, Any]]
    """Arm → its identity: spec, hashes, number format, engine."""
    suites: tuple[SuiteResult, ...]
    """In the order of the run; none if it was refused or broke off."""
    comparability: dict[str, Any]
    """What was proven about prompts and templates, or declared."""
    liveness: dict[str, Any]
    """What was proven about the adapter being active."""
    attempts: dict[str, int]
    """Suite hash → number of candidates judged on it so far, this one included."""
    seed: int
    """Seed of everything drawn at random."""
    versions: dict[str, str]
    """Package → version, Python among them."""
    parity: Parity | None = Field(default=None, exclude_if=lambda parity: parity is None)
    """Whether what ships behaves as tuned; absent without a shipped arm."""
    training: dict[str, Any] | None = Field(default=None, exclude_if=lambda card: not card)
    """Main facts of how tuned was trained, from the card beside it; absent without one."""
    leakage: LeakageResult | None = Field(default=None, exclude_if=lambda found: found is None)
    """Cases that tuned was trained on, shown apart; absent of runs that never looked for them."""
    standing: Standing | None = Field(default=None, exclude_if=lambda standing: standing is None)
    """Whether tuned is no worse than the incumbent; absent without an incumbent arm."""

    def after(self, **said: Parity | Standing) -> VerdictRecord:
        """Return the run's verdict once a further arm has its say: it can only be worse.

        Args:
            said: What one comparison says, under the name of its field.
        """
        (part,) = said.values()
        worst = Verdict.worst([self.verdict, part.verdict])
        sentence = self.sentence
        if worst is not self.verdict:
            sentence = part.sentence
        elif worst is Verdict.SHIP:
            sentence = f"{sentence}; {part.sentence}"
        return self.model_copy(update={"verdict": worst, "sentence": sentence, **said})


__all__ = [
    "GateKind",
    "GateReason",
    "GateResult",
    "GateStatus",
    "Number",
    "Parity",
    "Standing",
    "SuiteResult",
    "Verdict",
    "VerdictRecord",
    "six_digits",
]
