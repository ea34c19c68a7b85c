"""verdict.json: what was decided, on which numbers, and why; the one file CI and reports read.

The bytes are a pure function of the manifest and the stored cells: no clock, sorted keys, numbers
rounded to six significant digits. `harness/schemas/verdict.schema.json` documents it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from harness.manifest import GateKind
from harness.records import SCHEMA_VERSION, Record


class Verdict(StrEnum):
    """The answer to "ship it or not?"; only SHIP ships."""

    SHIP = "SHIP"
    """All floors hold, every guardrail is proven non-inferior and the goal rule holds."""
    HOLD = "HOLD"
    """Nothing broke, but the gain is proven smaller than the written expected gain."""
    UNDECIDED = "UNDECIDED"
    """Too little evidence either way."""
    BLOCK = "BLOCK"
    """A floor is broken or a regression is proven."""
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
    """Why a gate did not pass; `pass_with_loss` marks a guardrail that held despite a loss."""

    BELOW_FLOOR = "below_floor"
    ABOVE_CEILING = "above_ceiling"
    REGRESSED = "regressed"
    NO_WORTHWHILE_GAIN = "no_worthwhile_gain"
    UNDERPOWERED = "underpowered"
    INSENSITIVE = "insensitive"
    UNSCORED = "unscored"
    FILTERED = "filtered"
    PASS_WITH_LOSS = "pass_with_loss"


def six_digits(value: float | None) -> float | None:
    """Round to six significant digits, the precision of verdict.json."""
    return None if value is None else float(f"{value:.6g}")


Number = Annotated[float | None, AfterValidator(six_digits)]


class GateResult(Record):
    """One gate's outcome. Differences are tuned − base, whatever direction is better."""

    metric: str
    kind: GateKind
    status: GateStatus
    reason: GateReason | None = None
    sentence: str
    """The outcome in words, with its numbers."""
    higher_is_better: bool = True
    base: Number = None
    """Base's level over the complete pairs."""
    tuned: Number = None
    """Tuned's level over the complete pairs."""
    delta: Number = None
    """tuned − base."""
    low: Number = None
    """Lower end of the delta's interval; of tuned's level for floors and ceilings."""
    high: Number = None
    """Upper end, likewise."""
    confidence: Number
    """Two-sided confidence of the interval."""
    method: str
    """The interval and test used."""
    margin: float | str
    """The bound as the suite writes it: 0.02, or "2%" of base."""
    p_value: Number = None
    """One-sided p-value of the gate's null hypothesis; None for observed floors."""
    n: int
    """Complete pairs (clusters are counted in `method`)."""
    needed_n: int | None = None
    """Cases that would decide an undecided gate with 80 % power, if this run's spread holds."""
    advisory: bool = False
    """Shown, but without influence on the verdict."""


class SuiteResult(Record):
    """One suite's gates and counts."""

    name: str
    hash: str
    verdict: Verdict
    goal_rule: str
    has_goal: bool
    """False for a pure regression check, where SHIP means "no worse"."""
    n_planned: int
    """Cases the suite asks for."""
    n_scored: int
    """Cases with a complete pair of scores on every gated metric."""
    n_unscored: dict[str, int]
    """Arm → cases without a score on some gated metric."""
    n_skipped_decided: int = 0
    """Cases not run because everything was decided."""
    unscored_reasons: dict[str, int] = Field(default_factory=dict)
    """Reason → count over both arms."""
    worst_case: Verdict | None = None
    """The verdict if every unscored case went worst for tuned and best for base."""
    notes: tuple[str, ...] = ()
    """Warnings a reader must see: skew, few clusters, identical answers."""
    gates: tuple[GateResult, ...]


class VerdictRecord(Record):
    """The whole of verdict.json."""

    schema_version: int = SCHEMA_VERSION
    verdict: Verdict
    sentence: str
    """The sentence that decided it, naming gate and numbers."""
    run_id: str
    arms: dict[str, dict[str, Any]]
    suites: tuple[SuiteResult, ...]
    comparability: dict[str, Any]
    liveness: dict[str, Any]
    attempts: dict[str, int]
    seed: int
    versions: dict[str, str]


__all__ = [
    "GateKind",
    "GateReason",
    "GateResult",
    "GateStatus",
    "Number",
    "SuiteResult",
    "Verdict",
    "VerdictRecord",
    "six_digits",
]
