"""The words and signs for verdicts, statuses and reasons, the same in page, summary and JUnit."""

from __future__ import annotations

from dataclasses import dataclass

from harness.verdict.record import GateReason, GateStatus, SuiteResult, Verdict
from harness.verdict.status import ParityStatus


@dataclass(frozen=True, slots=True)
class Face:
    """How an outcome is shown: never by colour alone."""

    word: str
    sign: str
    tone: str
    """`good`, `bad`, `warn` or `calm`: a class of style.css."""
    meaning: str = ""
    """When this outcome is reached."""


FACES = {
    Verdict.NOT_COMPARABLE: Face(
        "NOT COMPARABLE",
        "≠",
        "bad",
        "The arms differ in more than the weights (prompts, template, tokenizer or data), or the "
        "adapter is not active.",
    ),
    Verdict.ERROR: Face(
        "ERROR", "!", "bad", "Too much is unscored, or a backend, judge or disk failed."
    ),
    Verdict.BLOCK: Face("BLOCK", "✕", "bad", "A floor is broken, or a regression is proven."),
    Verdict.SHIP: Face(
        "SHIP",
        "✓",
        "good",
        "All floors hold, every guardrail is proven no worse than its tolerance, and the goal "
        "rule holds.",
    ),
    Verdict.HOLD: Face(
        "HOLD",
        "=",
        "calm",
        "Nothing broke, but the gain is proven smaller than the expected gain that the suite "
        "names.",
    ),
    Verdict.UNDECIDED: Face(
        "UNDECIDED", "?", "warn", "Everything else: too little evidence either way."
    ),
}
"""The verdicts in the order in which one suite is decided: the first that applies."""

NO_SAY = Face("ADVISORY", "○", "calm", "None of the suite's gates has a say: shown, not counted.")
"""In place of the verdict of a suite that decides nothing."""

STATUSES = {
    GateStatus.PASS: Face("pass", "✓", "good"),
    GateStatus.FAIL: Face("fail", "✕", "bad"),
    GateStatus.UNDECIDED: Face("undecided", "?", "warn"),
    GateStatus.ERROR: Face("error", "!", "bad"),
}

PARITIES = {
    ParityStatus.EQUIVALENT: Face("equivalent", "✓", "good"),
    ParityStatus.NOT_EQUIVALENT: Face("not equivalent", "✕", "bad"),
    ParityStatus.UNDECIDED: Face("undecided", "?", "warn"),
    ParityStatus.ERROR: Face("error", "!", "bad"),
}

REASONS = {
    GateReason.BELOW_FLOOR: "below the floor",
    GateReason.ABOVE_CEILING: "above the ceiling",
    GateReason.REGRESSED: "a regression is proven",
    GateReason.SEVERE_DROPS: "too many severe drops",
    GateReason.NO_WORTHWHILE_GAIN: "no worthwhile gain",
    GateReason.UNDERPOWERED: "too few cases",
    GateReason.INSENSITIVE: "base is not proven above chance, so a loss could not show",
    GateReason.WITHIN_NOISE: "inexact arithmetic alone may explain it",
    GateReason.UNSCORED: "too much unscored",
    GateReason.CANARY: "the judge calls known bad answers good",
    GateReason.FILTERED: "the run was filtered",
    GateReason.PASS_WITH_LOSS: "passes, with a proven loss inside the tolerance",
}

GOAL_RULES = {
    "primary": "the primary goal must be met",
    "all": "every goal must be met",
    "any": "any one goal must be met, corrected by Holm's procedure",
}


def face_of(suite: SuiteResult) -> Face:
    """Return how a suite's verdict is shown, which is no verdict where no gate of it counts."""
    return NO_SAY if suite.gates and not suite.counts else FACES[suite.verdict]


def goal_rule(suite: SuiteResult) -> str:
    """Return in words what a suite asks for beyond not breaking anything."""
    if not suite.has_goal:
        return "no goal: a regression check, where SHIP means “no worse”"
    return GOAL_RULES.get(suite.goal_rule, suite.goal_rule)


def direction(higher_is_better: bool) -> str:
    """Return which direction of a metric is better, in words."""
    return "higher is better" if higher_is_better else "lower is better"
