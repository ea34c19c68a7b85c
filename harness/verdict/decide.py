"""The verdict: a pure function of the manifest, the cases and the scores of a run.

No clock, no random numbers, no model: the same records give the same bytes each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from harness.manifest import Gate, GateKind, Manifest, SuiteRecord
from harness.records import Case, ScoreRow
from harness.verdict.compare import Pairs
from harness.verdict.gates import decide_gate, regressions
from harness.verdict.record import (
    GateReason,
    GateResult,
    GateStatus,
    SuiteResult,
    Verdict,
    VerdictRecord,
)
from harness.verdict.scores import Table
from harness.verdict.words import run_sentence

WARN_UNSCORED = 0.02
"""Share of unscored cases from which a reader is warned."""
SAME_ANSWERS = 0.99
"""Share of equal scores from which a live adapter's lack of effect is pointed out."""


def decide(
    manifest: Manifest, cases: Mapping[str, Sequence[Case]], scores: Iterable[ScoreRow]
) -> VerdictRecord:
    """Decide a run.

    Args:
        manifest: The plan and the suites' gates.
        cases: Suite name → its cases, in the order of the suite.
        scores: Every score of the run.
    """
    tables = _tables(manifest, cases, scores)
    observed = _judge(manifest, tables, imputed=False)
    worst = _judge(manifest, tables, imputed=True)
    suites = tuple(
        _suite_result(manifest, table, observed[table.suite.name], worst[table.suite.name])
        for table in tables
    )
    gated = [s.verdict for s in suites if s.gates]
    verdict = Verdict.worst(gated) if gated else Verdict.UNDECIDED
    return _record(manifest, verdict, run_sentence(verdict, suites), suites)


def not_comparable(manifest: Manifest, cause: str) -> VerdictRecord:
    """Return the verdict of a run that was refused before any scoring."""
    return _record(manifest, Verdict.NOT_COMPARABLE, cause, ())


def failed(manifest: Manifest, cause: str) -> VerdictRecord:
    """Return the verdict of a run that broke off and can be resumed."""
    return _record(manifest, Verdict.ERROR, cause, ())


def _record(
    manifest: Manifest, verdict: Verdict, sentence: str, suites: tuple[SuiteResult, ...]
) -> VerdictRecord:
    return VerdictRecord(
        verdict=verdict,
        sentence=sentence,
        run_id=manifest.run_id,
        arms=manifest.arms,
        suites=suites,
        comparability=manifest.comparability,
        liveness=manifest.liveness,
        attempts=manifest.attempts,
        seed=manifest.seed,
        versions=manifest.versions,
    )


def _tables(
    manifest: Manifest, cases: Mapping[str, Sequence[Case]], scores: Iterable[ScoreRow]
) -> list[Table]:
    by_suite: dict[str, dict[tuple[str, str, str], ScoreRow]] = {s.name: {} for s in manifest.suites}
    for row in scores:
        by_suite[row.suite][row.metric, row.case, row.arm] = row
    return [
        Table(suite, {c.id: c for c in cases[suite.name]}, by_suite[suite.name])
        for suite in manifest.suites
    ]


def _judge(
    manifest: Manifest, tables: Sequence[Table], *, imputed: bool
) -> dict[str, tuple[GateResult, ...]]:
    """Decide every gate of the run, on complete pairs or with unscored cases imputed."""
    family: dict[tuple[str, str], Pairs] = {}
    for table in tables:
        gated = {g.metric for g in table.suite.gates}
        for metric in table.suite.metrics:
            if metric.name in gated:
                pairs = table.imputed(metric) if imputed else table.pairs(metric)
                family[table.suite.name, metric.name] = pairs
    worse = regressions({k: p for k, p in family.items() if _compares(manifest, k)})
    return {
        table.suite.name: tuple(
            decide_gate(
                gate,
                family[table.suite.name, gate.metric],
                regressed=(table.suite.name, gate.metric) in worse,
            )
            for gate in table.suite.gates
        )
        for table in tables
    }


def _compares(manifest: Manifest, key: tuple[str, str]) -> bool:
    """Return whether some gate of the metric compares the arms, so that it can regress."""
    suite = next(s for s in manifest.suites if s.name == key[0])
    return any(g.metric == key[1] and not g.kind.is_level for g in suite.gates)


def _suite_result(
    manifest: Manifest,
    table: Table,
    gates: tuple[GateResult, ...],
    worst_gates: tuple[GateResult, ...],
) -> SuiteResult:
    suite, arms = table.suite, ("base", "tuned")
    gated = [m for m in suite.metrics if m.name in {g.metric for g in suite.gates}]
    missing = {
        arm: len({c for m in gated for c in table.unscored(m.name, arm)}) for arm in arms
    }
    incomplete = {c for m in gated for arm in arms for c in table.unscored(m.name, arm)}
    asked = {c for m in gated for c in table.asked(m.name)}
    gates = tuple(_over_budget(gate, table) or gate for gate in gates)
    verdict = _suite_verdict(suite, gates)
    worst = _suite_verdict(suite, worst_gates) if incomplete else None
    notes = _notes(manifest, table, gates, missing)
    if verdict is Verdict.SHIP and worst not in (None, Verdict.SHIP):
        verdict = Verdict.UNDECIDED
        notes = (
            f"{suite.name}: the gates hold on the scored cases, but not if the {len(incomplete)} "
            "unscored ones went against tuned",
            *notes,
        )
    if manifest.filtered and verdict in (Verdict.SHIP, Verdict.HOLD):
        verdict = Verdict.UNDECIDED
        notes = (f"{suite.name}: judged in part only: {'; '.join(manifest.filtered)}", *notes)
    return SuiteResult(
        name=suite.name,
        hash=suite.hash,
        verdict=verdict,
        goal_rule=suite.goal_rule,
        has_goal=any(g.kind is GateKind.GAIN for g in suite.gates),
        n_planned=suite.n_cases,
        n_scored=len(asked) - len(incomplete),
        n_unscored=missing,
        unscored_reasons=table.reasons([m.name for m in gated], arms),
        worst_case=worst,
        notes=notes,
        gates=gates,
    )


def _over_budget(gate: GateResult, table: Table) -> GateResult | None:
    """Return the gate as an error if an arm has more unscored cases than the suite allows."""
    asked = len(table.asked(gate.metric))
    counts = {arm: len(table.unscored(gate.metric, arm)) for arm in ("base", "tuned")}
    arm, count = max(counts.items(), key=lambda item: item[1])
    if asked and count <= table.suite.max_unscored * asked:
        return None
    reason = next(iter(table.reasons([gate.metric], [arm])), "nothing was asked")
    return gate.model_copy(
        update={
            "status": GateStatus.ERROR,
            "reason": GateReason.UNSCORED,
            "sentence": f"{gate.metric}: {count} of {asked} cases of {arm} are unscored, more than "
            f"the {table.suite.max_unscored:.0%} the suite allows ({reason})",
        }
    )


def _suite_verdict(suite: SuiteRecord, gates: Sequence[GateResult]) -> Verdict:
    """Apply the decision table: ERROR, then BLOCK, SHIP, HOLD, else UNDECIDED."""
    counted = [g for g in gates if not g.advisory]
    if any(g.status is GateStatus.ERROR for g in counted):
        return Verdict.ERROR
    blocking = (GateReason.BELOW_FLOOR, GateReason.ABOVE_CEILING, GateReason.REGRESSED)
    if any(g.status is GateStatus.FAIL and g.reason in blocking for g in counted):
        return Verdict.BLOCK
    goals = _needed_goals(suite, counted)
    guards = [g for g in counted if g.kind is not GateKind.GAIN]
    guards_hold = all(g.status is GateStatus.PASS for g in guards)
    if not counted or not guards_hold:
        return Verdict.UNDECIDED
    if _goal_rule_holds(suite, goals):
        return Verdict.SHIP
    still_open = [g for g in goals if g.status is not GateStatus.PASS]
    if all(g.reason is GateReason.NO_WORTHWHILE_GAIN for g in still_open):
        return Verdict.HOLD
    return Verdict.UNDECIDED


def _needed_goals(suite: SuiteRecord, gates: Sequence[GateResult]) -> list[GateResult]:
    goals = [g for g in gates if g.kind is GateKind.GAIN]
    return goals[:1] if suite.goal_rule == "primary" else goals


def _goal_rule_holds(suite: SuiteRecord, goals: Sequence[GateResult]) -> bool:
    if not goals:
        return True
    if suite.goal_rule != "any":
        return all(g.status is GateStatus.PASS for g in goals)
    from harness.stats.multiplicity import holm

    adjusted = holm([1.0 if g.p_value is None else g.p_value for g in goals])
    return any(
        p <= (1 - g.confidence) / 2 and g.status is GateStatus.PASS
        for p, g in zip(adjusted, goals, strict=True)
    )


def _notes(
    manifest: Manifest,
    table: Table,
    gates: Sequence[GateResult],
    missing: Mapping[str, int],
) -> tuple[str, ...]:
    notes = []
    planned = max(1, table.suite.n_cases)
    for arm, count in missing.items():
        if count > WARN_UNSCORED * planned:
            notes.append(f"{table.suite.name}: {count} of {planned} cases of {arm} are unscored")
    if not any(g.kind is GateKind.GAIN for g in gates):
        notes.append(f"{table.suite.name} asks for no gain: SHIP means no worse")
    notes += [note for gate in _continuous(table) if (note := _skew(table, gate))]
    return tuple(notes)


def _continuous(table: Table) -> list[Gate]:
    seen: dict[str, Gate] = {}
    for gate in table.suite.gates:
        if not gate.kind.is_level:
            seen.setdefault(gate.metric, gate)
    return list(seen.values())


def _skew(table: Table, gate: Gate) -> str | None:
    from harness.stats.paired import skewness_warning

    metric = next(m for m in table.suite.metrics if m.name == gate.metric)
    pairs = table.pairs(metric)
    if pairs.binary or pairs.too_few or not skewness_warning(pairs.differences):
        return None
    return (
        f"{table.suite.name}: the differences of {gate.metric} are strongly skewed; "
        "its interval may be too optimistic on one side"
    )
