"""Does the verdict hold for what ships? Tuned and shipped compared, and shipped held to the guards.

SHIP takes three things more where there is a shipped arm: on every gated metric shipped is proven
equivalent to tuned within a margin, its own floors, ceilings, tolerances and limits hold against
base, and neither hangs on unscored cases. A difference beyond the margin blocks, even a better one:
then what ships is another model than the one that was judged, and can be judged as tuned. Measured
times are no matter of equivalence; a suite's own rules on them are put to shipped as they are.

The comparison takes all cases of a suite, also of one that ended early for base and tuned: it is no
part of the looks, and its level is that of one test at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from harness.manifest import BASE_AGAIN, SHIPPED, GateKind, Manifest, MetricRecord
from harness.records import Case, CellKind, ScoreRow
from harness.verdict import parity_words as words
from harness.verdict.compare import Delta
from harness.verdict.decide import results
from harness.verdict.equivalence import Equivalence, margin_of, proven_beyond
from harness.verdict.ledger import at_attempt
from harness.verdict.looks import Look
from harness.verdict.lossy import step
from harness.verdict.parity_record import (
    Agreement,
    Divergence,
    MetricParity,
    Parity,
    SuiteParity,
)
from harness.verdict.record import GateResult
from harness.verdict.scores import Table
from harness.verdict.status import ParityStatus, Verdict
from harness.verdict.tables import tables_of

_SEVERITY = (
    ParityStatus.EQUIVALENT,
    ParityStatus.UNDECIDED,
    ParityStatus.NOT_EQUIVALENT,
    ParityStatus.ERROR,
)
_VERDICTS = {
    ParityStatus.EQUIVALENT: Verdict.SHIP,
    ParityStatus.UNDECIDED: Verdict.UNDECIDED,
    ParityStatus.NOT_EQUIVALENT: Verdict.BLOCK,
    ParityStatus.ERROR: Verdict.ERROR,
}


@dataclass(frozen=True)
class Evidence:
    """What is known of tuned's and shipped's answers beside their scores, by suite."""

    agreement: Mapping[str, Agreement] = field(default_factory=dict)
    divergence: Mapping[str, Divergence] = field(default_factory=dict)


def compare_shipped(
    manifest: Manifest,
    cases: Mapping[str, Sequence[Case]],
    scores: Sequence[ScoreRow],
    evidence: Evidence,
    *,
    looks: Mapping[str, Look] = MappingProxyType({}),
) -> Parity:
    """Compare tuned with shipped, and hold shipped to the suites' guards.

    Args:
        manifest: The plan, the suites' gates and the arms' identities.
        cases: Suite name → its cases.
        scores: Every score of the run.
        evidence: What else is known of the answers.
        looks: Suite → the look at which base and tuned are judged; the guards are, too.
    """
    guarded = _guards_only(manifest)
    whole = tables_of(manifest, cases, scores, {})
    at_looks = tables_of(guarded, cases, scores, looks)
    guards = _guards(guarded, [_with(t, tuned=SHIPPED) for t in at_looks], scores)
    compared = _compared(manifest, whole)
    suites = tuple(
        _suite(table, compared.get(table.suite.name, ()), guards[table.suite.name], evidence)
        for table in whole
    )
    done = step(manifest.arms["tuned"], manifest.arms[SHIPPED])
    counted = [s for s in suites if any(not m.advisory for m in s.metrics)]
    status = max((s.status for s in counted), key=_SEVERITY.index, default=ParityStatus.UNDECIDED)
    held = [s.guards_verdict for s in suites if s.guards_verdict is not None]
    return Parity(
        status=status,
        verdict=Verdict.worst([_VERDICTS[status], *held]),
        sentence=words.run_sentence(status, suites, done),
        step=done,
        suites=suites,
    )


def _with(table: Table, *, base: str = "base", tuned: str = "tuned") -> Table:
    """Return a table in which the arms named stand in the places of base and tuned."""
    places = {base: "base", tuned: "tuned"}
    if base == "base":
        places[BASE_AGAIN] = BASE_AGAIN
    values = {
        (metric, case, places[arm]): row
        for (metric, case, arm), row in table.values.items()
        if arm in places
    }
    return replace(table, values=values)


def _guards_only(manifest: Manifest) -> Manifest:
    """Return the manifest without goals: what was gained is tuned's, and comes over by equivalence.

    Whether the run judges all that was asked is said once, by the verdict on tuned.
    """
    suites = []
    for suite in manifest.suites:
        known = {m.name for m in suite.metrics if _of_one_arm(m)}
        kept = (g for g in suite.gates if g.kind is not GateKind.GAIN and g.metric in known)
        suites.append(suite.model_copy(update={"gates": tuple(kept)}))
    return manifest.model_copy(update={"suites": tuple(suites), "filtered": ()})


def _of_one_arm(metric: MetricRecord) -> bool:
    """Return whether an arm has scores of its own: judges of pairs see base and tuned only."""
    return metric.judge is None or not metric.judge.pairs


def _guards(
    manifest: Manifest, tables: Sequence[Table], scores: Iterable[ScoreRow]
) -> dict[str, tuple[tuple[GateResult, ...], Verdict | None]]:
    """Return suite → how shipped's guards end, and what they alone decide; None without any."""
    measured = {row.suite for row in scores if row.arm == "base"}
    tables = [t for t in tables if t.suite.name in measured]
    ended = {result.name: result for result in results(manifest, tables)}
    return {
        suite.name: (
            tuple(words.of_shipped(gate) for gate in result.gates) if result else (),
            result.verdict if result and any(not g.advisory for g in result.gates) else None,
        )
        for suite in manifest.suites
        for result in [ended.get(suite.name)]
    }


def _compared(manifest: Manifest, whole: Sequence[Table]) -> dict[str, tuple[MetricParity, ...]]:
    """Return suite → its metrics, tuned's against shipped's."""
    tables = {table.suite.name: _with(table, base="tuned", tuned=SHIPPED) for table in whole}
    found = {
        (name, metric.name): _equivalence(manifest, table, metric)
        for name, table in tables.items()
        for metric in table.suite.metrics
        if metric.needs is not CellKind.LATENCY
        and _of_one_arm(metric)
        and any(gate.metric == metric.name for gate in table.suite.gates)
    }
    beyond = proven_beyond({key: e for key, e in found.items() if not _advisory(e)})
    noise = {(t.suite.name, m.name): t.noise(m.name) for t in whole for m in t.suite.metrics}
    made: dict[str, list[MetricParity]] = {name: [] for name in tables}
    for key, equivalence in found.items():
        told = key in beyond and not _within(noise[key], equivalence)
        made[key[0]].append(_metric(tables[key[0]], equivalence, beyond=told))
    return {name: tuple(metrics) for name, metrics in made.items()}


def _advisory(found: Equivalence) -> bool:
    """Return whether a metric is only shown: too few cases for it, or an uncalibrated judge."""
    return found.pairs.advisory or found.pairs.metric.advisory


def _within(noise: float | None, found: Equivalence) -> bool:
    """Return whether arithmetic alone moves base by as much as tuned and shipped differ."""
    return noise is not None and abs(found.pairs.estimate) <= noise


def _equivalence(manifest: Manifest, table: Table, metric: MetricRecord) -> Equivalence:
    gate = next(g for g in table.suite.gates if g.metric == metric.name)
    level = at_attempt(gate, table.suite, manifest.attempts).confidence
    return Equivalence(table.pairs(metric), margin_of(table.suite, metric), level)


def _metric(table: Table, found: Equivalence, *, beyond: bool) -> MetricParity:
    """Put one metric on record."""
    pairs, metric = found.pairs, found.pairs.metric
    missing = {arm: len(table.unscored(metric.name, arm)) for arm in ("base", "tuned")}
    status = _status(table, found, missing, beyond=beyond)
    delta, known = Delta(pairs, found.confidence), pairs.n > 0
    bounded = known and abs(delta.low) != float("inf")
    result = MetricParity(
        metric=metric.name,
        status=status,
        sentence="",
        higher_is_better=metric.higher_is_better,
        tuned=delta.base if known else None,
        shipped=delta.tuned if known else None,
        delta=delta.estimate if known else None,
        low=delta.low if bounded else None,
        high=delta.high if bounded else None,
        confidence=found.confidence,
        method=delta.oriented.method,
        margin=found.margin.value,
        margin_from=found.margin.source,
        n=pairs.n,
        needed_n=found.needed if status is ParityStatus.UNDECIDED else None,
        advisory=_advisory(found),
    )
    return result.model_copy(update={"sentence": words.metric_sentence(result, missing)})


def _status(
    table: Table, found: Equivalence, missing: Mapping[str, int], *, beyond: bool
) -> ParityStatus:
    """Return how a metric ends: an error if too much is unscored, undecided if it hangs on it."""
    asked = len(table.asked(found.pairs.metric.name))
    if max(missing.values()) > table.suite.max_unscored * asked * (1 + 1e-9):
        return ParityStatus.ERROR
    status = found.status(beyond=beyond)
    if status is ParityStatus.EQUIVALENT and any(missing.values()):
        worst = replace(found, pairs=table.imputed(found.pairs.metric))
        return worst.status(beyond=False)
    return status


def _suite(
    table: Table,
    metrics: tuple[MetricParity, ...],
    guards: tuple[tuple[GateResult, ...], Verdict | None],
    evidence: Evidence,
) -> SuiteParity:
    name = table.suite.name
    counted = [m.status for m in metrics if not m.advisory]
    return SuiteParity(
        name=name,
        status=max(counted, key=_SEVERITY.index, default=ParityStatus.UNDECIDED),
        metrics=metrics,
        guards=guards[0],
        guards_verdict=guards[1],
        agreement=evidence.agreement.get(name),
        divergence=evidence.divergence.get(name),
    )
