"""Notes of a suite: what its verdict is worth, and notes that do not change the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from tunegate.harness.comparison.corpus_level import judged_once
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.decision.answer_facts.answer_counts import FEW_CASES
from tunegate.harness.decision.answer_facts.answer_notes import (
    SAME_SCORES,
    answer_notes,
    thinking_share_notes,
)
from tunegate.harness.decision.gating.attempts import attempt_note
from tunegate.harness.decision.gating.decide_all import why_advisory
from tunegate.harness.decision.gating.slice_losses import ungated_losses
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.decision.verdict.pairwise_judge_notes import comparison_notes, example_notes
from tunegate.harness.decision.verdict.timing_notes import timing_notes
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.defaults import EARLY_STOP_CASES
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.manifest import Gate, SuiteRecord, gate_subject
from tunegate.harness.records.training_card import TrainingSummary
from tunegate.harness.records.wording import count_noun

WARN_UNSCORED = 0.02
"""Largest share of unscored cases without a note."""
FEW_FOR_GOAL = 20
"""Cases below which a gain gets a note."""
FEW_UNBOUNDED = 50
"""Fewest cases for a reliable interval of an unbounded score."""
LARGE_CLUSTER = 2.0
"""A cluster is reported if it is this many times as large as those the guards allow for."""
FEW_TELLING = 10
"""Fewest clusters with differing 0/1 scores for a reliable design effect."""
COMFORTABLE_CLUSTERS = 20
"""Fewest clusters at which the interval keeps its level."""
NAMED_FLIPS = 5
"""Newly wrong questions that are named; the report lists them all."""


def suite_notes(
    table: ScoreTable,
    unscored: Mapping[str, int],
    attempts: Mapping[str, int],
    gates: Sequence[GateResult] = (),
    training: TrainingSummary | None = None,
) -> tuple[str, ...]:
    """Return what a reader must know about a suite's verdict, most serious first.

    Args:
        table: The suite's scores.
        unscored: Arm → cases without a score on some gated metric.
        attempts: Suite hash → number of candidates judged on it so far.
        gates: How its gates ended.
        training: How tuned was trained.
    """
    suite = table.suite
    return tuple(
        f"{suite.name}: {text}"
        for text in (
            *_advisory(table),  # first: if no gate counts, this is why
            *_eligibility_notes(gates),
            *_unscored_notes(suite, unscored),
            *_no_goal(suite),
            *_few_cases(gates),
            *ungated_losses(table),
            *answer_notes(
                table.answers,
                {} if training is None else training.believed_card,
                gained=any(gate_kind(gate.kind).proves_gain(gate) for gate in gates),
                may_be_cut=suite.training_rows,  # only the value is asked for
            ),
            *attempt_note(suite, attempts),
            *_saturation_notes(table, remarks=False),
            *example_notes(table),
            *comparison_notes(table),
            *_metrics(table),
        )
    )


def suite_remarks(table: ScoreTable) -> tuple[str, ...]:
    """Return facts about a suite that do not bear on its verdict."""
    return tuple(
        f"{table.suite.name}: {text}"
        for text in (
            *_early(table),
            *_flips(table),
            *timing_notes(table),
            *thinking_share_notes(table.suite.metrics, table.values, table.cases),
            *_saturation_notes(table, remarks=True),
            *_equal_prompts(table),
            *_table_notes(table),
        )
    )


def _few_cases(gates: Sequence[GateResult]) -> Iterator[str]:
    """Warn if a goal was reached on so few cases that a rare failure would not show."""
    few = [g.n for g in gates if gate_kind(g.kind).is_goal and 0 < g.n < FEW_FOR_GOAL]
    if few:
        yield (
            f"the goal rests on {count_noun(min(few), 'case')}: a failure on one prompt in "
            f"{FEW_FOR_GOAL} would probably not show; add cases"
        )


def _advisory(table: ScoreTable) -> Iterator[str]:
    gated = [g for g in table.suite.gates if not gate_kind(g.kind).counts_cases]
    advisories: dict[str, None] = {}
    for metric in table.suite.metrics:
        for gate in (g for g in gated if g.metric == metric.name):
            why = why_advisory(gate, table.of_gate(gate).pairs(metric))
            if why:
                advisories[f"{gate.subject}: {why}"] = None
    yield from advisories


def _eligibility_notes(gates: Sequence[GateResult]) -> Iterator[str]:
    """Yield why each judge's gates count or not, once if it is the same for several."""
    notes = dict.fromkeys(
        (g.subject, g.advisory, g.judge_basis) for g in gates if g.judge_basis is not None
    )
    for metric, advisory, why in notes:
        yield f"{metric}: {'advisory: ' if advisory else ''}{why}"


def _unscored_notes(suite: SuiteRecord, unscored: Mapping[str, int]) -> Iterator[str]:
    for arm, count in unscored.items():
        if count > WARN_UNSCORED * max(1, suite.n_cases):
            verb = "is" if count == 1 else "are"
            yield f"{count:,} of {count_noun(suite.n_cases, 'case')} of {arm} {verb} unscored"


def _no_goal(suite: SuiteRecord) -> Iterator[str]:
    if not suite.gates:
        yield "no gates, so it does not count in the verdict"
    elif all(gate_kind(gate.kind).reads_level for gate in suite.gates):
        yield "does not compare tuned with base: SHIP means good enough"


def _equal_prompts(table: ScoreTable) -> Iterator[str]:
    copies, prompts = table.copies
    if copies:
        yield (
            f"{copies:,} cases share {count_noun(prompts, 'prompt')}: cases with the same prompt "
            "count as one, with their mean score"
        )


def _early(table: ScoreTable) -> Iterator[str]:
    if table.look is not None and table.remaining:
        seen = len(table.look.seen)
        yield (
            f"stopped early after {seen:,} of {count_noun(table.suite.n_cases, 'case')} (interim "
            f"{table.look}): the outcome was decided, or the goal out of reach; "
            f"{count_noun(table.remaining, 'case')} skipped (--early-stop=off asks them)"
        )


def _flips(table: ScoreTable) -> Iterator[str]:
    """Yield how many multiple-choice answers flipped: an equal mean can hide many."""
    for metric in table.suite.metrics:
        if not metric.picks:
            continue
        scores = [
            (case, table.value(metric.name, case, "base"), table.value(metric.name, case, "tuned"))
            for case in table.asked(metric.name)
        ]
        lost = [case for case, base, tuned in scores if (base, tuned) == (1, 0)]
        won = sum((base, tuned) == (0, 1) for _, base, tuned in scores)
        if lost or won:
            yield f"{metric.name}: right → wrong on {_name_cases(lost)}, wrong → right on {won}"


def _name_cases(cases: Sequence[str]) -> str:
    """Return the number of cases, and the first ids."""
    if not cases:
        return "0"
    more = [f"{len(cases) - NAMED_FLIPS} more"] if len(cases) > NAMED_FLIPS else []
    return f"{len(cases)} ({', '.join([*cases[:NAMED_FLIPS], *more])})"


def _table_notes(table: ScoreTable) -> Iterator[str]:
    gated = {gate.metric for gate in table.suite.gates}
    names = [m.name for m in table.suite.metrics if m.name in gated and m.corpus is not None]
    if names and table.suite.n_cases >= EARLY_STOP_CASES:
        yield judged_once(names)


def _metrics(table: ScoreTable) -> Iterator[str]:
    compared = [
        gate
        for gate in table.suite.gates
        if gate.against is None and not gate_kind(gate.kind).reads_level
    ]
    subjects: dict[str, list[str]] = {}
    for metric in table.suite.metrics:
        metric_gates = [gate for gate in compared if gate.metric == metric.name]
        for tag in dict.fromkeys(gate.tag for gate in metric_gates):
            gates = [gate for gate in metric_gates if gate.tag == tag]
            name = gate_subject(metric.name, tag)
            for note in _pair_notes(name, table.on_tag(tag).pairs(metric), gates):
                subjects.setdefault(note.removeprefix(f"{name}: "), []).append(name)
    for text, (first, *others) in subjects.items():
        yield f"{first}{f' and {len(others)} more' if others else ''}: {text}"


def _saturation_notes(table: ScoreTable, *, remarks: bool) -> Iterator[str]:
    """Yield the gated metrics on which all scores of both arms are best, or worst.

    "All best" is a remark, unless it holds for every gated metric: then the suite proves nothing.
    """
    ends = []
    for name, tag in dict.fromkeys((gate.metric, gate.tag) for gate in table.suite.gates):
        metric = next(m for m in table.suite.metrics if m.name == name)
        pairs = table.on_tag(tag).pairs(metric)
        ends.append((gate_subject(name, tag), pairs.n, _shared_end(pairs)))
    separated = any(end != "best" for _, _, end in ends)
    for subject, n, end in ends:
        if end is not None and (end == "best" and separated) is remarks:
            yield (
                f"{subject}: both arms have the {end} score on all {count_noun(n, 'case')}, so the "
                "cases cannot separate them"
            )


def _shared_end(pairs: Pairs) -> str | None:
    """Return the end of the metric's range at which all scores are; None if they differ."""
    ends = (0.0, 1.0) if pairs.binary else pairs.metric.range
    values = {*pairs.base, *pairs.tuned}
    if pairs.too_few or ends is None or len(values) != 1:
        return None
    worst, best = ends if pairs.metric.higher_is_better else reversed(ends)
    return {worst: "worst", best: "best"}.get(values.pop())


def _is_skewed(gate: Gate, pairs: Pairs) -> bool:
    """Return whether the differences are skewed on the gate's own scale."""
    kind = gate_kind(gate.kind)
    judged = pairs if kind.tests_difference else kind.judged_pairs(gate, pairs).pairs
    return judged.estimator.skewed


def _few_telling(name: str, pairs: Pairs) -> Iterator[str]:
    groups = zip(pairs.clusters or (), pairs.differences, strict=True)
    telling = len({cluster for cluster, difference in groups if difference})
    if 0 < telling < FEW_TELLING:
        yield (
            f"{name}: the scores differ in only {count_noun(telling, 'cluster')}; intervals are "
            f"reliable from {FEW_TELLING} on"
        )


def _large_clusters(name: str, pairs: Pairs) -> Iterator[str]:
    from tunegate.harness.stats.unit_means import guarded_units

    sizes = sorted(Counter(pairs.clusters or ()).values())
    usual = pairs.n / guarded_units(sizes)
    if sizes[-1] > LARGE_CLUSTER * usual:
        yield (
            f"{name}: one cluster holds {sizes[-1]} of {pairs.n} cases; "
            f"the limits allow for unseen clusters of about {usual:.0f}, not for another such one"
        )


def _pair_notes(name: str, pairs: Pairs, gates: Sequence[Gate]) -> Iterator[str]:
    clusters = pairs.n_clusters
    if clusters is not None and not pairs.too_few and clusters < COMFORTABLE_CLUSTERS:
        yield (
            f"{name}: the cases come in only {clusters} clusters; "
            f"intervals are reliable from {COMFORTABLE_CLUSTERS} on"
        )
    if clusters is not None and not pairs.too_few:
        yield from _large_clusters(name, pairs)
    if pairs.binary and clusters is not None and not pairs.too_few:
        yield from _few_telling(name, pairs)
    if pairs.binary or pairs.too_few:
        return
    few = pairs.metric.bound is None and pairs.n < FEW_UNBOUNDED
    if few and not all(why_advisory(gate, pairs) for gate in gates):
        yield (
            f"{name}: a rare large loss may be missing from {pairs.n} cases of an unbounded score; "
            f"intervals are reliable from {FEW_UNBOUNDED} on"
        )
    if any(_is_skewed(gate, pairs) for gate in gates):
        yield (
            f"{name}: the differences are strongly skewed; "
            "the interval may be too optimistic on one side"
        )
    same = sum(d == 0 for d in pairs.differences)
    alike = pairs.n >= FEW_CASES and same >= SAME_SCORES * pairs.n
    if alike and _shared_end(pairs) is None:
        yield f"{name}: both arms have the same score on {same} of {pairs.n} cases"
