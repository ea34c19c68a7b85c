"""Formatting of numbers and wording of gate kinds and verdicts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tunegate.harness.contracts.quantity import NONE, QuantityFormat
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.gates.contract.sentences import gate_words
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.parity import ParityStatus
from tunegate.harness.records.verdict import SuiteResult, Verdict

PLAIN = QuantityFormat()


def format_level(value: float | None, how: QuantityFormat = PLAIN) -> str:
    """Return a level such as a mean score: in percent if it is a rate, else as a plain number."""
    if value is None:
        return NONE
    if how.rate:
        return how.level(value)
    if value == 0 or 1e-3 <= abs(value) < 10:
        text = f"{value:.3f}"
    elif 10 <= abs(value) < 1e6:
        text = f"{value:.1f}" if abs(value) < 1000 else f"{value:,.0f}"
    else:
        text = f"{value:.2g}"
    return text.replace("-", "−")


def format_difference(value: float | None, how: QuantityFormat = PLAIN) -> str:
    """Return a difference: in points for rates, else as a signed level."""
    if how.rate:
        return how.difference(value)
    text = format_level(value)
    return text if value is None or value <= 0 or text == "0.000" else f"+{text}"


def format_percent(value: float | None) -> str:
    """Return a probability or share in percent."""
    return NONE if value is None else f"{100 * value:.1f} %"


def format_seconds(value: float | None) -> str:
    """Return a duration in milliseconds or seconds."""
    if value is None:
        return NONE
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.2f} s"


def format_dollars(value: float | None) -> str:
    """Return a price; "unknown" without one."""
    return "unknown" if value is None else f"${value:.4f}"


def format_interval(low: float | None, high: float | None, how: QuantityFormat = PLAIN) -> str:
    """Return the interval of a difference, such as `−8.2 to −6.0 points`."""
    if low is None and high is None:
        return NONE
    ends = [how.bare(v, sign=True) if how.rate else format_difference(v) for v in (low, high)]
    return f"{ends[0]} to {ends[1]}{' points' if how.rate else ''}"


def gate_rule(gate: GateResult) -> str:
    """Return what the gate asks for, in words."""
    return gate_words(gate, "label")


def format_gate_value(gate: GateResult, value: float | None) -> str:
    """Return a value on a gate's axis: a difference with its sign, a level without."""
    kind = gate_kind(gate.kind)
    shown = format_difference if kind.tests_difference else format_level
    return shown(value, kind.quantity_format(gate))


def format_gate_interval(gate: GateResult) -> str:
    """Return a gate's interval on its own axis; a dash without one."""
    kind = gate_kind(gate.kind)
    how = kind.quantity_format(gate)
    if kind.tests_difference:
        return format_interval(gate.low, gate.high, how)
    if gate.low is None and gate.high is None:
        return NONE
    if how.rate:
        return f"{how.bare(gate.low)} to {how.level(gate.high)}"
    return f"{format_level(gate.low)} to {format_level(gate.high)}"


@dataclass(frozen=True, slots=True)
class OutcomeStyle:
    """How an outcome is shown: never by color alone."""

    word: str
    sign: str
    tone: str
    """`good`, `bad`, `warn` or `calm`: a class of style.css."""
    meaning: str = ""
    """When this outcome is reached."""


FACES = {
    Verdict.NOT_COMPARABLE: OutcomeStyle(
        "NOT COMPARABLE",
        "≠",
        "bad",
        "The arms differ in more than the weights (prompts, template, tokenizer or data), or the "
        "adapter is not active.",
    ),
    Verdict.ERROR: OutcomeStyle(
        "ERROR", "!", "bad", "Too much is unscored, or a backend, judge or disk failed."
    ),
    Verdict.BLOCK: OutcomeStyle(
        "BLOCK", "✕", "bad", "A bound is broken, or a regression is proven."
    ),
    Verdict.SHIP: OutcomeStyle(
        "SHIP",
        "✓",
        "good",
        "All floors hold, every guardrail is proven no worse than its tolerance, and the goal "
        "rule holds.",
    ),
    Verdict.HOLD: OutcomeStyle(
        "HOLD",
        "=",
        "calm",
        "Nothing broke, but the gain is proven smaller than the expected gain that the suite "
        "names.",
    ),
    Verdict.UNDECIDED: OutcomeStyle(
        "UNDECIDED", "?", "warn", "Everything else: too little evidence either way."
    ),
}
"""The verdicts in the order in which one suite is decided: the first that applies."""

ADVISORY_FACE = OutcomeStyle(
    "ADVISORY", "○", "calm", "All gates of the suite are advisory: shown, not counted."
)
"""For a suite that decides nothing."""

STATUSES = {
    GateStatus.PASS: OutcomeStyle("pass", "✓", "good"),
    GateStatus.FAIL: OutcomeStyle("fail", "✕", "bad"),
    GateStatus.UNDECIDED: OutcomeStyle("undecided", "?", "warn"),
    GateStatus.ERROR: OutcomeStyle("error", "!", "bad"),
}

PARITIES = {
    ParityStatus.EQUIVALENT: OutcomeStyle("equivalent", "✓", "good"),
    ParityStatus.NOT_EQUIVALENT: OutcomeStyle("not equivalent", "✕", "bad"),
    ParityStatus.UNDECIDED: OutcomeStyle("undecided", "?", "warn"),
    ParityStatus.ERROR: OutcomeStyle("error", "!", "bad"),
}

REASONS = {
    GateReason.BELOW_FLOOR: "below the floor",
    GateReason.ABOVE_CEILING: "above the ceiling",
    GateReason.REGRESSED: "a regression is proven",
    GateReason.SEVERE_DROPS: "too many severe drops",
    GateReason.BOUND_BROKEN: "the bound is broken",
    GateReason.NO_WORTHWHILE_GAIN: "no worthwhile gain",
    GateReason.PROMPT_SUFFICES: "a prompt alone does it",
    GateReason.UNDERPOWERED: "too few cases",
    GateReason.INSENSITIVE: "base may have nothing to lose, so a loss could not show",
    GateReason.WITHIN_NOISE: "inexact arithmetic alone may explain it",
    GateReason.NOT_COMPUTABLE: "not computable from these scores",
    GateReason.LOSS_MAY_BE_STYLE: "a loss is proven, which may be one of wording",
    GateReason.LOSS_NOT_BOUNDED: "a loss is proven, and may exceed the tolerance",
    GateReason.UNSCORED: "too much unscored",
    GateReason.NOT_VOTED: "votes are missing",
    GateReason.CANARY: "the judge calls known bad answers good",
    GateReason.FILTERED: "the run was filtered",
    GateReason.PASS_WITH_LOSS: "passes, with a proven loss that the gate allows",
}

GOAL_RULES = {
    "primary": "the primary goal must be met",
    "all": "every goal must be met",
    "any": "any one goal must be met, corrected by Holm's procedure",
}


def face_of(suite: SuiteResult) -> OutcomeStyle:
    """Return how a suite's verdict is shown; `ADVISORY` where none of its gates counts."""
    return ADVISORY_FACE if suite.gates and not suite.counts else FACES[suite.verdict]


def skip_reason(suites: Iterable[SuiteResult]) -> str:
    """Return why some cases of the suites were not run."""
    if any(g.status is GateStatus.UNDECIDED and not g.advisory for s in suites for g in s.gates):
        return "a gate had decided the verdict, so the undecided gates were left open"
    return "every gate was decided"


def goal_rule(suite: SuiteResult) -> str:
    """Return in words what a suite requires beyond no regression."""
    if not suite.has_goal:
        return "no goal: a regression check, where SHIP means “no worse”"
    return GOAL_RULES.get(suite.goal_rule, suite.goal_rule)


def metric_direction(higher_is_better: bool) -> str:
    """Return which direction of a metric is better, in words."""
    return "higher is better" if higher_is_better else "lower is better"
