"""Gates that stay advisory whatever the scores, for lack of cases, labels or a measurement."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from tunegate.harness.comparison.corpus_level import LEAST, few_for_corpus
from tunegate.harness.comparison.estimator import LEAST_UNBOUNDED, few_without_range
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.contracts.metric import CONTENT_GAP, HINT, Metric
from tunegate.harness.decision.planning.gate_cases import cluster_count, count_asked, prompts_on
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.calibration import LEAST_PAIRS
from tunegate.harness.records.manifest import Gate, MetricRecord
from tunegate.harness.suite.suite import Suite


def is_advisory(suite: Suite, gate: Gate) -> bool:
    """Return whether the gate is advisory, for lack of cases or because its metric only hints."""
    return bool(_why_advisory(suite, gate))


def _why_advisory(suite: Suite, gate: Gate) -> str:
    """Return why the gate is advisory; "" if it counts."""
    metric, kind = suite.metric(gate.metric), gate_kind(gate.kind)
    if metric.indicative:
        return HINT
    n = count_asked(suite, metric, gate.tag)
    if kind.counts_cases or metric.binary:
        return ""
    if metric.corpus is not None and n < LEAST:
        return few_for_corpus(n)
    if not rests_on_unbounded_scores(suite, gate):
        return ""
    return few_without_range(min(n, cluster_count(prompts_on(suite, gate.tag)) or n))


def rests_on_unbounded_scores(suite: Suite, gate: Gate) -> bool:
    """Return whether no range bounds the differences behind the gate's interval."""
    metric, kind = suite.metric(gate.metric), gate_kind(gate.kind)
    if kind.counts_cases or metric.bound is not None or _may_be_binary(metric):
        return False
    if not (metric.corpus or kind.rests_on_interval(gate)):
        return False
    record = MetricRecord(
        name=metric.name,
        use=metric.name,
        needs=metric.needs,
        higher_is_better=metric.higher_is_better,
        range=None,
        binary=False,
    )
    probe = Pairs(suite.name, record, (2.0, 2.0), (2.0, 2.0))
    return not kind.judged_pairs(gate, probe).pairs.in_logarithms


def _may_be_binary(metric: Metric) -> bool:
    """Return whether a metric without a range may turn out to score only 0 and 1."""
    return (
        metric.bound is None
        and metric.corpus is None
        and metric.higher_is_better
        and metric.needs is CellKind.GENERATE
    )


def silent_goals(suite: Suite) -> Iterator[str]:
    """Yield the goals that the suite needs, if all of them are advisory."""
    goals = [gate for gate in suite.gates if gate_kind(gate.kind).is_goal]
    needed = goals
    if suite.goal_rule == "primary":
        needed = [goal for goal in goals if goal.rule_id == goals[0].rule_id]
    if all(is_advisory(suite, gate) for gate in needed):
        for gate in needed:
            key = gate_kind(gate.kind).margin_key(gate)
            why = f"{gate.subject}: {_why_advisory(suite, gate)}"
            yield f"{gate.where}: {key}={gate.margin} is advisory; {why}"


def silent_parts(suite: Suite) -> Iterator[str]:
    """Yield the gates that stay open because they cannot count, unlike others of their rule."""
    counting = {g.rule_id for g in suite.gates if g.every and not is_advisory(suite, g)}
    for gate in suite.gates:
        if gate.rule_id in counting and (why := _why_advisory(suite, gate)):
            key = gate_kind(gate.kind).margin_key(gate)
            yield f"{gate.where}: {key}={gate.margin} stays undecided; {gate.subject}: {why}"


def content_gap(suite: Suite) -> Iterator[str]:
    """Yield why replayed traffic cannot ship if no gate judges what the answers say."""
    judged = suite.content_metrics
    if judged is not None and not any(gate.metric in judged for gate in suite.gates):
        yield CONTENT_GAP


ANY_ARM = "an incumbent, or an artifact that ships,"
"""What tuned may be compared with besides base, if no run is known."""


def advisory_notes(suite: Suite, arms: Collection[str] = (ANY_ARM,)) -> Iterator[str]:
    """Yield the gates that stay advisory whatever the scores, and why."""
    yield from content_gap(suite)
    found = ((gate.subject, _why_advisory(suite, gate)) for gate in suite.gates)
    yield from dict.fromkeys(f"{subject}: {why}" for subject, why in found if why)
    for metric in suite.gated_metrics:
        if _may_be_binary(metric) and len(suite.plain_cases) < LEAST_UNBOUNDED:
            yield (
                f"{metric.name}: declares no range: below {LEAST_UNBOUNDED} cases its gates stay "
                "undecided unless all scores are 0 or 1; else set range = [least, largest] on the "
                "metric"
            )
    yield from _judge_notes(suite, arms)


def _judge_notes(suite: Suite, arms: Collection[str]) -> Iterator[str]:
    """Yield which gates on a judge are advisory even if the judge is calibrated."""
    judges = {metric.name: metric.judge for metric in suite.gated_metrics if metric.judge}
    tagged = (g.subject for g in suite.gates if g.metric in judges and g.tag is not None)
    for subject in dict.fromkeys(tagged):
        yield (
            f"{subject}: a calibration covers all cases, so a judge's gate on a tag is advisory: "
            f"label {LEAST_PAIRS} pairs of the tag in the run (tunegate judge label)"
        )
    compared = [name for name, judge in judges.items() if not judge.pairs]
    for arm in arms if compared else ():
        yield (
            f"{', '.join(compared)}: compared with {arm} a judge's gate is advisory: people "
            "labelled only answers of base and tuned"
        )
