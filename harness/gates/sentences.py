"""Sentences: one for each gate and one for the run, in plain English with the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tunegate.harness.comparison.corpus_level import LEAST
from tunegate.harness.comparison.estimator import FEW_CLUSTERS
from tunegate.harness.comparison.labelled_level import n_labelled
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.records.manifest import GateKind
from tunegate.harness.records.verdict import (
    GateReason,
    GateResult,
    GateStatus,
    SuiteResult,
    Verdict,
)


def number(value: float | None, *, sign: bool = False) -> str:
    """Return a number with four significant digits; `–` for none."""
    if value is None:
        return "–"
    return f"{value:+.4g}" if sign else f"{value:.4g}"


def counted(count: int, noun: str) -> str:
    """Return `1 case` or `2 cases`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def gate_sentence(result: GateResult, pairs: Pairs, remaining: int = 0) -> str:
    """Return what was measured, against what, and what follows.

    Args:
        result: The gate's outcome.
        pairs: What it rests on.
        remaining: Cases that were not asked.
    """
    if result.n == 0:
        return f"{result.metric}: no case has a score in both arms"
    if remaining and result.kind.is_level and result.status is GateStatus.UNDECIDED:
        cases = counted(remaining, "case")
        return f"{_measured(result)}: {_rule(result)} is open with {cases} not asked"
    return f"{_measured(result)}{_uncorrected(pairs)}: {_conclusion(result, pairs)}"


def _measured(result: GateResult) -> str:
    cases = counted(result.n, "case")
    if result.kind.is_level:
        interval = _interval(result.low, result.high, sign=False)
        return f"{result.metric} of tuned is {number(result.tuned)}{interval} on {cases}"
    if result.kind is GateKind.SEVERE_DROP:
        interval = _interval(result.low, result.high, sign=False)
        count = round((result.share or 0.0) * result.n)
        return (
            f"{result.metric} lost {number(result.drop)} or more on {count} of {cases}, a share of "
            f"{number(result.share)}{interval}"
        )
    interval = _interval(result.low, result.high, sign=True)
    if result.delta == 0:
        return (
            f"{result.metric} stayed at {number(result.tuned)}, a change of 0{interval} on {cases}"
        )
    return (
        f"{result.metric} went from {number(result.base)} to {number(result.tuned)}, "
        f"a change of {number(result.delta, sign=True)}{interval} on {cases}"
    )


def _uncorrected(pairs: Pairs) -> str:
    """Return what the judge alone would have made of it, where labels correct it."""
    if pairs.labels is None or not pairs.n:
        return ""
    alone = (math.fsum(pairs.tuned) - math.fsum(pairs.base)) / pairs.n
    labelled = counted(n_labelled(pairs.labels), "pair")
    return f" (corrected by labels on {labelled}; the judge alone says {number(alone, sign=True)})"


def _interval(low: float | None, high: float | None, *, sign: bool) -> str:
    """Return the interval in brackets; nothing where the data bound neither end."""
    if low is None and high is None:
        return ""
    return f" [{number(low, sign=sign)}, {number(high, sign=sign)}]"


def _conclusion(result: GateResult, pairs: Pairs) -> str:
    rule = _rule(result)
    if result.status is GateStatus.PASS and result.reason is None:
        return f"{rule} is proven" if result.kind is GateKind.GAIN else f"{rule} holds"
    if result.reason in _CONCLUSIONS:
        return _CONCLUSIONS[result.reason].format(rule)
    if result.kind is GateKind.SEVERE_DROP:
        return f"{rule} is neither proven nor refuted; {_more(result, pairs)}"
    if result.kind.is_level:
        return f"{rule} is met but not certified; {_more(result, pairs)}"
    if not _ruled_out(result):
        return f"{rule} is neither proven nor refuted; {_more(result, pairs)}"
    if result.kind is GateKind.GAIN:
        return f"{rule} is ruled out, but the suite names no expected_gain to hold it against"
    return f"{rule} looks broken, but not beyond chance among all metrics of the run"


_CONCLUSIONS: dict[GateReason | None, str] = {
    GateReason.PASS_WITH_LOSS: "{} holds, though a small loss is proven",
    GateReason.BELOW_FLOOR: "{} is broken",
    GateReason.ABOVE_CEILING: "{} is broken",
    GateReason.SEVERE_DROPS: "{} is broken",
    GateReason.REGRESSED: "a regression is proven, and {} is not",
    GateReason.NO_WORTHWHILE_GAIN: "{} is not proven, and a gain worth having is ruled out",
    GateReason.WITHIN_NOISE: "the difference is no larger than what base shows against itself, so "
    "inexact arithmetic alone may explain it, and {} is undecided",
    GateReason.INSENSITIVE: "{} means nothing here: base is not proven better than guessing by "
    "that much, so it may have nothing to lose",
}
"""Reason → what follows for the rule."""


def _ruled_out(result: GateResult) -> bool:
    """Return whether the interval lies on the wrong side of the margin."""
    best = result.high if result.higher_is_better else result.low
    if best is None or isinstance(result.margin, str):
        return False
    margin = result.margin if result.kind is GateKind.GAIN else -result.margin
    return (best if result.higher_is_better else -best) < margin


def _rule(result: GateResult) -> str:
    margin = result.margin if isinstance(result.margin, str) else number(result.margin)
    if result.kind is GateKind.FLOOR:
        return f"the floor of {margin}"
    if result.kind is GateKind.CEILING:
        return f"the ceiling of {margin}"
    if result.kind is GateKind.GAIN:
        return f"a gain of more than {margin}"
    if result.kind is GateKind.SEVERE_DROP:
        return f"the limit of {margin} on severe drops"
    return f"the tolerance of {margin}"


def _more(result: GateResult, pairs: Pairs) -> str:
    """Return what would decide an undecided gate."""
    clusters = pairs.n_clusters
    if result.n < 2:
        return "one case is too little to judge by"
    if pairs.labels is not None:
        return "more labels would narrow it"
    if clusters is not None and clusters < FEW_CLUSTERS:
        there = counted(clusters, "cluster")
        return f"the cases come in {there}, and it takes {FEW_CLUSTERS} at least"
    if result.low is None and result.high is None:
        return "all differences are equal, which says nothing about the next one"
    if result.needed_n is None:
        return "at the difference seen here, more cases of the kind would not decide it"
    more = result.needed_n - result.n
    if more <= 0:
        needed = counted(result.needed_n, "case")
        return f"{needed} would decide it in 4 of 5 runs, and this was the fifth"
    return f"about {more} more ({result.needed_n} in all) would decide it in 4 of 5 runs"


def too_many_unscored(
    metric: str, arm: str, count: int, asked: int, allowed: float, reason: str
) -> str:
    """Return the sentence of a gate whose metric has too few scores."""
    verb = "is" if count == 1 else "are"
    return (
        f"{metric}: {count} of {counted(asked, 'case')} of {arm} {verb} unscored, more than the "
        f"{100 * allowed:g} % that the suite allows ({reason})"
    )


def few_for_corpus(metric: str, cases: int) -> str:
    """Return why gates on a corpus value have no say."""
    return (
        f"{metric}: one value over all cases gates from {LEAST} of them on; with "
        f'{counted(cases, "case")} its gates are advisory: add cases, or set aggregate = "mean"'
    )


def judged_once(metrics: Sequence[str]) -> str:
    """Return why a suite with such metrics is not looked at while it runs."""
    names = " and ".join(metrics)
    return f"{names}: one value over all cases is judged once, so that the suite cannot end early"


def not_without_them(suite: str, count: int) -> str:
    """Return the note on gates that hold on the scored cases alone."""
    others = "unscored one" if count == 1 else f"{count} unscored ones"
    return f"{suite}: the gates hold on the scored cases, but not if the {others} went wrong"


_SEVERITY: dict[GateReason | None, int] = {
    GateReason.UNSCORED: 0,
    GateReason.CANARY: 0,
    GateReason.BELOW_FLOOR: 0,
    GateReason.ABOVE_CEILING: 0,
    GateReason.REGRESSED: 1,
    GateReason.SEVERE_DROPS: 1,
    GateReason.NO_WORTHWHILE_GAIN: 2,
    GateReason.INSENSITIVE: 3,
    GateReason.WITHIN_NOISE: 3,
    GateReason.UNDERPOWERED: 4,
    GateReason.FILTERED: 5,
}
_DECISIVE: dict[Verdict, tuple[GateStatus, ...]] = {
    Verdict.ERROR: (GateStatus.ERROR,),
    Verdict.BLOCK: (GateStatus.FAIL,),
    Verdict.HOLD: (GateStatus.FAIL,),
    Verdict.UNDECIDED: (GateStatus.UNDECIDED, GateStatus.FAIL),
}
"""Verdict → statuses of the gates that can have led to it."""


def run_sentence(verdict: Verdict, suites: tuple[SuiteResult, ...]) -> str:
    """Return the sentence that decided the run, naming gate and numbers."""
    if verdict is Verdict.SHIP:
        return _ship(suites)
    decisive = [s for s in suites if s.verdict is verdict and s.gates]
    for suite in decisive:
        # A cap speaks first: every gate of the suite may hold.
        if suite.notes and all(_holds(gate) for gate in suite.gates):
            return suite.notes[0]
    candidates = [
        (suite, gate)
        for suite in decisive
        for gate in suite.gates
        if not _holds(gate) and gate.status in _DECISIVE[verdict]
    ]
    if not candidates:
        notes = [note for suite in decisive for note in suite.notes]
        return notes[0] if notes else "no gate was judged"
    suite, gate = min(candidates, key=lambda pair: _rank(verdict, pair[1]))
    others = sum(not _holds(g) for s in suites for g in s.gates) - 1
    tail = {0: "", 1: " (1 other gate does not hold either)"}.get(
        others, f" ({others} other gates do not hold either)"
    )
    return f"{suite.name}: {gate.sentence}{tail}"


def _holds(gate: GateResult) -> bool:
    return gate.advisory or gate.status is GateStatus.PASS


def _rank(verdict: Verdict, gate: GateResult) -> tuple[bool, int]:
    """Order gates by how much they explain the verdict, the best first."""
    reason = gate.reason or GateReason.FILTERED
    held_back = verdict is not Verdict.UNDECIDED or gate.status is GateStatus.UNDECIDED
    return (not held_back, _SEVERITY.get(reason, len(_SEVERITY)))


def _ship(suites: tuple[SuiteResult, ...]) -> str:
    gates = [(s, g) for s in suites for g in s.gates if not g.advisory]
    holding = [(s, g) for s, g in gates if g.status is GateStatus.PASS]
    goals = [(s, g) for s, g in holding if g.kind is GateKind.GAIN]
    if not goals and all(g.kind.is_level for _, g in gates):
        return f"good enough: {_all(len(gates))}; no gate compares tuned with base"
    if not goals:
        return f"no worse: {_all(len(gates))}; no gate asks for a gain"
    suite, goal = goals[0]
    others, missed = len(holding) - 1, len(gates) - len(holding)
    tail = {0: "", 1: "; 1 other gate holds too"}.get(others, f"; {others} other gates hold too")
    if missed:
        verb = "is" if missed == 1 else "are"
        tail += f", and {counted(missed, 'further goal')} {verb} not needed"
    return f"{suite.name}: {goal.sentence}{tail}"


def _all(count: int) -> str:
    return {1: "the gate holds", 2: "both gates hold"}.get(count, f"all {count} gates hold")
