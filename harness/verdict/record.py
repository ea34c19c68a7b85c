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
    SEVERE_DROPS = "severe_drops"
    NO_WORTHWHILE_GAIN = "no_worthwhile_gain"
    UNDERPOWERED = "underpowered"
    INSENSITIVE = "insensitive"
    WITHIN_NOISE = "within_noise"
    UNSCORED = "unscored"
    CANARY = "canary"
    FILTERED = "filtered"
    PASS_WITH_LOSS = "pass_with_loss"


def six_digits(value: float | None) -> float | None:
    """Round to six significant digits, the precision of verdict.json; there is no minus zero."""
    return None if value is None else float(f"{value:.6g}") + 0.0


Number = Annotated[float | None, AfterValidator(six_digits)]


class GateResult(Record):
    """One gate's outcome. Differences are tuned − base, whatever direction is better."""

    metric: str
    """Name of the metric within the suite."""
    kind: GateKind
    """Which rule of the `[[gates]]` table it is."""
    status: GateStatus
    """How it ended."""
    reason: GateReason | None = None
    """Why it did not pass; None for a plain pass."""
    sentence: str
    """The outcome in words, with its numbers."""
    higher_is_better: bool = True
    """Whether a positive delta is an improvement."""
    base: Number = None
    """Base's level over the complete pairs."""
    tuned: Number = None
    """Tuned's level over the complete pairs."""
    delta: Number = None
    """tuned − base."""
    low: Number = None
    """Lower end of the delta's interval; of tuned's level for floors and ceilings, of the share
    for severe drops."""
    high: Number = None
    """Upper end, likewise."""
    confidence: float
    """Two-sided confidence of the interval."""
    method: str
    """The interval and test used."""
    margin: float | str
    """The bound as the suite writes it: 0.02, or "2%" of base."""
    p_value: Number = None
    """One-sided p-value of the gate's null hypothesis; None for observed floors."""
    n: int
    """Complete pairs."""
    drop: Number = None
    """Loss from which a drop counts as severe; None for other gates."""
    share: Number = None
    """Share of cases with a severe drop, likewise."""
    noise: Number = None
    """Mean |difference| of base to itself asked again, where arithmetic is inexact (bfloat16 …)."""
    needed_n: int | None = None
    """Cases that would decide an undecided gate with 80 % power, if this run's spread holds."""
    advisory: bool = False
    """Shown, but without influence on the verdict."""
    right: str | None = None
    """Why a judge's gate counts or does not, in words; None where no judge is asked."""


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
