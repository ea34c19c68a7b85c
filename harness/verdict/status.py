"""How things end: a run, a gate, the comparison of what ships; and why."""

from __future__ import annotations

from enum import StrEnum


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


class ParityStatus(StrEnum):
    """Whether what ships behaves as the fine-tune that was judged."""

    EQUIVALENT = "equivalent"
    """Every difference is proven to lie within its margin."""
    NOT_EQUIVALENT = "not_equivalent"
    """A difference is proven to lie beyond its margin."""
    UNDECIDED = "undecided"
    """Too little evidence either way."""
    ERROR = "error"
    """Too much of the shipped arm is unscored."""
