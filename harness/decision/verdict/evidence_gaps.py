"""Evidence gaps: why gates that hold are not enough for SHIP or HOLD."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tunegate.harness.contracts.further_arm import ARMS
from tunegate.harness.contracts.metric import CONTENT_GAP
from tunegate.harness.decision.gating.every_value import by_rule, worst_of_rules
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.labels import are_copies, copied_labels
from tunegate.harness.records.manifest import Manifest, SuiteRecord
from tunegate.harness.records.wording import count_noun

LEAST_CASES = 5
"""Fewest cases that can ship: fewer prove nothing at 5 %, as 0.5 ** 4 is 6 %."""
UNEQUAL_FAILURES = 0.05
"""Two-sided error of the claim that one arm fails more often."""


def evidence_gaps(
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
    yield from findings(manifest, suite.name, caps=True)
    yield from _copied_labels(table)
    if manifest.filtered:
        yield f"{suite.name}: judged in part only: {'; '.join(manifest.filtered)}"


def _advisory_losses(suite: SuiteRecord, gates: Sequence[GateResult]) -> Iterator[str]:
    """Yield the advisory gates that prove a loss: not enough to block, too much to ship.

    A hint yields to a judge that counts on the same cases: phrases miss refusals that argue.
    """
    judges = {metric.name for metric in suite.metrics if metric.judge is not None}
    content = judges.intersection(suite.content_metrics or ())
    judged = {gate.tag for gate in gates if gate.metric in content and not gate.advisory}
    hints = {metric.name for metric in suite.metrics if metric.indicative}
    for gate in gates:
        if gate.metric in hints and judged & {None, gate.tag}:
            continue
        if gate.advisory and gate_kind(gate.kind).claims_loss(gate):
            yield (
                f"{suite.name}: {gate.sentence}; the gate is advisory, so this does not block, but "
                "nothing ships over a proven loss: make the gate count, or remove it"
            )


def findings(manifest: Manifest, suite: str, *, caps: bool) -> Iterator[str]:
    """Yield the findings on a suite's answers, those that cap the verdict or the others."""
    for finding in manifest.findings:
        if finding.suite == suite and finding.caps is caps:
            yield f"{suite}: {finding.text}"


def _copied_labels(table: ScoreTable) -> Iterator[str]:
    """Yield the judges whose own scores were passed off as people's labels."""
    for metric in (m for m in table.suite.metrics if m.judge is not None):
        label_scores = [
            (label, row.value)
            for place, label in table.labels.items()
            if place[0] == metric.name
            if (row := table.values.get(place)) is not None and row.value is not None
        ]
        if are_copies(label_scores, metric.range or (0.0, 1.0)):
            yield f"{table.suite.name}: {copied_labels(metric.name, len(label_scores))}"


def _judges_content(suite: SuiteRecord, gates: Sequence[GateResult]) -> bool:
    """Return whether a gate that holds judges what answers say, if the suite needs one.

    A suite of replayed traffic needs one, since fluent nonsense passes gates on form. A gate on a
    tag must cover at least half of the cases; those on every value of a key do so together.
    """
    if suite.content_metrics is None:
        return True
    return any(
        worst.metric in suite.content_metrics
        and worst.status is GateStatus.PASS
        and not worst.advisory
        and (
            worst.tag is None
            or 2 * sum(gate.n for gate in rule) >= suite.n_cases - suite.n_variants
        )
        for rule in by_rule(gates)
        for worst in worst_of_rules(rule)
    )


def _unequal_failures(table: ScoreTable) -> list[str]:
    """Return the note on episodes that fail more often in one arm.

    They are unscored: a fine-tune must not ship because it crashes the environment on hard tasks.
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
        f"{table.suite.name}: {count_noun(tuned, 'episode')} failed only in tuned and {base} only "
        f"in base, of {table.answers.pairs} (p = {p_value:.2g}): {arm} breaks its environment "
        f"({reason})"
    ]
