"""Deciding all gates of a run together, which share the error of regressions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tunegate.harness.comparison.delta import Delta, one_sided
from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.comparison.labelled_level import n_labelled
from tunegate.harness.comparison.noise_floor import NoiseFloor
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.contracts import lookup
from tunegate.harness.decision.gating.attempts import at_attempt, extension_level
from tunegate.harness.decision.gating.every_value import count_together
from tunegate.harness.decision.gating.judge_eligibility import (
    RULE,
    EligibilityStatus,
    JudgeEligibility,
    calibrated_pairs,
    judge_eligibility,
)
from tunegate.harness.decision.gating.proven_regressions import ProvenRegressions
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.gates.contract.gate_kind import GateKind
from tunegate.harness.gates.contract.outcome import DecisionContext, GateOutcome
from tunegate.harness.gates.contract.registry import PACKAGE, gate_kind
from tunegate.harness.gates.contract.sentences import gate_sentence, missing_evidence
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.calibration import LEAST_PAIRS
from tunegate.harness.records.errors import TunegateError, UsageError
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import Gate, Manifest, MetricRecord
from tunegate.harness.records.wording import count_noun


@dataclass(frozen=True, slots=True)
class _GateInput:
    """A gate and the evidence for it."""

    table: ScoreTable
    """The scores of the gate's cases: all of its suite, or those of its tag."""
    gate: Gate
    pairs: Pairs
    eligibility: JudgeEligibility
    lacks_scores: bool = False
    """Whether only missing scores make it advisory."""

    @property
    def counts(self) -> bool:
        """Whether its judge lets it take part in the verdict."""
        return self.eligibility.counts or self.lacks_scores

    @property
    def hypothesis(self) -> tuple[str, str]:
        """Sample and claim that a proof would refute."""
        return sample_name(self.table.suite.name, self.gate.tag), _claim(self.gate)


def _claim(gate: Gate) -> str:
    """Return what is tested: that the metric is no worse than base, or the gate's own bound."""
    if not gate_kind(gate.kind).tests_difference:
        return gate.id
    return gate.metric if gate.against is None else f"{gate.metric}@{gate.against}"


def sample_name(suite: str, tag: str | None) -> str:
    """Return the name of a gate's cases: `suite`, or `suite[tag]` for a slice."""
    return suite if tag is None else f"{suite}[{tag}]"


class ImputationCase(StrEnum):
    """Treatment of unscored cases."""

    NONE = "none"
    """They are left out."""
    WORST = "worst"
    """They went worst for tuned and best for base."""
    BEST = "best"
    """They went best for tuned and worst for base."""


def decide_gates(
    manifest: Manifest,
    tables: Sequence[ScoreTable],
    imputation: ImputationCase = ImputationCase.NONE,
) -> dict[str, tuple[GateResult, ...]]:
    """Decide the gates of suites, on complete pairs or with unscored cases imputed."""
    inputs = _gate_inputs(tables, imputation)
    counted = _proven_regressions(manifest, tables, [a for a in inputs if a.counts])
    # Advisory gates must not make it harder to claim a regression that counts.
    shown = _proven_regressions(manifest, tables, [a for a in inputs if not a.counts])
    results: dict[str, list[GateResult]] = {table.suite.name: [] for table in tables}
    for gate_input in inputs:
        results[gate_input.table.suite.name].append(
            _decide_input(manifest, gate_input, counted if gate_input.counts else shown)
        )
    return {suite: count_together(gates) for suite, gates in results.items()}


def decide_gate(  # noqa: PLR0913 - each is evidence for the gate
    gate: Gate,
    pairs: Pairs,
    *,
    regressed: bool,
    noise: NoiseFloor | None = None,
    remaining: int = 0,
    planned_confidence: float | None = None,
    parts: int = 1,
) -> GateResult:
    """Decide one gate.

    Args:
        gate: The rule.
        pairs: The complete pairs of its metric.
        regressed: Whether a loss, or a broken bound, is proven after adjustment over all gates of
            the run.
        noise: Base against itself asked again, which gains and regressions must clear; None if
            arithmetic is exact.
        remaining: Cases not asked.
        planned_confidence: Level at which further cases are judged, if not the gate's own.
        parts: Gates of its rule: more than one on every value of a key.
    """
    context = DecisionContext(regressed, noise, remaining, planned_confidence, parts)
    try:
        return _decide_by_kind(gate, pairs, context)
    except TunegateError:
        raise
    except (Exception, SystemExit) as error:
        # A plugin may raise anything.
        problem = lookup.plugin_failure(PACKAGE, gate.kind, error)
        if problem is None:
            raise
        raise UsageError(f"{gate.where or gate.id}: {problem}") from error


def _decide_by_kind(gate: Gate, pairs: Pairs, context: DecisionContext) -> GateResult:
    kind, delta = gate_kind(gate.kind), Delta(pairs, gate.confidence)
    outcome = kind.decide(gate, pairs, context)
    result = GateResult(
        metric=gate.metric,
        label=pairs.metric.label,
        tag=gate.tag,
        every=gate.every,
        against=gate.against,
        kind=gate.kind,
        status=outcome.status,
        reason=outcome.reason or _passes_with_loss(kind, outcome.status, delta),
        sentence="",
        higher_is_better=pairs.metric.higher_is_better,
        rate=pairs.metric.is_rate,
        base=delta.base if pairs.n else None,
        tuned=delta.tuned if pairs.n else None,
        delta=delta.estimate if pairs.n else None,
        estimate=_finite(outcome.estimate),
        low=_finite(outcome.low),
        high=_finite(outcome.high),
        confidence=gate.confidence,
        method=outcome.method,
        margin=gate.margin,
        options=gate.options,
        p_value=_finite(outcome.p_value),
        n=pairs.n,
        **(_noise_fields(context.noise, gate, pairs) if kind.tests_difference else {}),
        **_kind_facts(outcome),
        needed_n=outcome.needed_n,
        needed_most=outcome.needed_most,
        advisory=bool(why := why_advisory(gate, pairs)),
    )
    if not why and (scores := _why_too_few(gate, pairs)):
        return _as_undecided(result, scores)
    # Sentences begin with the metric's name.
    named = result.model_copy(update={"metric": result.subject})
    sentence = gate_sentence(named, pairs, context.remaining)
    underpowered = result.reason is GateReason.UNDERPOWERED
    missing = missing_evidence(named, pairs) if underpowered else None
    if why:
        sentence = f"{sentence} ({why})"
    return result.model_copy(update={"sentence": sentence, "missing": missing})


def _passes_with_loss(kind: GateKind, status: GateStatus, delta: Delta) -> GateReason | None:
    """Return the reason of a gate that holds although tuned is proven worse than base."""
    # Levels, ratios and counts of drops do not test the difference themselves.
    may_hide_loss = (
        status is GateStatus.PASS and not kind.tests_difference and not delta.pairs.too_few
    )
    return GateReason.PASS_WITH_LOSS if may_hide_loss and delta.oriented.high < 0 else None


def why_advisory(gate: Gate, pairs: Pairs) -> str:
    """Return why there were too few cases for the gate to count before a score was known.

    Scores never make a gate advisory: one that cannot prove because of them is undecided.
    """
    return _why_too_few(gate, pairs) and _why_too_few(gate, pairs.before_scores())


def _as_undecided(
    result: GateResult, why: str, reason: GateReason = GateReason.UNDERPOWERED
) -> GateResult:
    """Mark a gate undecided: unsuitable evidence."""
    return result.model_copy(
        update={
            "status": GateStatus.UNDECIDED,
            "reason": reason,
            "sentence": f"{result.subject}: {why}",
            "missing": why,
            "advisory": False,
            "needed_n": None,
            "needed_most": None,
        }
    )


def _why_too_few(gate: Gate, pairs: Pairs) -> str:
    """Return why there are too few cases for such scores, on the gate's own scale."""
    kind = gate_kind(gate.kind)
    # An observed level needs no interval, unless it is a corpus value.
    if kind.counts_cases or not (kind.rests_on_interval(gate) or pairs.corpus is not None):
        return ""
    return kind.judged_pairs(gate, pairs).pairs.why_advisory


def _noise_fields(noise: NoiseFloor | None, gate: Gate, pairs: Pairs) -> dict[str, Any]:
    """Return the fields on the A/A comparison, as base again − base."""
    if noise is None:
        return {}
    largest = max(map(abs, pairs.differences), default=math.inf)
    interval = noise.interval(gate.confidence, largest=largest)
    ends = (
        (interval.low, interval.high)
        if pairs.metric.higher_is_better
        else (-interval.high, -interval.low)
    )
    return {
        "noise": noise.size,
        "noise_n": noise.pairs.n,
        "noise_low": _finite(ends[0]),
        "noise_high": _finite(ends[1]),
    }


_FACT_FIELDS = ("drop", "share")
"""Facts with their own fields in records; others go to `facts`."""


def _kind_facts(outcome: GateOutcome) -> dict[str, Any]:
    """Return the facts that only the gate's kind knows, as fields."""
    facts = {name: _finite(value) for name, value in outcome.facts.items()}
    stored = {name: facts.pop(name) for name in _FACT_FIELDS if name in facts}
    return {**stored, "facts": facts}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _gate_inputs(tables: Sequence[ScoreTable], imputation: ImputationCase) -> list[_GateInput]:
    cache: dict[tuple[str, str, str, str], Pairs] = {}
    inputs = []
    for table in tables:
        for gate in table.suite.gates:
            part = table.of_gate(gate)
            imputed_kind = gate.kind if imputation is not ImputationCase.NONE else ""
            sample = sample_name(table.suite.name, gate.tag)
            key = (sample, gate.metric, imputed_kind, gate.against or "")
            pairs = cache[key] = cache.get(key) or _pairs(part, gate, imputation)
            inputs.append(_add_eligibility(part, gate, pairs))
    return inputs


def _add_eligibility(table: ScoreTable, gate: Gate, pairs: Pairs) -> _GateInput:
    judge, lacks = RULE, table.lacks_scores(pairs, lambda of: bool(why_advisory(gate, of)))
    if pairs.metric.indicative:
        judge, lacks = judge_eligibility(gate, pairs), False
    elif pairs.metric.judge is not None:
        # Eligibility depends on observed scores, not on imputed ones.
        observed = table.labelled(table.pairs(pairs.metric))
        judge = judge_eligibility(gate, observed, table.answers.hashes)
        lacks = lacks or _lacks_labels(table, gate, observed)
    if judge.status is EligibilityStatus.CORRECTED:
        pairs = table.labelled(pairs)
    elif judge.status is EligibilityStatus.CALIBRATED:
        pairs = calibrated_pairs(pairs)
    return _GateInput(table, gate, pairs, judge, lacks)


def _lacks_labels(table: ScoreTable, gate: Gate, observed: Pairs) -> bool:
    """Return whether a judge's gate is advisory because labelled answers have no score."""
    if observed.n and n_labelled(observed.labels) >= LEAST_PAIRS:
        return False

    def is_shown_only(pairs: Pairs) -> bool:
        labelled = table.labelled(pairs)
        return not judge_eligibility(gate, labelled, table.answers.hashes).counts

    return table.lacks_scores(observed, is_shown_only)


def _proven_regressions(
    manifest: Manifest, tables: Sequence[ScoreTable], inputs: Sequence[_GateInput]
) -> ProvenRegressions:
    looks = {t.suite.name: t.look for t in tables if t.look is not None}
    looks |= {a.hypothesis[0]: a.table.look for a in inputs if a.table.look is not None}
    family = {
        a.hypothesis: None if a.pairs.too_few else kind.refutation(a.gate, a.pairs)
        for a in inputs
        if (kind := gate_kind(a.gate.kind)).refutes(a.gate)
    }
    whole = any(a.eligibility.counts for a in inputs)
    return ProvenRegressions(
        family, looks=looks, compared=_family_size(manifest) if whole else None
    )


def _family_size(manifest: Manifest) -> int:
    """Return how many claims a proof may refute in the run: the size of Holm's family."""
    return len(
        {
            (suite.name, _claim(gate), gate.tag)
            for suite in manifest.suites
            for metric in suite.metrics
            for gate in suite.gates
            if gate.metric == metric.name
            and gate_kind(gate.kind).refutes(gate)
            and not (metric if gate.against is None else metric.on_other_arms()).advisory
        }
    )


def _decide_input(
    manifest: Manifest, gate_input: _GateInput, regressions: ProvenRegressions
) -> GateResult:
    table, gate, pairs = gate_input.table, gate_input.gate, gate_input.pairs
    eligibility = gate_input.eligibility
    level = at_attempt(gate, table.suite, manifest.attempts)
    result = decide_gate(
        _gate_at_level(gate, table, manifest.attempts),
        pairs,
        regressed=regressions.proven(*gate_input.hypothesis, one_sided(level.confidence)),
        noise=table.noise(pairs.metric),
        remaining=table.remaining,
        planned_confidence=_planned_confidence(gate, table, manifest.attempts),
        parts=sum(other.rule_id == gate.rule_id for other in table.suite.gates),
    )
    if table.look is None and table.unseen:
        # A slice has no look until enough of its cases were asked.
        open_ = f"{gate.subject}: not judged yet: too few cases of the tag were asked so far"
        result = result.model_copy(update={"sentence": open_})
    if gate_input.lacks_scores:
        result = _open_for_scores(result, len(table.asked(gate.metric)))
    if pairs.metric.votes and not pairs.n:
        result = _as_undecided(result, "the votes are not in", GateReason.NOT_VOTED)
    if compares_recorded_times(manifest, pairs.metric, gate):
        result = result.model_copy(update={"advisory": True})
    if eligibility.status is EligibilityStatus.RULE:
        return result
    if eligibility.status is EligibilityStatus.OPEN:
        result = _as_undecided(result, eligibility.why)
    changes: dict[str, object] = {
        "advisory": result.advisory or not gate_input.counts,
        "judge_basis": eligibility.why,
    }
    if eligibility.status is EligibilityStatus.REFUSED:
        changes |= {
            "status": GateStatus.ERROR,
            "reason": GateReason.CANARY,
            "sentence": f"{gate.subject}: {eligibility.why}",
            "needed_n": None,
            "needed_most": None,
        }
    return result.model_copy(update=changes)


def _open_for_scores(result: GateResult, n_asked: int) -> GateResult:
    """Return a gate that missing scores would make advisory as undecided, and counting."""
    sentence = (
        f"{result.subject}: only {count_noun(result.n, 'case')} of {n_asked} "
        f"{'has' if result.n == 1 else 'have'} a score in both arms, too few to judge the gate by"
    )
    return result.model_copy(
        update={
            "status": GateStatus.UNDECIDED,
            "reason": GateReason.UNSCORED,
            "sentence": sentence,
            "advisory": False,
            "needed_n": None,
            "needed_most": None,
        }
    )


def compares_recorded_times(manifest: Manifest, metric: MetricRecord, gate: Gate) -> bool:
    """Return whether a gate compares times that were recorded elsewhere, for either arm.

    Such a gate is advisory: a machine that slows down between the arms looks like a slower model.
    """
    arms = (gate.against or "base", "tuned")
    recorded = any(
        manifest.arms.get(arm, {}).get("backend") in ("replay", "results") for arm in arms
    )
    timed = metric.needs is CellKind.LATENCY and not gate_kind(gate.kind).reads_level
    return recorded and timed


def _gate_at_level(gate: Gate, table: ScoreTable, attempts: Mapping[str, int]) -> Gate:
    """Return the gate at the level that its suite's attempts and look allow."""
    gate = at_attempt(gate, table.suite, attempts)
    look: InterimLook | None = table.look
    return gate if look is None else look.judged(gate, goals=_sharing_goals(gate, table))


def _planned_confidence(gate: Gate, table: ScoreTable, attempts: Mapping[str, int]) -> float:
    """Return the level of the last look at the same candidate on more cases."""
    gate = extension_level(gate, table.suite, attempts)
    look: InterimLook | None = table.look
    if look is None:
        return gate.confidence
    return look.at_the_end().judged(gate, goals=_sharing_goals(gate, table)).confidence


def _sharing_goals(gate: Gate, table: ScoreTable) -> int:
    """Return how many alternative goals share the error at a look."""
    shared = gate_kind(gate.kind).is_goal and table.suite.goal_rule == "any"
    return len({g.rule_id for g in table.suite.gates if gate_kind(g.kind).is_goal}) if shared else 1


def _pairs(table: ScoreTable, gate: Gate, imputation: ImputationCase) -> Pairs:
    metric = next(m for m in table.suite.metrics if m.name == gate.metric)
    observed = table.pairs(metric)
    if imputation is ImputationCase.NONE:
        return observed
    kind, best = gate_kind(gate.kind), imputation is ImputationCase.BEST
    fill = kind.imputation(gate, observed, best=best)
    return table.imputed(metric, level=kind.reads_level, best=best, fill=fill)
