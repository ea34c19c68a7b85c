"""Verdicts in words: one sentence a gate, one sentence a run, in plain English with the numbers."""

from __future__ import annotations

from harness.manifest import GateKind
from harness.verdict.compare import FEW_CLUSTERS, Pairs
from harness.verdict.record import GateReason, GateResult, GateStatus, SuiteResult, Verdict


def number(value: float | None, *, sign: bool = False) -> str:
    """Return a number with four significant digits; `–` for none."""
    if value is None:
        return "–"
    return f"{value:+.4g}" if sign else f"{value:.4g}"


def gate_sentence(result: GateResult, pairs: Pairs) -> str:
    """Return what was measured, against what, and what follows."""
    if result.n == 0:
        return f"{result.metric}: no case has a score in both arms"
    return f"{_measured(result)}: {_conclusion(result, pairs)}"


def _measured(result: GateResult) -> str:
    interval = f"[{number(result.low, sign=True)}, {number(result.high, sign=True)}]"
    if result.kind.is_level:
        interval = f"[{number(result.low)}, {number(result.high)}]"
        return f"{result.metric} of tuned is {number(result.tuned)} {interval}, n = {result.n}"
    return (
        f"{result.metric} went from {number(result.base)} to {number(result.tuned)}, "
        f"{number(result.delta, sign=True)} {interval}, n = {result.n}"
    )


def _conclusion(result: GateResult, pairs: Pairs) -> str:
    rule = _rule(result)
    if result.status is GateStatus.PASS:
        loss = result.reason is GateReason.PASS_WITH_LOSS
        return f"{rule} holds" + (", though a small loss is proven" if loss else "")
    if result.reason in (GateReason.BELOW_FLOOR, GateReason.ABOVE_CEILING):
        return f"{rule} is broken"
    if result.reason is GateReason.REGRESSED:
        return f"a regression is proven, and {rule} does not hold"
    if result.reason is GateReason.NO_WORTHWHILE_GAIN:
        return f"{rule} is not reached, and the expected gain is ruled out"
    if result.reason is GateReason.INSENSITIVE:
        return f"{rule} proves nothing: base is not above chance, so it has nothing to lose"
    return f"{rule} is neither proven nor refuted; {_more(result, pairs)}"


def _rule(result: GateResult) -> str:
    margin = result.margin if isinstance(result.margin, str) else number(result.margin)
    if result.kind is GateKind.FLOOR:
        return f"the floor {margin}"
    if result.kind is GateKind.CEILING:
        return f"the ceiling {margin}"
    if result.kind is GateKind.GAIN:
        return f"the gain above {margin}"
    return f"the tolerance of {margin}"


def _more(result: GateResult, pairs: Pairs) -> str:
    clusters = pairs.n_clusters
    if clusters is not None and clusters < FEW_CLUSTERS:
        return f"the cases come in {clusters} clusters, and {FEW_CLUSTERS} are needed at least"
    if result.needed_n is None:
        return "the observed difference is on the wrong side, so more cases alone will not help"
    more = result.needed_n - result.n
    if more <= 0:
        return f"about {result.needed_n} cases decide in 4 of 5 runs; this was the fifth"
    return f"about {more} more cases ({result.needed_n} in all) would decide it in 4 of 5 runs"


_SEVERITY: dict[GateReason | None, int] = {
    GateReason.UNSCORED: 0,
    GateReason.BELOW_FLOOR: 0,
    GateReason.ABOVE_CEILING: 0,
    GateReason.REGRESSED: 1,
    GateReason.NO_WORTHWHILE_GAIN: 2,
    GateReason.INSENSITIVE: 3,
    GateReason.UNDERPOWERED: 4,
    GateReason.FILTERED: 5,
    None: 6,
}


def run_sentence(verdict: Verdict, suites: tuple[SuiteResult, ...]) -> str:
    """Return the sentence that decided the run, naming gate and numbers."""
    decisive = [s for s in suites if s.verdict is verdict]
    if verdict is Verdict.SHIP:
        return _ship(suites)
    open_gates = [
        (suite, gate)
        for suite in decisive
        for gate in suite.gates
        if gate.status is not GateStatus.PASS and not gate.advisory
    ]
    if not open_gates:
        notes = [note for suite in decisive for note in suite.notes]
        return notes[0] if notes else "no gate was judged"
    suite, gate = min(open_gates, key=lambda pair: _SEVERITY[pair[1].reason])
    more = len(open_gates) - 1
    tail = f" ({more} other gate{'s' * (more > 1)} did not pass either)" if more else ""
    return f"{suite.name}: {gate.sentence}{tail}"


def _ship(suites: tuple[SuiteResult, ...]) -> str:
    gates = [(s, g) for s in suites for g in s.gates]
    goals = [(s, g) for s, g in gates if g.kind is GateKind.GAIN and g.status is GateStatus.PASS]
    if not goals:
        return f"no worse: all {len(gates)} gates hold; no gate asks for a gain"
    suite, goal = goals[0]
    others = len(gates) - 1
    tail = {0: "", 1: "; the other gate holds too"}.get(others, f"; the other {others} gates hold too")
    return f"{suite.name}: {goal.sentence}{tail}"
