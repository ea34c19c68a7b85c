"""Deployment parity: whether a merged, quantised or served form is equivalent to tuned.

With a shipped arm SHIP requires three more things: on every gated metric shipped is proven
equivalent to tuned within a margin, its own gates except goals hold against base, and neither hangs
on unscored cases. A difference beyond the margin blocks, even a better one: then what ships is
another model than the one that was judged, and can be judged as tuned. Measured times are no matter
of equivalence; a suite's own rules on them are applied to shipped as they are.

The comparison takes all cases of a suite, also of one that ended early for base and tuned: it is no
part of the looks, and its level is that of one test at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from tunegate.harness.comparison.delta import Delta
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.contracts.further_arm import BASE_AGAIN, SHIPPED
from tunegate.harness.contracts.quantity import parity_format
from tunegate.harness.decision.gating.equivalence import (
    EquivalencePairs,
    answer_agreement,
    margin_of,
    proven_beyond,
)
from tunegate.harness.decision.gating.error_control import at_attempt
from tunegate.harness.decision.score_table import ScoreTable, tables_of
from tunegate.harness.decision.verdict.decide import ScoredRun, suite_results
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.gate_results import GateResult, GateStatus
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
from tunegate.harness.records.wording import count_noun

PAIR = ("tuned", SHIPPED)

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
    guards = _guards(guarded, [_table_of_arms(t, tuned=SHIPPED) for t in at_looks], scores)
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
        sentence=run_sentence(status, suites, done),
        step=done,
        suites=suites,
    )


def compare_again(run: ScoredRun, stored: DeploymentParity) -> DeploymentParity:
    """Compare a stored run again from its scores and answers; predictions are taken as stored."""
    divergence = {
        suite.name: suite.divergence for suite in stored.suites if suite.divergence is not None
    }
    evidence = ParityEvidence(answer_agreement(run.cells), divergence)
    return compare_shipped(run.manifest, run.cases, run.scores, evidence, looks=run.looks)


def _table_of_arms(table: ScoreTable, *, base: str = "base", tuned: str = "tuned") -> ScoreTable:
    """Return a table in which the arms named are in the places of base and tuned."""
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

    Whether the run judges all that was asked is reported once, by the verdict on tuned.
    """
    suites = []
    for suite in manifest.suites:
        known = {m.name for m in suite.metrics if _scores_one_arm(m)}
        gates = (g for g in suite.gates if g.metric in known)
        kept = (gate_kind(gate.kind).on_deployment(gate) for gate in gates)
        guards = tuple(gate for gate in kept if gate is not None)
        metrics = tuple(metric.on_other_arms() for metric in suite.metrics)
        suites.append(suite.model_copy(update={"gates": guards, "metrics": metrics}))
    arms = {**manifest.arms, "tuned": manifest.arms.get(SHIPPED, {})}
    return manifest.model_copy(
        update={"arms": arms, "suites": tuple(suites), "filtered": (), "draft": False}
    )


def _scores_one_arm(metric: MetricRecord) -> bool:
    """Return whether an arm has scores of its own: judges of pairs see base and tuned only."""
    return metric.judge is None or not metric.judge.pairs


def _guards(
    manifest: Manifest, tables: Sequence[ScoreTable], scores: Iterable[ScoreRow]
) -> dict[str, tuple[tuple[GateResult, ...], Verdict | None]]:
    """Return suite → how shipped's guards end, and what they alone decide; None without any."""
    measured = {row.suite for row in scores if row.arm == "base"}
    tables = [t for t in tables if t.suite.name in measured]
    ended = {result.name: result for result in suite_results(manifest, tables)}
    return {
        suite.name: (
            tuple(shipped_gate(gate) for gate in result.gates) if result else (),
            result.verdict if result and any(not g.advisory for g in result.gates) else None,
        )
        for suite in manifest.suites
        for result in [ended.get(suite.name)]
    }


def _compare_metrics(
    manifest: Manifest, whole: Sequence[ScoreTable]
) -> dict[str, tuple[MetricParity, ...]]:
    """Return suite → its metrics, tuned's against shipped's."""
    tables = {
        table.suite.name: _table_of_arms(table, base="tuned", tuned=SHIPPED) for table in whole
    }
    found = {
        (name, metric.name, tag): _equivalence(manifest, table, metric.on_other_arms(), tag)
        for name, table in tables.items()
        for metric in table.suite.metrics
        if metric.needs is not CellKind.LATENCY and _scores_one_arm(metric)
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
    """Return whether a metric is only shown: too few cases for it, or a judge's."""
    if found.pairs.metric.advisory:
        return True
    return found.pairs.advisory and not _lacks_scores(table, found)


def _lacks_scores(table: ScoreTable, found: EquivalencePairs) -> bool:
    """Return whether a metric counts, though too few of its cases have scores."""
    return table.lacks_scores(found.pairs, lambda pairs: pairs.advisory)


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
    """Put one metric on record, on all cases or on those of a tag."""
    table = table.on_tag(tag)
    pairs, metric = found.pairs, found.pairs.metric
    missing = {arm: len(table.unscored(metric.name, arm)) for arm in ("base", "tuned")}
    status = _status(table, found, missing, beyond=beyond)
    delta, known = Delta(pairs, found.confidence), pairs.n > 0
    bounded = known and abs(delta.low) != float("inf")
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
        low=delta.low if bounded else None,
        high=delta.high if bounded else None,
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
    """Return how a metric ends: an error if too much is unscored, undecided if it hangs on it."""
    asked = len(table.asked(found.pairs.metric.name))
    if max(missing.values()) > table.suite.max_unscored * asked * (1 + 1e-9):
        return ParityStatus.ERROR
    if _lacks_scores(table, found):
        return ParityStatus.UNDECIDED
    status = found.status(beyond=beyond)
    if status is ParityStatus.EQUIVALENT and any(missing.values()):
        if found.pairs.metric.range is None:  # nothing bounds what the unscored cases lost
            return ParityStatus.UNDECIDED
        # A difference either way ends equivalence, so that it must survive both extremes.
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


NOTHING = "no step that the identities show"


def deployment_step(tuned: Mapping[str, Any], shipped: Mapping[str, Any]) -> str:
    """Return what was done to the fine-tune before it ships, in words.

    Args:
        tuned: Identity of the arm that was judged.
        shipped: Identity of the artifact.
    """
    return ", ".join(dict.fromkeys(_steps(tuned, shipped))) or NOTHING


def _steps(tuned: Mapping[str, Any], shipped: Mapping[str, Any]) -> Iterator[str]:
    if tuned.get("adapter_sha256") and not shipped.get("adapter_sha256"):
        yield "the adapter merged into the weights"
    if shipped.get("stored") and shipped["stored"] != tuned.get("stored"):
        yield f"the weights stored as {stored_formats(shipped['stored'])}"
    backend = shipped.get("backend")
    same = shipped.get("engine") is not None and shipped["engine"] == tuned.get("engine")
    if backend and backend != tuned.get("backend") and not same:
        yield f"answers by {_words(backend, shipped)}"
    if shipped.get("dtype") and shipped["dtype"] != tuned.get("dtype"):
        yield f"computed in {shipped['dtype']}"
    for key, what in (("tokenizer_sha256", "tokenizer"), ("template_sha256", "chat template")):
        if shipped.get(key) and tuned.get(key) and shipped[key] != tuned[key]:
            yield f"another {what}"


def stored_formats(value: Any) -> str:
    """Return how weights are stored, the commonest format first: `Q8_0 and F32`."""
    if isinstance(value, Mapping):
        ordered = sorted(value, key=lambda name: (-int(value[name]), str(name)))
        return " and ".join(map(str, ordered))
    return str(value)


def _words(backend: Any, identity: Mapping[str, Any]) -> str:
    engine = identity.get("engine")
    return f"{backend} ({engine})" if engine and backend != "hf" else str(backend)


_PLACES = {"base": "tuned", "tuned": "shipped"}
"""The places of base and tuned, and which arms are there where tuned is compared with shipped."""


def metric_sentence(found: MetricParity, missing: Mapping[str, int]) -> str:
    """Return what was measured on tuned and shipped, and what follows.

    Args:
        found: The outcome.
        missing: Place of an arm → its unscored cases.
    """
    if found.status is ParityStatus.ERROR:
        place, count = max(missing.items(), key=lambda item: item[1])
        verb = "is" if count == 1 else "are"
        return f"{found.metric}: {count_noun(count, 'case')} of {_PLACES[place]} {verb} unscored"
    if not found.n:
        return f"{found.metric}: no case has a score in both arms"
    return f"{_measurement_sentence(found)}: {_conclusion(found, any(missing.values()))}"


def _measurement_sentence(found: MetricParity) -> str:
    how, cases = parity_format(found), count_noun(found.n, "case")
    interval = how.interval(found.low, found.high, found.confidence, sign=True)
    if found.delta == 0:
        return f"{found.metric} is {how.level(found.tuned)} in both{interval} on {cases}"
    return (
        f"{found.metric} is {how.level(found.tuned)} tuned and {how.level(found.shipped)} "
        f"shipped, a change of {how.difference(found.delta)}{interval} on {cases}"
    )


def _conclusion(found: MetricParity, unscored: bool) -> str:
    margin = f"±{parity_format(found).margin(found.margin)}"
    margin += f" ({found.margin_from})"
    if found.status is ParityStatus.EQUIVALENT:
        return f"within {margin}"
    if found.status is ParityStatus.NOT_EQUIVALENT:
        return f"beyond {margin}"
    if found.needed_n is None:
        return f"neither within nor beyond {margin} by proof"
    if found.needed_n <= found.n and unscored:
        return f"within {margin} on the scored cases, but not if the unscored ones went wrong"
    return (
        f"neither within nor beyond {margin} by proof; about {found.needed_n} cases would decide "
        "it in 4 of 5 runs"
    )


def shipped_gate(gate: GateResult) -> GateResult:
    """Return a gate that was judged with shipped in tuned's place, with a sentence on that."""
    sentence = gate.sentence.replace(" of tuned ", " of shipped ")
    return gate.model_copy(update={"sentence": f"shipped: {sentence}"})


def run_sentence(status: ParityStatus, suites: Sequence[SuiteParity], step: str) -> str:
    """Return the sentence that decided whether shipped may go out, naming the lossy step."""
    worst = Verdict.worst([s.guards_verdict for s in suites if s.guards_verdict] or [Verdict.SHIP])
    if status is ParityStatus.ERROR:
        return f"{_first(suites, status)}, too many to compare it with tuned"
    if status is ParityStatus.NOT_EQUIVALENT:
        return (
            f"what ships is not equivalent to tuned: {_first(suites, status)}; between them: {step}"
        )
    if worst in (Verdict.BLOCK, Verdict.ERROR):
        return f"{_guard(suites, worst)}; between tuned and shipped: {step}"
    if status is ParityStatus.UNDECIDED:
        return (
            f"whether what ships is equivalent to tuned is undecided: {_first(suites, status)}; "
            f"between them: {step}"
        )
    if worst is Verdict.UNDECIDED:
        return f"{_guard(suites, worst)}; between tuned and shipped: {step}"
    metrics = count_noun(sum(not m.advisory for s in suites for m in s.metrics), "gated metric")
    return f"what ships is equivalent to tuned on {metrics} ({step})"


def _first(suites: Sequence[SuiteParity], status: ParityStatus) -> str:
    """Return the first metric that ended so; the largest change of them speaks first."""
    found = [
        (suite, metric)
        for suite in suites
        for metric in suite.metrics
        if metric.status is status and not metric.advisory
    ]
    if not found:
        return "no suite has a gated metric to compare them by"
    suite, metric = found[0]
    more = len(found) - 1
    tail = f" (and {more} more of the gated metrics)" if more else ""
    return f"{suite.name}: {metric.sentence}{tail}"


def _guard(suites: Sequence[SuiteParity], verdict: Verdict) -> str:
    """Return the guard of shipped that led to a verdict."""
    return next(
        iter(_deciding_guards(suites, verdict)), f"shipped: its guards end in {verdict.value}"
    )


def _deciding_guards(suites: Sequence[SuiteParity], verdict: Verdict) -> Iterator[str]:
    decisive = {
        Verdict.BLOCK: GateStatus.FAIL,
        Verdict.ERROR: GateStatus.ERROR,
        Verdict.UNDECIDED: GateStatus.UNDECIDED,
    }[verdict]
    for suite in suites:
        for gate in suite.guards:
            if gate.status is decisive and not gate.advisory:
                yield f"{suite.name}: {gate.sentence}"
