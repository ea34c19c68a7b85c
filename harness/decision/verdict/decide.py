"""The verdict: a pure function of the manifest, the cases and the scores of a run.

No clock, no random numbers, no model: the same records give the same bytes each time.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tunegate.harness.comparison.delta import one_sided
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.contracts.metric import CONTENT_GAP
from tunegate.harness.contracts.model import Arm, Prompt
from tunegate.harness.decision.answers.answer_counts import AnswerCounts
from tunegate.harness.decision.answers.broken_answers import broken_arms
from tunegate.harness.decision.gating.contamination_strata import compute_strata, touched_note
from tunegate.harness.decision.gating.decide_all import ImputationCase, decide_gates
from tunegate.harness.decision.gating.error_control import ledger_note
from tunegate.harness.decision.gating.tag_slices import slice_losses
from tunegate.harness.decision.score_table import ScoreTable, tables_of
from tunegate.harness.decision.verdict.judge_kinship import kinship_notes
from tunegate.harness.decision.verdict.notes import suite_notes, suite_remarks
from tunegate.harness.decision.verdict.run_sentence import run_sentence
from tunegate.harness.decision.verdict.timing_notes import recorded_times_notes
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.labels import Label, are_copies, copied_labels
from tunegate.harness.records.manifest import Manifest, SuiteRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import SuiteResult, Verdict, VerdictRecord
from tunegate.harness.records.wording import count_noun

ARMS = ("base", "tuned")
"""The arms that the verdict is about."""
LEAST_CASES = 5
"""Cases without which no suite ships: fewer prove nothing at 5 %, as 0.5 ** 4 is 6 %."""
UNEQUAL_FAILURES = 0.05
"""Two-sided error of the claim that the arms fail unequally often."""


@dataclass(frozen=True, kw_only=True)
class ScoredRun:
    """A run with all its scores, as the comparison of a further arm takes it."""

    manifest: Manifest
    cases: Mapping[str, Sequence[Case]]
    """Suite name → its cases."""
    scores: Sequence[ScoreRow]
    cells: Iterable[StoredAnswer] = ()
    """The answers, those of a case together; read more than once."""
    looks: Mapping[str, InterimLook] = field(default_factory=dict)
    """Suite → the interim look at which base and tuned are judged."""
    arms: Mapping[str, Arm] = field(default_factory=dict)
    """The opened arms; none of a stored run."""
    prompts: Mapping[tuple[str, str, str], Prompt] = field(default_factory=dict)
    """(suite, case, arm) → rendered prompt; none of a stored run."""


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
        looks: Suite → the look at which it ended, where it is looked at while it runs.
        answers: Suite → how many answers are equal in base and tuned, and how many were cut.
        labels: People's labels of a random sample of the run's answers.
    """
    rows = list(scores)
    said: dict[str, dict[tuple[str, str, str], float]] = defaultdict(dict)
    for label in labels:
        said[label.suite or ""][label.metric or "", label.id, label.arm or ""] = label.label
    tables = [
        replace(
            table,
            answers=answers.get(table.suite.name, AnswerCounts()),
            labels=said[table.suite.name],
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
        for why in broken_arms(table, ARMS)
    ]
    sentence = broken[0] if broken else run_sentence(verdict, suites)
    record = _record(manifest, verdict, sentence, suites)
    apart = compute_strata(manifest, cases, rows, looks)
    gates = {suite.name: suite.gates for suite in suites}
    losses = slice_losses(tables, gates) if verdict is Verdict.SHIP else None
    return record.model_copy(update={"leakage": apart, "slices": losses})


def suite_results(manifest: Manifest, tables: Sequence[ScoreTable]) -> tuple[SuiteResult, ...]:
    """Return how suites end: all those of the run, or one of them while it runs.

    What missing scores could undo is not claimed: SHIP must hold in the worst case for tuned, and
    each failed gate (a regression, a broken bound, a gain that is ruled out) in the best. A metric
    without a range has no worst case: where one of its scores is missing, no gate of it holds.
    """
    observed = decide_gates(manifest, tables)
    complete = not any(
        table.on_tag(gate.tag).incomplete(gate.metric, arm)
        for table in tables
        for gate in table.suite.gates
        for arm in ARMS
    )
    worst, best = (
        observed if complete else decide_gates(manifest, tables, imputation)
        for imputation in (ImputationCase.WORST, ImputationCase.BEST)
    )
    return tuple(
        _suite_result(
            manifest,
            table,
            tuple(
                _open_if_unscored(gate, at_best, table)
                for gate, at_best in zip(observed[name], best[name], strict=True)
            ),
            tuple(_open_if_boundless(gate, table) for gate in worst[name]),
        )
        for table in tables
        for name in [table.suite.name]
    )


def _open_if_boundless(gate: GateResult, table: ScoreTable) -> GateResult:
    """Return a gate that holds in the worst case as undecided where there is no worst case."""
    if gate.status is not GateStatus.PASS or not boundless_metrics(table, [gate]):
        return gate
    changes = {"status": GateStatus.UNDECIDED, "reason": GateReason.UNSCORED}
    return gate.model_copy(update=changes)


def boundless_metrics(table: ScoreTable, gates: Iterable[GateResult]) -> list[str]:
    """Return the gates' metrics that have unscored cases and no range to bound them."""
    unbounded = {metric.name for metric in table.suite.metrics if metric.range is None}
    return list(
        dict.fromkeys(
            gate.metric
            for gate in gates
            if gate.metric in unbounded
            and any(table.on_tag(gate.tag).incomplete(gate.metric, arm) for arm in ARMS)
        )
    )


def _open_if_unscored(gate: GateResult, at_best: GateResult, table: ScoreTable) -> GateResult:
    """Return a failed gate as undecided if it would not fail so with the missing scores at best."""
    weaker = at_best.reason is GateReason.NO_WORTHWHILE_GAIN and gate.reason is not at_best.reason
    if gate.status is not GateStatus.FAIL or (at_best.status is gate.status and not weaker):
        return gate
    kind, named = gate_kind(gate.kind), gate.model_copy(update={"metric": gate.subject})
    part = table.on_tag(gate.tag)
    count = len({case for arm in ARMS for case in part.incomplete(gate.metric, arm)})
    others = "unscored one" if count == 1 else count_noun(count, "unscored one")
    sentence = (
        f"{kind.measurement(named)}: that fails {kind.rule(gate)} on the scored cases, but not if "
        f"the {others} went well"
    )
    changes = {"status": GateStatus.UNDECIDED, "reason": GateReason.UNSCORED, "sentence": sentence}
    return gate.model_copy(update=changes)


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
) -> SuiteResult:
    suite = table.suite
    # A judge's gate that is only shown needs no scores where others do; those may come to count.
    bound = [g for g in gates if g.right is None or not g.advisory] or gates
    parts = _tables_of_metrics(table, bound)
    missing = {arm: {c for m, t in parts.items() for c in t.unscored(m, arm)} for arm in ARMS}
    incomplete = set().union(*missing.values())
    partly = {c for m, t in parts.items() for arm in ARMS for c in t.incomplete(m, arm)}
    asked = {c for m, t in parts.items() for c in t.asked(m)}
    gates = tuple(_over_budget(gate, table) or gate for gate in gates)
    verdict = suite_verdict(suite, gates)
    worst = suite_verdict(suite, worst_gates) if partly else None
    caps = [f"{suite.name}: {why}" for why in broken_arms(table, ARMS)]
    if verdict is Verdict.SHIP and worst not in (None, Verdict.SHIP):
        counted = [gate for gate in gates if not gate.advisory]
        boundless = boundless_metrics(table, counted)
        caps.append(unscored_sensitivity_note(suite.name, len(partly), boundless))
    if verdict in (Verdict.SHIP, Verdict.HOLD):
        caps += _evidence_gaps(manifest, table, gates, len(asked) - len(incomplete))
        if manifest.draft:
            what = "a draft" if caps else f"would be {verdict.value}, but it is a draft"
            caps.append(f"{suite.name}: {what}: judge it without --draft, which counts the attempt")
    counts = {arm: len(missing[arm]) for arm in ARMS}
    return SuiteResult(
        name=suite.name,
        hash=suite.hash,
        verdict=Verdict.UNDECIDED if caps and verdict in (Verdict.SHIP, Verdict.HOLD) else verdict,
        goal_rule=suite.goal_rule,
        has_goal=any(gate_kind(g.kind).is_goal for g in suite.gates),
        n_planned=suite.n_cases,
        n_scored=len(asked) - len(incomplete),
        n_unscored=counts,
        n_skipped_decided=table.remaining,
        n_touched=len(_left_out(manifest, suite.name)),
        unscored_reasons=_unscored_reasons(parts),
        worst_case=worst,
        notes=(
            *caps,
            *(note for note in _findings(manifest, suite.name, caps=True) if note not in caps),
            *_findings(manifest, suite.name, caps=False),
            *recorded_times_notes(manifest, suite),
            *touched_note(manifest, suite.name),
            *suite_notes(table, counts, manifest.attempts, gates, manifest.training),
            *(f"{suite.name}: {note}" for note in ledger_note(manifest.ledger.get(suite.name))),
            *kinship_notes(manifest, suite),
        ),
        collapsed=_collapsed(table, gates),
        remarks=suite_remarks(table),
        gates=tuple(_with_look(gate, table.on_tag(gate.tag).look) for gate in gates),
    )


def _collapsed(table: ScoreTable, gates: Sequence[GateResult]) -> str | None:
    """Return the form that tuned's answers fell into, unless a goal that is reached asks for it."""
    shift = table.answers.form
    reached = any(gate_kind(g.kind).is_goal and g.status is GateStatus.PASS for g in gates)
    return None if shift is None or reached else f"{table.suite.name}: {shift.sentence}"


def _evidence_gaps(
    manifest: Manifest, table: ScoreTable, gates: Sequence[GateResult], n_scored: int
) -> Iterator[str]:
    """Yield why gates that hold are not enough for SHIP or HOLD."""
    suite = table.suite
    yield from _advisory_losses(suite, gates)
    if n_scored < LEAST_CASES:
        yield (
            f"{suite.name}: {count_noun(n_scored, 'case')} can prove nothing; a suite ships with "
            f"{LEAST_CASES} scored cases or more"
        )
    if not _judges_content(suite, gates):
        yield f"{suite.name}: {CONTENT_GAP}"
    yield from _unequal_failures(table)
    yield from _findings(manifest, suite.name, caps=True)
    yield from _copied_labels(table)
    if manifest.filtered:
        yield f"{suite.name}: judged in part only: {'; '.join(manifest.filtered)}"


def _advisory_losses(suite: SuiteRecord, gates: Sequence[GateResult]) -> Iterator[str]:
    """Yield the advisory gates that prove a loss: too little to block, too much to ship."""
    for gate in gates:
        if gate.advisory and gate_kind(gate.kind).claims_loss(gate):
            yield (
                f"{suite.name}: {gate.sentence}; the gate is advisory, so this does not block, but "
                "nothing ships over a proven loss: make the gate count, or remove it"
            )


def _findings(manifest: Manifest, suite: str, *, caps: bool) -> Iterator[str]:
    """Yield what was found in a suite's answers, those findings that cap or the others."""
    for found in manifest.findings:
        if found.suite == suite and found.caps is caps:
            yield f"{suite}: {found.text}"


def _copied_labels(table: ScoreTable) -> Iterator[str]:
    """Yield the judges whose own scores were given as people's labels."""
    for metric in (m for m in table.suite.metrics if m.judge is not None):
        both = [
            (label, row.value)
            for place, label in table.labels.items()
            if place[0] == metric.name
            if (row := table.values.get(place)) is not None and row.value is not None
        ]
        if are_copies(both, metric.range or (0.0, 1.0)):
            yield f"{table.suite.name}: {copied_labels(metric.name, len(both))}"


def _judges_content(suite: SuiteRecord, gates: Sequence[GateResult]) -> bool:
    """Return whether a gate that holds judges what answers say, where a suite needs one.

    Replayed traffic does: its other gates are about form, and fluent nonsense has a form, too. A
    gate on a tag must hold for at least half of the cases.
    """
    if suite.content_metrics is None:
        return True
    return any(
        gate.metric in suite.content_metrics
        and gate.status is GateStatus.PASS
        and not gate.advisory
        and (gate.tag is None or 2 * gate.n >= suite.n_cases)
        for gate in gates
    )


def _unequal_failures(table: ScoreTable) -> list[str]:
    """Return the note on episodes that fail in one arm more often than in the other.

    They are unscored, and the rest may be the easier ones: a fine-tune whose calls crash the
    environment must not ship for that.
    """
    if table.suite.episode is None:
        return []
    from tunegate.harness.stats.binary import mcnemar_midp

    base, tuned = (table.answers.failed.get(arm, 0) for arm in ARMS)
    p_value = 2 * min(mcnemar_midp(base, tuned).p_value, mcnemar_midp(tuned, base).p_value)
    if p_value >= UNEQUAL_FAILURES:
        return []
    arm = "tuned" if tuned > base else "base"
    reason = next(iter(table.reasons([gate.metric for gate in table.suite.gates], [arm])), "")
    return [
        f"{table.suite.name}: {count_noun(tuned, 'episode')} failed in tuned alone and {base} in "
        f"base alone, of {table.answers.pairs} (p = {p_value:.2g}): {arm} breaks its environment "
        f"({reason})"
    ]


def _with_look(gate: GateResult, look: InterimLook | None) -> GateResult:
    """Return a gate whose method names the look that widened its interval."""
    return gate if look is None else gate.model_copy(update={"method": look.method(gate.method)})


def _tables_of_metrics(table: ScoreTable, gates: Sequence[GateResult]) -> dict[str, ScoreTable]:
    """Return metric → the scores of the cases that its gates rest on, in the suite's order."""
    tags: dict[str, set[str | None]] = defaultdict(set)
    for gate in gates:
        tags[gate.metric].add(gate.tag)
    return {
        metric.name: table
        if None in tags[metric.name]
        else replace(
            table, cases={i: c for i, c in table.cases.items() if tags[metric.name] & set(c.tags)}
        )
        for metric in table.suite.metrics
        if metric.name in tags
    }


def _unscored_reasons(parts: Mapping[str, ScoreTable]) -> dict[str, int]:
    """Return why cases are unscored over both arms, with counts, the commonest first."""
    counts: Counter[str] = Counter()
    for metric, table in parts.items():
        counts.update(table.reasons([metric], ARMS))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _left_out(manifest: Manifest, suite: str) -> frozenset[str]:
    """Return the cases that tuned was trained on and no gate rests on."""
    found = {} if manifest.leakage is None else manifest.leakage.left_out
    return found.get(suite, frozenset())


def _over_budget(gate: GateResult, table: ScoreTable) -> GateResult | None:
    """Return the gate as an error if an arm has more unscored cases than the suite allows."""
    table = table.on_tag(gate.tag)
    counts = {arm: table.unscored_share(gate.metric, arm) for arm in ARMS}
    arm, (count, asked) = max(counts.items(), key=lambda item: item[1])
    # 0.29 * 100 is 28.999999999999996: rounding must not turn 29 of 100 into too many.
    if count <= table.suite.max_unscored * asked * (1 + 1e-9):
        return None
    reason = next(iter(table.reasons([gate.metric], [arm])))
    what = "case" if table.suite.episode is None else "episode"
    cases = count_noun(asked, what)
    sentence = too_many_unscored(gate.subject, arm, count, cases, table.suite.max_unscored, reason)
    return gate.model_copy(
        update={
            "status": GateStatus.ERROR,
            "reason": GateReason.UNSCORED,
            "sentence": sentence,
            "needed_n": None,
            "needed_most": None,
        }
    )


def suite_verdict(suite: SuiteRecord, gates: Sequence[GateResult]) -> Verdict:
    """Apply the decision table: ERROR, then BLOCK, SHIP, HOLD, else UNDECIDED."""
    counted = [g for g in gates if not g.advisory]
    if any(g.status is GateStatus.ERROR for g in counted):
        return Verdict.ERROR
    failed_gates = [g for g in counted if g.status is GateStatus.FAIL]
    if any(g.reason is not GateReason.NO_WORTHWHILE_GAIN for g in failed_gates):
        return Verdict.BLOCK
    needed = _needed_goals(suite, gates)
    goals = [g for g in needed if not g.advisory]
    guards = [g for g in counted if not gate_kind(g.kind).is_goal]
    guards_hold = all(g.status is GateStatus.PASS for g in guards)
    # Where every goal that is needed is advisory, nothing can say that one was reached.
    if not counted or not guards_hold or (needed and not goals):
        return Verdict.UNDECIDED
    if _goal_rule_holds(suite, goals):
        return Verdict.SHIP
    # Where any goal would do, the rule still needs all of them to be ruled out.
    still_open = [g for g in goals if suite.goal_rule == "any" or g.status is not GateStatus.PASS]
    if all(g.reason is GateReason.NO_WORTHWHILE_GAIN for g in still_open):
        return Verdict.HOLD
    return Verdict.UNDECIDED


def _needed_goals(suite: SuiteRecord, gates: Sequence[GateResult]) -> list[GateResult]:
    goals = [g for g in gates if gate_kind(g.kind).is_goal]
    return goals[:1] if suite.goal_rule == "primary" else goals


def _goal_rule_holds(suite: SuiteRecord, goals: Sequence[GateResult]) -> bool:
    if not goals:
        return True
    if suite.goal_rule != "any":
        return all(g.status is GateStatus.PASS for g in goals)
    if suite.looks is not None:  # the goals share the error already: see `InterimLook.judged`
        return any(g.status is GateStatus.PASS for g in goals)
    from tunegate.harness.stats.multiplicity import holm

    adjusted = holm([1.0 if g.p_value is None else g.p_value for g in goals])
    return any(
        p <= one_sided(g.confidence) + 1e-12 and g.status is GateStatus.PASS
        for p, g in zip(adjusted, goals, strict=True)
    )


def too_many_unscored(
    metric: str, arm: str, count: int, asked: str, allowed: float, reason: str
) -> str:
    """Return the sentence of a gate whose metric has too few scores."""
    verb = "is" if count == 1 else "are"
    return (
        f"{metric}: {count:,} of {asked} of {arm} {verb} unscored, more than the "
        f"{100 * allowed:g} % that the suite allows ({reason})"
    )


def unscored_sensitivity_note(suite: str, count: int, boundless: Sequence[str] = ()) -> str:
    """Return the note on gates that hold on the scored cases alone.

    Args:
        suite: Name of the suite.
        count: Its unscored cases.
        boundless: Metrics with unscored cases of which nothing bounds how bad these are.
    """
    others = "unscored one" if count == 1 else count_noun(count, "unscored one")
    held = f"{suite}: the gates hold on the scored cases, but not if the {others} went wrong"
    if not boundless:
        return held
    return (
        f"{held}: {' and '.join(boundless)} has no range, so that nothing bounds the loss; score "
        "them, or set range = [least, largest] on the metric"
    )
