"""A verdict in lines for a terminal: headline, next step, a table of gates, notes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tunegate.harness.contracts.further_arm import comparison_results
from tunegate.harness.contracts.quantity import quantity_of
from tunegate.harness.decision.gating.every_value import measured_range
from tunegate.harness.decision.verdict.next_step import next_step
from tunegate.harness.decision.verdict.run_sentence import headline_gate
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.gates.contract.sentences import gate_words
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.records.wording import count_noun

MOST_GATES = 20
"""Rows of the table at most."""
LOOKS = "a run that may end early has wider intervals, so that its looks share the error"
_ORDER = (GateStatus.ERROR, GateStatus.FAIL, GateStatus.UNDECIDED, GateStatus.PASS)


def verdict_lines(
    verdict: VerdictRecord, manifest: Manifest, folder: Path, typical: Iterable[str] = ()
) -> Iterator[str]:
    """Yield a verdict line by line, what can change a reader's decision first."""
    if manifest.draft:
        yield "DRAFT: no attempt is counted, and nothing ships"
    yield f"{verdict.verdict.value.replace('_', ' ')}: {verdict.sentence}"
    yield from verdict.declared_arms()
    yield from typical
    yield from (f"but {warning}" for warning in verdict.arm_warnings())
    yield from (suite.collapsed for suite in verdict.suites if suite.collapsed)
    if verdict.slices is not None:
        yield f"but {verdict.slices.sentence}"
    report = str(folder / "report.html")
    step = next_step(verdict, manifest.suites, run=str(folder), report=report)
    if step is not None:
        yield f"next: {step}"
    yield from _gate_table(verdict)
    yield from (f"note: {note}" for note in verdict_notes(verdict))
    if remarks := sum(len(suite.remarks) for suite in verdict.suites):
        yield f"{count_noun(remarks, 'further remark')} in the report"


def verdict_notes(verdict: VerdictRecord) -> Iterator[str]:
    """Yield what must be known of a verdict, and what it takes on trust."""
    trusted = verdict.trust_notes()
    for suite in verdict.suites:
        shown = {verdict.sentence, *(f"{suite.name}: {note}" for note in trusted)}
        yield from (note for note in suite.notes if note not in shown)
    yield from trusted
    yield from (verdict.training or {}).get("notes", ())
    for compared in comparison_results(verdict).values():
        if compared.sentence not in verdict.sentence:
            yield compared.sentence
    if verdict.leakage is not None:
        yield verdict.leakage.sentence


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows with their cells in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip()


def sorted_gates(verdict: VerdictRecord) -> list[tuple[str, GateResult]]:
    """Return suite and gate of all gates: the headline's first, then those that need a look."""
    headline = headline_gate(verdict.verdict, verdict.suites)
    first = headline[1] if headline is not None else None
    gates = [(suite.name, gate) for suite in verdict.suites for gate in suite.gates]
    return sorted(
        gates,
        key=lambda pair: (
            pair[1] is not first,
            pair[1].advisory,
            not pair[1].n,
            _ORDER.index(pair[1].status),
        ),
    )


def unjudged_sentence(verdict: VerdictRecord) -> str:
    """Return which gates have no case, since their suites ended before; "" if all have some."""
    none = [
        (suite.name, gate)
        for suite in verdict.suites
        for gate in suite.gates
        if not gate.n and gate.reason is not GateReason.NOT_VOTED
    ]
    if not none:
        return ""
    names = ", ".join(f"{suite} {gate.subject}" for suite, gate in none[:2])
    more = f" and {len(none) - 2} more" if len(none) > 2 else ""
    return f"{count_noun(len(none), 'gate')} not judged, for lack of cases: {names}{more}"


def interim_look(gate: GateResult) -> str:
    """Return the look that widened the gate's interval: `look 2 of 3`; "" where none did."""
    look = re.search(r"repeated interval, (look \d+ of \d+)", gate.method)
    return look[1] if look else ""


def _gate_table(verdict: VerdictRecord) -> Iterator[str]:
    gates = [
        (suite, gate)
        for suite, gate in sorted_gates(verdict)
        if gate.n and (gate.every is None or gate.worst)
    ]
    if unjudged := unjudged_sentence(verdict):
        yield unjudged
    if not gates:
        return
    levels = Counter(gate.confidence for _, gate in gates if gate.low is not None)
    usual = levels.most_common(1)[0][0] if levels else None
    interval = f"{_percent(usual)} interval" if usual else "interval"
    head = ("result", "suite", "metric", "base → tuned", "asked", interval, "cases", "p")
    yield from columns([head, *(_row(suite, gate, usual) for suite, gate in gates[:MOST_GATES])])
    if len(gates) > MOST_GATES:
        yield f"{count_noun(len(gates) - MOST_GATES, 'more gate')} in the report"
    for suite in verdict.suites:
        yield from (f"{suite.name}: {line}" for line in every_value_lines(suite.gates))
    looks = {_percent(g.confidence): look for _, g in gates if (look := interim_look(g))}
    if looks:
        yield f"{', '.join(f'{level} at {look}' for level, look in looks.items())}: {LOOKS}"


def _row(suite: str, gate: GateResult, usual: float | None) -> tuple[str, ...]:
    kind = gate_kind(gate.kind)
    quantity = kind.quantity_format(gate)
    ends, level = "–", "" if gate.confidence == usual else f" ({_percent(gate.confidence)})"
    if gate.low is not None or gate.high is not None:
        sign = kind.tests_difference
        ends = (
            f"{quantity.bare(gate.low, sign=sign)} to {quantity.bare(gate.high, sign=sign)}{level}"
        )
    return (
        f"{gate.status.value}{' (advisory)' * gate.advisory}",
        suite,
        gate.named(gate.metric),
        quantity_of(gate).levels(gate.base, gate.tuned),
        gate_words(gate, "label"),
        ends,
        str(gate.n),
        "–" if gate.p_value is None else f"{gate.p_value:.2g}",
    )


def every_value_lines(gates: Sequence[GateResult]) -> Iterator[str]:
    """Yield what each rule on every value of a key measured under each, the worst first."""
    for worst in (gate for gate in gates if gate.worst):
        others = [gate for gate in gates if gate.rule_id == worst.rule_id and gate is not worst]
        rule = [worst, *others]
        shown = ", ".join(f"{gate.tag_value} {_measured(gate)}" for gate in rule)
        parts = filter(None, (shown, measured_range(rule)))
        yield f"{worst.metric} {worst.kind} by {worst.every}: {'; '.join(parts)}"


def _measured(gate: GateResult) -> str:
    kind = gate_kind(gate.kind)
    value, how = kind.value(gate), kind.quantity_format(gate)
    if value is None:
        return "–"
    return f"{how.bare(value, sign=kind.tests_difference)} (n = {gate.n})"


def _percent(confidence: float) -> str:
    return f"{100 * confidence:.4g} %"
