"""The verdict: a pure function of the manifest, the cases and the scores of a run.

No clock, no random numbers, no model: the same records give the same bytes each time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.contracts.further_arm import ARMS
from tunegate.harness.contracts.model import Arm, Prompt
from tunegate.harness.decision.answer_facts.answer_counts import AnswerCounts
from tunegate.harness.decision.gating.attempts import ledger_note
from tunegate.harness.decision.gating.contamination_strata import compute_strata, touched_note
from tunegate.harness.decision.gating.decide_all import ImputationCase, decide_gates
from tunegate.harness.decision.gating.every_value import mark_worst, worst_of_rules
from tunegate.harness.decision.gating.slice_losses import slice_losses
from tunegate.harness.decision.score_table import ScoreTable, tables_of
from tunegate.harness.decision.verdict.decision_table import (
    goals_lost_to_holm,
    held_by_prompt,
    suite_verdict,
)
from tunegate.harness.decision.verdict.evidence_gaps import evidence_gaps, findings
from tunegate.harness.decision.verdict.judge_kinship import kinship_notes
from tunegate.harness.decision.verdict.likely_causes import find_causes, has_one_form
from tunegate.harness.decision.verdict.notes import suite_notes, suite_remarks
from tunegate.harness.decision.verdict.run_sentence import run_sentence
from tunegate.harness.decision.verdict.timing_notes import recorded_times_notes
from tunegate.harness.decision.verdict.unscored import (
    boundless_metrics,
    error_if_over_budget,
    open_if_boundless,
    open_if_unscored,
    tables_of_metrics,
    unscored_reasons,
    unscored_sensitivity_note,
)
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.labels import Label
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import SuiteResult, Verdict, VerdictRecord


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """A run with all its scores, for the comparison of a further arm."""

    manifest: Manifest
    cases: Mapping[str, Sequence[Case]]
    """Suite name → its cases."""
    scores: Sequence[ScoreRow]
    cells: Iterable[StoredAnswer] = ()
    """The answers, grouped by case; read more than once."""
    answers: Mapping[str, AnswerCounts] = field(default_factory=dict)
    """Suite → what a verdict takes from their texts."""
    looks: Mapping[str, InterimLook] = field(default_factory=dict)
    """Suite → the interim look at which base and tuned are judged."""
    arms: Mapping[str, Arm] = field(default_factory=dict)
    """The opened arms; empty for a stored run."""
    prompts: Mapping[tuple[str, str, str], Prompt] = field(default_factory=dict)
    """(suite, case, arm) → rendered prompt; empty for a stored run."""


def decide_run(
    manifest: Manifest,
    cases: Mapping[str, Sequence[Case]],
    scores: Iterable[ScoreRow],
    *,
    looks: Mapping[str, InterimLook] = MappingProxyType({}),
    answers: Mapping[str, AnswerCounts] = MappingProxyType({}),
    labels: Iterable[Label] = (),
) -> VerdictRecord:
    """Decide a run.

    Args:
        manifest: The plan and the suites' gates.
        cases: Suite name → its cases, in the order of the suite.
        scores: Every score of the run.
        looks: Suite → the look at which it ended, if it has looks.
        answers: Suite → what the texts of its answers show, from `read_answers`.
        labels: People's labels of a random sample of the run's answers.
    """
    rows = list(scores)
    labels_of: dict[str, dict[tuple[str, str, str], float]] = defaultdict(dict)
    for label in labels:
        labels_of[label.suite or ""][label.metric or "", label.id, label.arm or ""] = label.label
    tables = [
        replace(
            table,
            answers=answers.get(table.suite.name, AnswerCounts()),
            labels=labels_of[table.suite.name],
        )
        for table in tables_of(manifest, cases, rows, looks)
    ]
    suites = suite_results(manifest, tables)
    gated = [s.verdict for s in suites if s.counts]
    verdict = Verdict.worst(gated) if gated else Verdict.UNDECIDED
    broken = [
        f"{table.suite.name}: {why}"
        for table, suite in zip(tables, suites, strict=True)
        if verdict is Verdict.UNDECIDED and suite.counts
        for why in _broken(table)
    ]
    sentence = broken[0] if broken else run_sentence(verdict, suites)
    record = _record(manifest, verdict, sentence, suites)
    apart = compute_strata(manifest, cases, rows, looks)
    gates = {suite.name: suite.gates for suite in suites}
    losses = slice_losses(tables, gates) if verdict is Verdict.SHIP else None
    return record.model_copy(update={"leakage": apart, "slices": losses})


def suite_results(manifest: Manifest, tables: Sequence[ScoreTable]) -> tuple[SuiteResult, ...]:
    """Return how suites end: all of a run's suites, or one while the run goes on.

    Nothing is claimed that missing scores could undo: SHIP must hold in the worst case for tuned,
    and each failed gate in the best. A metric without a range has no worst case: if one of its
    scores is missing, none of its gates holds.
    """
    observed = _decide_gates(manifest, tables)
    complete = not any(
        table.of_gate(gate).incomplete(gate.metric, arm)
        for table in tables
        for gate in table.suite.gates
        for arm in ARMS
    )
    worst, best = (
        observed if complete else _decide_gates(manifest, tables, imputation)
        for imputation in (ImputationCase.WORST, ImputationCase.BEST)
    )
    gates = {
        table.suite.name: tuple(
            open_if_unscored(gate, at_best, table)
            for gate, at_best in zip(
                observed[table.suite.name], best[table.suite.name], strict=True
            )
        )
        for table in tables
    }
    collapsed = any(has_one_form(table, gates[table.suite.name], manifest) for table in tables)
    return tuple(
        _suite_result(
            manifest,
            table,
            gates[name],
            tuple(open_if_boundless(gate, table) for gate in worst[name]),
            collapsed=collapsed,
        )
        for table in tables
        for name in [table.suite.name]
    )


def _decide_gates(
    manifest: Manifest,
    tables: Sequence[ScoreTable],
    imputation: ImputationCase = ImputationCase.NONE,
) -> dict[str, tuple[GateResult, ...]]:
    """Return suite → its gates, those that a prompt alone reaches among them."""
    gates = decide_gates(manifest, tables, imputation)
    return {t.suite.name: held_by_prompt(t.suite, gates[t.suite.name]) for t in tables}


def not_comparable(manifest: Manifest, cause: str) -> VerdictRecord:
    """Return the verdict of a run that was refused before any scoring."""
    return _record(manifest, Verdict.NOT_COMPARABLE, cause, ())


def failed_verdict(manifest: Manifest, cause: str) -> VerdictRecord:
    """Return the verdict of a run that did not finish and can be resumed."""
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
        served_identity=manifest.served_identity,
        served_prompts=manifest.served_prompts,
        attempts=manifest.attempts,
        seed=manifest.seed,
        versions=manifest.versions,
        training=None if manifest.training is None else manifest.training.facts,
        leakage=compute_strata(manifest),
    )


def _suite_result(
    manifest: Manifest,
    table: ScoreTable,
    gates: tuple[GateResult, ...],
    worst_gates: tuple[GateResult, ...],
    *,
    collapsed: bool,
) -> SuiteResult:
    suite = table.suite
    # An advisory gate of a judge does not need scores, unless all gates are advisory.
    bound = [g for g in gates if g.judge_basis is None or not g.advisory] or gates
    parts = tables_of_metrics(table, bound)
    missing = {arm: {c for m, t in parts.items() for c in t.unscored(m, arm)} for arm in ARMS}
    partly = {c for m, t in parts.items() for arm in ARMS for c in t.incomplete(m, arm)}
    for gate in (gate for gate in bound if gate.against is not None):
        part = table.of_gate(gate)
        missing.setdefault(str(gate.against), set()).update(part.unscored(gate.metric, "base"))
        partly.update(part.incomplete(gate.metric, "base"))
    incomplete = set().union(*missing.values())
    asked_cases = {c for m, t in parts.items() for c in t.asked(m)}
    gates = tuple(error_if_over_budget(gate, table) or gate for gate in gates)
    gates = mark_worst(gates)
    verdict = suite_verdict(suite, gates)
    by_itself = {gate.id: why for gate, why in goals_lost_to_holm(suite, gates)}
    gates = tuple(
        gate.model_copy(update={"sentence": f"{gate.sentence}, but {by_itself[gate.id]}"})
        if gate.id in by_itself
        else gate
        for gate in gates
    )
    worst = suite_verdict(suite, worst_gates) if partly else None
    caps = [f"{suite.name}: {why}" for why in _broken(table)]
    if verdict is Verdict.SHIP and worst not in (None, Verdict.SHIP):
        counted = [gate for gate in gates if not gate.advisory]
        boundless = boundless_metrics(table, counted)
        caps.append(unscored_sensitivity_note(suite.name, len(partly), boundless))
    if verdict in (Verdict.SHIP, Verdict.HOLD):
        caps += evidence_gaps(manifest, table, gates, len(asked_cases) - len(incomplete))
        if manifest.draft:
            what = "a draft" if caps else f"would be {verdict.value}, but it is a draft"
            caps.append(f"{suite.name}: {what}: judge it without --draft, which counts the attempt")
    counts = {arm: len(cases) for arm, cases in missing.items()}
    return SuiteResult(
        name=suite.name,
        hash=suite.hash,
        verdict=Verdict.UNDECIDED if caps and verdict in (Verdict.SHIP, Verdict.HOLD) else verdict,
        goal_rule=suite.goal_rule,
        has_goal=any(gate_kind(g.kind).is_goal for g in suite.gates),
        n_planned=suite.n_cases,
        n_scored=len(asked_cases) - len(incomplete),
        n_unscored=counts,
        n_skipped_decided=table.remaining,
        n_touched=len(_left_out(manifest, suite.name)),
        unscored_reasons=unscored_reasons(parts),
        worst_case=worst,
        notes=(
            *caps,
            *(
                f"{suite.name}: {gate.subject}: proven {by_itself[gate.id]}"
                for gate in gates
                if gate.id in by_itself
            ),
            *(note for note in findings(manifest, suite.name, caps=True) if note not in caps),
            *(f"{suite.name}: {why}" for arm in counts for why in table.answers.odd.get(arm, ())),
            *findings(manifest, suite.name, caps=False),
            *recorded_times_notes(manifest, suite),
            *touched_note(manifest, suite.name),
            *suite_notes(table, counts, manifest.attempts, gates, manifest.training),
            *(f"{suite.name}: {note}" for note in manifest.taken_on_trust()),
            *(f"{suite.name}: {note}" for note in ledger_note(manifest.ledger.get(suite.name))),
            *kinship_notes(manifest, suite),
        ),
        collapsed=_collapsed(table, gates),
        causes=find_causes(table, gates, manifest, collapsed=collapsed),
        remarks=suite_remarks(table),
        gates=tuple(_with_look(gate, table.of_gate(gate).look) for gate in gates),
    )


def _broken(table: ScoreTable) -> list[str]:
    """Return why the answers of an arm look broken."""
    references = dict.fromkeys(gate.against for gate in table.suite.gates if gate.against)
    return [why for arm in (*ARMS, *references) for why in table.answers.broken.get(arm, ())]


def _collapsed(table: ScoreTable, gates: Sequence[GateResult]) -> str | None:
    """Return the form that tuned's answers fell into, unless a goal was reached."""
    shift = table.answers.form
    goals = (gate for gate in worst_of_rules(gates) if gate_kind(gate.kind).is_goal)
    reached = any(goal.status is GateStatus.PASS for goal in goals)
    return None if shift is None or reached else f"{table.suite.name}: {shift.sentence}"


def _with_look(gate: GateResult, look: InterimLook | None) -> GateResult:
    """Return a gate whose method names the look that widened its interval."""
    return gate if look is None else gate.model_copy(update={"method": look.method(gate.method)})


def _left_out(manifest: Manifest, suite: str) -> frozenset[str]:
    """Return the cases left out because tuned was trained on them."""
    left_out = {} if manifest.leakage is None else manifest.leakage.left_out
    return left_out.get(suite, frozenset())
