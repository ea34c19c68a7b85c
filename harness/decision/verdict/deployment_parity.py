"""Deployment parity: whether a merged, quantized or served form is equivalent to tuned.

With a shipped arm, SHIP also requires that on every gated metric shipped is proven equivalent to
tuned within a margin, that its guardrails hold against base, and that neither depends on unscored
cases. A difference beyond the margin blocks, even a better one: then what ships is not the model
that was judged. Times are not compared; the suite's own rules on them apply to shipped.

The comparison uses all cases of a suite, even if it ended early for base and tuned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tunegate.harness.comparison.delta import Delta
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.contracts.further_arm import ARMS, BASE_AGAIN, SHIPPED
from tunegate.harness.decision.gating.answer_agreement import answer_agreement
from tunegate.harness.decision.gating.attempts import at_attempt
from tunegate.harness.decision.gating.equivalence import EquivalencePairs, margin_of, proven_beyond
from tunegate.harness.decision.score_table import ScoreTable, tables_of
from tunegate.harness.decision.verdict.decide import ScoredRun, suite_results
from tunegate.harness.decision.verdict.parity_sentences import (
    deployment_step,
    metric_sentence,
    parity_sentence,
)
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import ALONE
from tunegate.harness.records.cases import Case
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.manifest import Manifest, MetricRecord, gate_subject
from tunegate.harness.records.parity import (
    AnswerAgreement,
    DeploymentParity,
    MetricParity,
    ParityStatus,
    PredictionDivergence,
    SuiteParity,
)
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict

PAIR = ("tuned", SHIPPED)

_GUARD_PLACES = {"base": "base", SHIPPED: "tuned", BASE_AGAIN: BASE_AGAIN}
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
class ParityEvidence:
    """Facts about tuned's and shipped's answers besides their scores, by suite."""

    agreement: Mapping[str, AnswerAgreement] = field(default_factory=dict)
    divergence: Mapping[str, PredictionDivergence] = field(default_factory=dict)


def compare_shipped(
    manifest: Manifest,
    cases: Mapping[str, Sequence[Case]],
    scores: Sequence[ScoreRow],
    evidence: ParityEvidence,
    *,
    looks: Mapping[str, InterimLook] = MappingProxyType({}),
) -> DeploymentParity:
    """Compare tuned with shipped, and judge shipped by the suites' guardrails.

    Args:
        manifest: The plan, the suites' gates and the arms' identities.
        cases: Suite name → its cases.
        scores: Every score of the run.
        evidence: What else is known about the answers.
        looks: Suite → the look at which base and tuned, and the guardrails, are judged.
    """
    guarded = _guards_only(manifest)
    whole = tables_of(manifest, cases, scores, {})
    at_looks = tables_of(guarded, cases, scores, looks)
    guards = _guards(guarded, at_looks, scores)
    compared = _compare_metrics(manifest, whole)
    suites = tuple(
        _suite(table, compared.get(table.suite.name, ()), guards[table.suite.name], evidence)
        for table in whole
    )
    done = deployment_step(manifest.arms["tuned"], manifest.arms[SHIPPED])
    counted = [s for s in suites if any(not m.advisory for m in s.metrics)]
    status = max((s.status for s in counted), key=_SEVERITY.index, default=ParityStatus.UNDECIDED)
    held = [s.guards_verdict for s in suites if s.guards_verdict is not None]
    return DeploymentParity(
        status=status,
        verdict=Verdict.worst([_VERDICTS[status], *held]),
        sentence=parity_sentence(status, suites, done),
        step=done,
        suites=suites,
    )


def compare_again(run: ScoredRun, stored: DeploymentParity) -> DeploymentParity:
    """Compare a stored run again; predictions are taken as stored."""
    divergence = {
        suite.name: suite.divergence for suite in stored.suites if suite.divergence is not None
    }
    evidence = ParityEvidence(answer_agreement(run.cells), divergence)
    return compare_shipped(run.manifest, run.cases, run.scores, evidence, looks=run.looks)


def _guards_only(manifest: Manifest) -> Manifest:
    """Return the manifest without goals: equivalence to tuned carries its gains over."""
    # Filters and drafts are reported once, by the verdict on tuned.
    suites = []
    for suite in manifest.suites:
        known = {m.name for m in suite.metrics if not m.compares_pairs}
        gates = (g for g in suite.gates if g.metric in known and g.against is None)
        kept = (gate_kind(gate.kind).on_deployment(gate) for gate in gates)
        guards = tuple(gate for gate in kept if gate is not None)
        metrics = tuple(metric.on_other_arms() for metric in suite.metrics)
        suites.append(suite.model_copy(update={"gates": guards, "metrics": metrics}))
    arms = {**manifest.arms, "tuned": manifest.arms.get(SHIPPED, {})}
    return manifest.model_copy(
        update={"arms": arms, "suites": tuple(suites), "filtered": (), "draft": False}
    )


def _guards(
    manifest: Manifest, tables: Sequence[ScoreTable], scores: Iterable[ScoreRow]
) -> dict[str, tuple[tuple[GateResult, ...], Verdict | None]]:
    """Return suite → how shipped's guardrails end, and the verdict of those that count."""
    measured = {row.suite for row in scores if row.arm == "base"}
    tables = [
        replace(table.with_arms(_GUARD_PLACES), judged_arm=SHIPPED)
        for table in tables
        if table.suite.name in measured
    ]
    ended = {result.name: result for result in suite_results(manifest, tables)}
    return {
        suite.name: (
            tuple(
                gate.model_copy(update={"sentence": f"shipped: {gate.sentence}"})
                for gate in (result.gates if result else ())
            ),
            result.verdict if result and any(not g.advisory for g in result.gates) else None,
        )
        for suite in manifest.suites
        for result in [ended.get(suite.name)]
    }


def _compare_metrics(
    manifest: Manifest, whole: Sequence[ScoreTable]
) -> dict[str, tuple[MetricParity, ...]]:
    """Return suite → its metrics, shipped compared with tuned."""
    places = {"tuned": "base", SHIPPED: "tuned"}
    tables = {table.suite.name: table.with_arms(places) for table in whole}
    found = {
        (name, metric.name, tag): _equivalence(manifest, table, metric.on_other_arms(), tag)
        for name, table in tables.items()
        for metric in table.suite.metrics
        if metric.needs not in ALONE and not metric.compares_pairs
        for tag in dict.fromkeys(g.tag for g in table.suite.gates if g.metric == metric.name)
    }
    counted = {
        key: e for key, e in found.items() if not _advisory(tables[key[0]].on_tag(key[2]), e)
    }
    beyond = proven_beyond(counted)
    before = {table.suite.name: table for table in whole}
    made: dict[str, list[MetricParity]] = {name: [] for name in tables}
    for key, equivalence in found.items():
        name, _, tag = key
        noise = before[name].on_tag(tag).noise(equivalence.pairs.metric)
        is_beyond = key in beyond and equivalence.clears(noise)
        made[name].append(_metric(tables[name], equivalence, tag, beyond=is_beyond))
    return {name: tuple(metrics) for name, metrics in made.items()}


def _advisory(table: ScoreTable, found: EquivalencePairs) -> bool:
    """Return whether a metric is advisory: too few cases, or a judge's."""
    if found.pairs.metric.advisory:
        return True

    def is_advisory(pairs: Pairs) -> bool:
        return pairs.advisory and pairs.before_scores().advisory

    return is_advisory(found.pairs) and not table.lacks_scores(found.pairs, is_advisory)


def _equivalence(
    manifest: Manifest, table: ScoreTable, metric: MetricRecord, tag: str | None
) -> EquivalencePairs:
    gate = next(g for g in table.suite.gates if (g.metric, g.tag) == (metric.name, tag))
    level = at_attempt(gate, table.suite, manifest.attempts).confidence
    pairs = table.on_tag(tag).pairs(metric)
    return EquivalencePairs(pairs, margin_of(table.suite, metric, tag), level)


def _metric(
    table: ScoreTable, found: EquivalencePairs, tag: str | None, *, beyond: bool
) -> MetricParity:
    """Return the record of one metric, on all cases or those of a tag."""
    table = table.on_tag(tag)
    pairs, metric = found.pairs, found.pairs.metric
    missing = {arm: len(table.unscored(metric.name, arm)) for arm in ARMS}
    status = _status(table, found, missing, beyond=beyond)
    delta, known = Delta(pairs, found.confidence), pairs.n > 0
    low, high = found.interval
    bounded = known and math.isfinite(low)
    result = MetricParity(
        metric=metric.name,
        tag=tag,
        status=status,
        sentence="",
        higher_is_better=metric.higher_is_better,
        rate=metric.is_rate,
        tuned=delta.base if known else None,
        shipped=delta.tuned if known else None,
        delta=delta.estimate if known else None,
        low=low if bounded else None,
        high=high if bounded else None,
        confidence=found.confidence,
        method=delta.oriented.method,
        margin=found.margin.value,
        margin_from=found.margin.source,
        n=pairs.n,
        needed_n=found.needed if status is ParityStatus.UNDECIDED else None,
        advisory=_advisory(table, found),
    )
    named = result.model_copy(update={"metric": gate_subject(metric.name, tag)})
    return result.model_copy(update={"sentence": metric_sentence(named, missing)})


def _status(
    table: ScoreTable, found: EquivalencePairs, missing: Mapping[str, int], *, beyond: bool
) -> ParityStatus:
    """Return how a metric ends, unscored cases considered."""
    asked = len(table.asked(found.pairs.metric.name))
    if max(missing.values()) > table.suite.max_unscored * asked * (1 + 1e-9):
        return ParityStatus.ERROR
    if found.pairs.advisory and not _advisory(table, found):
        return ParityStatus.UNDECIDED
    status = found.status(beyond=beyond)
    if status is ParityStatus.EQUIVALENT and any(missing.values()):
        if found.pairs.metric.range is None:  # nothing bounds the unscored cases
            return ParityStatus.UNDECIDED
        # A difference either way ends equivalence, so it must survive both extremes.
        extremes = [table.imputed(found.pairs.metric, best=best) for best in (False, True)]
        within = all(replace(found, pairs=pairs).within for pairs in extremes)
        return status if within else ParityStatus.UNDECIDED
    if status is ParityStatus.NOT_EQUIVALENT and any(missing.values()):
        nearer = table.imputed(found.pairs.metric, best=found.pairs.estimate < 0)
        survives = proven_beyond({("", ""): replace(found, pairs=nearer)})
        return status if survives else ParityStatus.UNDECIDED
    return status


def _suite(
    table: ScoreTable,
    metrics: tuple[MetricParity, ...],
    guards: tuple[tuple[GateResult, ...], Verdict | None],
    evidence: ParityEvidence,
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
