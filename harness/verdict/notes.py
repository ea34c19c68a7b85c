"""What a reader of a verdict must know beside the gates: a sentence each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.manifest import GateKind, SuiteRecord
from harness.verdict.comparing import comparison_notes
from harness.verdict.ledger import attempt_note
from harness.verdict.looks import LEAST
from harness.verdict.pairs import Pairs
from harness.verdict.record import GateResult
from harness.verdict.scores import Table
from harness.verdict.timing import timing_notes
from harness.verdict.words import counted, few_for_corpus, judged_once

WARN_UNSCORED = 0.02
"""Share of unscored cases from which a reader is warned."""
SAME_SCORES = 0.99
"""Share of equal scores or answers from which the fine-tune's lack of effect is pointed out."""
FEW_CASES = 20
"""Below this, equal scores are no surprise."""
FEW_UNBOUNDED = 50
"""Cases from which the interval of an unbounded score is dependable."""
FEW_TELLING = 10
"""Clusters with differing scores from which a 0/1 score's design effect is dependable."""
COMFORTABLE_CLUSTERS = 20
"""Clusters from which the interval's level is as promised."""
NAMED_FLIPS = 5
"""Questions named that base had right and tuned has wrong; the report lists them all."""


def notes(
    table: Table,
    unscored: Mapping[str, int],
    attempts: Mapping[str, int],
    gates: Sequence[GateResult] = (),
) -> tuple[str, ...]:
    """Return the notes on one suite.

    Args:
        table: Its scores.
        unscored: Arm → cases without a score on some gated metric.
        attempts: Suite hash → number of candidates judged on it so far.
        gates: How its gates ended.
    """
    suite = table.suite
    return tuple(
        f"{suite.name}: {text}"
        for text in (
            *_advisory(table),  # first: where no gate counts, it is why nothing is decided
            *_rights(gates),
            *_missing(suite, unscored),
            *_no_goal(suite),
            *attempt_note(suite, attempts),
            *_identical(table),
            *_metrics(table),
            *timing_notes(table),
            *comparison_notes(table),
            *_early(table),
            *_flips(table),
            *_whole(table),
        )
    )


def _advisory(table: Table) -> Iterator[str]:
    gated = {gate.metric for gate in table.suite.gates if gate.kind is not GateKind.SEVERE_DROP}
    for metric in table.suite.metrics:
        pairs = table.pairs(metric) if metric.name in gated and metric.corpus is not None else None
        if pairs is not None and pairs.advisory:
            yield few_for_corpus(metric.name, pairs.n)


def _rights(gates: Sequence[GateResult]) -> Iterator[str]:
    """Say of each judge's gates what they count for, once where it is the same for several."""
    told = dict.fromkeys((g.metric, g.advisory, g.right) for g in gates if g.right is not None)
    for metric, advisory, why in told:
        yield f"{metric}: {'advisory, for ' if advisory else ''}{why}"


def _missing(suite: SuiteRecord, unscored: Mapping[str, int]) -> Iterator[str]:
    for arm, count in unscored.items():
        if count > WARN_UNSCORED * max(1, suite.n_cases):
            verb = "is" if count == 1 else "are"
            yield f"{count} of {counted(suite.n_cases, 'case')} of {arm} {verb} unscored"


def _no_goal(suite: SuiteRecord) -> Iterator[str]:
    kinds = {gate.kind for gate in suite.gates}
    if not kinds:
        yield "no gates, so it has no say in the verdict"
    elif GateKind.GAIN not in kinds and GateKind.TOLERANCE not in kinds:
        yield "does not compare tuned with base: SHIP means good enough"


def _identical(table: Table) -> Iterator[str]:
    same, compared = table.same_answers
    if compared >= FEW_CASES and same >= SAME_SCORES * compared:
        yield (
            f"both arms wrote the same answer, byte for byte, on {same} of {compared} prompts: "
            "the fine-tune hardly acts here"
        )


def _early(table: Table) -> Iterator[str]:
    if table.look is not None and table.remaining:
        seen = len(table.look.seen)
        yield (
            f"ended after {seen} of {counted(table.suite.n_cases, 'case')} ({table.look}), being "
            f"decided or without a chance of its goal; the other {table.remaining} were not asked "
            "(--early-stop=off asks them)"
        )


def _flips(table: Table) -> Iterator[str]:
    """Say how many multiple-choice answers changed sides, whether a gate asks about them or not.

    A mean that stays can hide as many questions lost as won.
    """
    for metric in table.suite.metrics:
        if not metric.picks:
            continue
        both = [
            (case, table.value(metric.name, case, "base"), table.value(metric.name, case, "tuned"))
            for case in table.asked(metric.name)
        ]
        lost = [case for case, base, tuned in both if (base, tuned) == (1, 0)]
        won = sum((base, tuned) == (0, 1) for _, base, tuned in both)
        if lost or won:
            yield f"{metric.name}: right → wrong on {_named(lost)}, wrong → right on {won}"


def _named(cases: Sequence[str]) -> str:
    """Return how many cases there are, and the ids of the first."""
    if not cases:
        return "0"
    more = [f"{len(cases) - NAMED_FLIPS} more"] if len(cases) > NAMED_FLIPS else []
    return f"{len(cases)} ({', '.join([*cases[:NAMED_FLIPS], *more])})"


def _whole(table: Table) -> Iterator[str]:
    gated = {gate.metric for gate in table.suite.gates}
    names = [m.name for m in table.suite.metrics if m.name in gated and m.corpus is not None]
    if names and table.suite.n_cases >= LEAST:
        yield judged_once(names)


def _metrics(table: Table) -> Iterator[str]:
    compared = {gate.metric for gate in table.suite.gates if not gate.kind.is_level}
    for metric in table.suite.metrics:
        if metric.name in compared:
            yield from _of_pairs(metric.name, table.pairs(metric))


def _few_telling(name: str, pairs: Pairs) -> Iterator[str]:
    groups = zip(pairs.clusters or (), pairs.differences, strict=True)
    telling = len({cluster for cluster, difference in groups if difference})
    if 0 < telling < FEW_TELLING:
        yield (
            f"{name}: the scores differ in only {counted(telling, 'cluster')}; intervals are "
            f"dependable from {FEW_TELLING}"
        )


def _of_pairs(name: str, pairs: Pairs) -> Iterator[str]:
    from harness.stats.paired import skewness_warning

    clusters = pairs.n_clusters
    if clusters is not None and not pairs.too_few and clusters < COMFORTABLE_CLUSTERS:
        yield (
            f"{name}: the cases come in only {clusters} clusters; "
            f"intervals are dependable from {COMFORTABLE_CLUSTERS}"
        )
    if pairs.binary and clusters is not None and not pairs.too_few:
        yield from _few_telling(name, pairs)
    if pairs.binary or pairs.too_few:
        return
    if pairs.metric.bound is None and pairs.n < FEW_UNBOUNDED and not pairs.advisory:
        yield (
            f"{name}: a rare large loss may be missing from {pairs.n} cases of an unbounded score; "
            f"intervals are dependable from {FEW_UNBOUNDED}"
        )
    if skewness_warning(pairs.differences if pairs.corpus is None else pairs.independent):
        yield (
            f"{name}: the differences are strongly skewed; "
            "the interval may be too optimistic on one side"
        )
    same = sum(d == 0 for d in pairs.differences)
    if pairs.n >= FEW_CASES and same >= SAME_SCORES * pairs.n:
        yield f"{name}: both arms have the same score on {same} of {pairs.n} cases"
