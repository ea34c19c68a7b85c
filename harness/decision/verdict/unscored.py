"""Unscored cases: what they leave open, so that a missing score never counts as zero."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tunegate.harness.contracts.further_arm import ARMS
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.gates.contract.sentences import gate_words
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.wording import count_noun


def open_if_boundless(gate: GateResult, table: ScoreTable) -> GateResult:
    """Return a passed gate as undecided if its metric has no worst case."""
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
            and any(table.of_gate(gate).incomplete(gate.metric, arm) for arm in ARMS)
        )
    )


def open_if_unscored(gate: GateResult, at_best: GateResult, table: ScoreTable) -> GateResult:
    """Return a failed gate as undecided if the missing scores at best would change that."""
    weaker = at_best.reason is GateReason.NO_WORTHWHILE_GAIN and gate.reason is not at_best.reason
    if gate.status is not GateStatus.FAIL or (at_best.status is gate.status and not weaker):
        return gate
    named = gate.model_copy(update={"metric": gate.subject})
    part = table.of_gate(gate)
    count = len({case for arm in ARMS for case in part.incomplete(gate.metric, arm)})
    others = "unscored one" if count == 1 else count_noun(count, "unscored one")
    measured = gate_words(named, "measured", table.judged_arm)
    sentence = (
        f"{measured}: that fails {gate_words(gate, 'rule')} on the scored "
        f"cases, but not if the {others} went well"
    )
    changes = {"status": GateStatus.UNDECIDED, "reason": GateReason.UNSCORED, "sentence": sentence}
    return gate.model_copy(update=changes)


def tables_of_metrics(table: ScoreTable, gates: Sequence[GateResult]) -> dict[str, ScoreTable]:
    """Return metric → the scores of the cases that its gates are about."""
    tags: dict[str, set[str | None]] = defaultdict(set)
    for gate in gates:
        tags[gate.metric].add(gate.tag)
    return {
        metric.name: table
        if None in tags[metric.name] and not table.variants
        else replace(
            table,
            cases={
                name: case
                for name, case in {**table.cases, **table.variants}.items()
                if any(map(case.counts_for, tags[metric.name]))
            },
        )
        for metric in table.suite.metrics
        if metric.name in tags
    }


def unscored_reasons(parts: Mapping[str, ScoreTable]) -> dict[str, int]:
    """Return why cases are unscored in either arm, with counts, most common first."""
    counts: Counter[str] = Counter()
    for metric, table in parts.items():
        counts.update(table.reasons([metric], ARMS))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def error_if_over_budget(gate: GateResult, table: ScoreTable) -> GateResult | None:
    """Return the gate as an error if an arm has more unscored cases than the suite allows."""
    table = table.of_gate(gate)
    counts = {arm: table.unscored_share(gate.metric, arm) for arm in ARMS}
    arm, (count, total) = max(counts.items(), key=lambda item: item[1])
    # 0.29 * 100 is 28.999999999999996, and 29 of 100 is allowed.
    if count <= table.suite.max_unscored * total * (1 + 1e-9):
        return None
    reason = next(iter(table.reasons([gate.metric], [arm])))
    what = "case" if table.suite.episode is None else "episode"
    cases = count_noun(total, what)
    places = {"tuned": table.judged_arm, "base": gate.against or "base"}
    sentence = too_many_unscored(
        gate.subject, places[arm], count, cases, table.suite.max_unscored, reason
    )
    return gate.model_copy(
        update={
            "status": GateStatus.ERROR,
            "reason": GateReason.UNSCORED,
            "sentence": sentence,
            "needed_n": None,
            "needed_most": None,
        }
    )


def too_many_unscored(
    metric: str, arm: str, count: int, cases: str, allowed: float, reason: str
) -> str:
    """Return the sentence of a gate whose metric has too few scores."""
    verb = "is" if count == 1 else "are"
    return (
        f"{metric}: {count:,} of {cases} of {arm} {verb} unscored, more than the "
        f"{100 * allowed:g} % that the suite allows ({reason})"
    )


def unscored_sensitivity_note(suite: str, count: int, boundless: Sequence[str] = ()) -> str:
    """Return the note on gates that hold on the scored cases alone.

    `boundless` are metrics without a range that have unscored cases.
    """
    others = "unscored one" if count == 1 else count_noun(count, "unscored one")
    held = f"{suite}: the gates hold on the scored cases, but not if the {others} went wrong"
    if not boundless:
        return held
    return (
        f"{held}: {' and '.join(boundless)} has no range, so nothing bounds the loss; score "
        "them, or set range = [least, largest] on the metric"
    )
