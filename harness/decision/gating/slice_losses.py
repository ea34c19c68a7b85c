"""Slices that lost although the gates hold: a mean can hide a group that lost.

A slice lost if it stands out for the worse, or if its 90 % interval is wholly below zero; the
latter happens to about one unchanged slice in twenty, so the sentence says how many were looked at.
If the mean itself is shown to have lost, within its tolerance, a slice must have lost more than
that. A slice whose loss has a gate is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tunegate.harness.comparison.delta import Delta, one_sided
from tunegate.harness.contracts.quantity import slice_format
from tunegate.harness.decision.gating.tag_slices import (
    FALSE_SHARE,
    TagSlice,
    pairs_of,
    q_values,
    slices_by_tag,
)
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.slices import LostSlice, SliceLosses
from tunegate.harness.records.wording import count_noun

COLLAPSE = 0.5
"""Smallest loss, as a share of the metric's range, that names a slice with fewer cases too."""
NAMED = 3
"""Slices that the sentence on lost ones names; the record lists them all."""


def slice_losses(
    tables: Sequence[ScoreTable], gates: Mapping[str, Sequence[GateResult]]
) -> SliceLosses | None:
    """Return the slices that lost while their suites' gates hold; None if no slice did.

    Args:
        tables: The scores of the suites.
        gates: Suite → how its gates ended.

    Source: Benjamini and Hochberg (1995) over the slices of the run.
    """
    metrics = _looked_metrics(tables, gates)
    everything = slices_by_tag(tables)
    looked = [
        (s, q, metrics[s.suite, s.metric.name])
        for s, q in zip(everything, q_values(everything), strict=True)
        if q is not None and (s.suite, s.metric.name) in metrics
    ]
    looked = [(s, q, of) for s, q, of in looked if of.has_news_on(s)]
    collapsed = _collapsed(everything, metrics)
    looked += collapsed
    losses = [(s, q, q <= FALSE_SHARE) for s, q, of in looked if of.lost_on(s, q)]
    if not losses:
        return None
    # Those that stand out first; slices come with the largest loss first.
    losses.sort(key=lambda loss: not loss[2])
    lost = tuple(_lost_slice(s, q, stands_out=sure) for s, q, sure in losses)
    return SliceLosses(tested=len(looked), sentence=_sentence(lost, len(looked)), lost=lost)


def _collapsed(
    slices: Sequence[TagSlice], metrics: Mapping[tuple[str, str], _WholeMetric]
) -> list[tuple[TagSlice, float, _WholeMetric]]:
    """Return the slices with too few cases for the others' test that lost half of the range.

    They are adjusted among themselves by Bonferroni: tags of a few cases may be hundreds.
    """
    few = [
        (s, p, metrics[s.suite, s.metric.name])
        for s in slices
        if not s.enough and (s.suite, s.metric.name) in metrics
        if (p := s.difference.pairs.two_sided_p()) is not None
    ]
    few = [(s, p * len(few), of) for s, p, of in few if of.has_news_on(s)]
    return [(s, q, of) for s, q, of in few if s.change <= -COLLAPSE and q <= FALSE_SHARE]


@dataclass(frozen=True, slots=True)
class _WholeMetric:
    """A metric on all cases of its suite, with which its slices are compared."""

    n: int
    """Complete pairs."""
    loss: float
    """Its improvement, if its whole interval is a loss; else 0."""
    limited: frozenset[str]
    """Tags whose losses have gates."""

    def has_news_on(self, s: TagSlice) -> bool:
        """Return whether a loss of the slice would be news.

        A tag on every case does not make a slice, and a corpus value of few cases proves nothing.
        """
        return (
            s.n < self.n and s.tag not in self.limited and not s.difference.pairs.too_few_for_corpus
        )

    def lost_on(self, s: TagSlice, q: float) -> bool:
        """Return whether the slice lost: more than the mean, if that lost too."""
        worse = s.has_interval and s.difference.oriented.high < self.loss
        return worse or (q <= FALSE_SHARE and s.change < 0 and self.loss == 0)


def ungated_losses(table: ScoreTable) -> Iterator[str]:
    """Yield the proven losses of a bounded metric where no gate looks: on all cases, or untagged.

    A metric whose gates all have tags is looked at on the cases without any of them.
    """
    for metric in table.suite.metrics:
        tags = {gate.tag for gate in table.suite.gates if gate.metric == metric.name}
        if None in tags or not metric.bound or metric.needs is CellKind.LATENCY:
            continue
        rest = {name: case for name, case in table.cases.items() if not tags & set(case.tags)}
        pairs = pairs_of(replace(table, cases=rest), metric)
        if pairs is None or pairs.too_few or pairs.too_few_for_corpus:
            continue
        tag_slice = TagSlice(table.suite.name, metric, "", Delta(pairs), metric.bound)
        if tag_slice.difference.oriented.high < 0:
            lost = _lost_slice(tag_slice, 1.0, stands_out=False)
            named = f" on cases without the tag {' or '.join(sorted(filter(None, tags)))}"
            yield f"{metric.name} has no gate{named if tags else ''}, and {_loss(lost)}"


def _looked_metrics(
    tables: Sequence[ScoreTable], gates: Mapping[str, Sequence[GateResult]]
) -> dict[tuple[str, str], _WholeMetric]:
    """Return (suite, metric) → the metric on all cases, for those whose slices are looked at.

    Only metrics on whose mean a gate counts. Times, ratios and single drops may be worse on a slice
    within what the suite allows, and a bound on an unbounded level such as a length is a budget.
    """
    looked = {}
    for table in tables:
        for metric in table.suite.metrics:
            kinds = [
                (gate_kind(gate.kind), gate.tag)
                for gate in gates.get(table.suite.name, ())
                if gate.metric == metric.name and not gate.advisory
            ]
            on_mean = any(
                kind.tests_difference or (kind.reads_level and metric.bound is not None)
                for kind, _ in kinds
            )
            pairs = pairs_of(table, metric)
            if metric.needs is CellKind.LATENCY or not on_mean or pairs is None or not pairs.n:
                continue
            whole = Delta(pairs)
            lost = not pairs.too_few and whole.oriented.high < 0
            looked[table.suite.name, metric.name] = _WholeMetric(
                n=pairs.n,
                loss=whole.oriented.estimate if lost else 0.0,
                limited=frozenset(tag for kind, tag in kinds if tag and not kind.reads_level),
            )
    return looked


def _lost_slice(s: TagSlice, q: float, *, stands_out: bool) -> LostSlice:
    bounded = s.has_interval
    return LostSlice(
        suite=s.suite,
        metric=s.metric.name,
        tag=s.tag,
        higher_is_better=s.metric.higher_is_better,
        rate=s.metric.is_rate,
        base=s.base,
        tuned=s.tuned,
        delta=s.delta,
        low=s.difference.low if bounded else None,
        high=s.difference.high if bounded else None,
        confidence=s.difference.confidence,
        n=s.n,
        q_value=q,
        stands_out=stands_out,
    )


def _sentence(lost: Sequence[LostSlice], tested: int) -> str:
    """Return the slices that fell most, what chance has to do with it, and how to gate on one."""
    proven = [loss for loss in lost if loss.stands_out]
    named, rest = proven or lost, len(lost) - len(proven)
    words = "; ".join(map(_words, named[:NAMED]))
    more = f"; and {len(named) - NAMED} more" if len(named) > NAMED else ""
    groups = f"{rest}{' more' if proven else ''} of {count_noun(tested, 'group')} of cases"
    odds = f"about 1 in {1 / one_sided(CONFIDENCE):.0f} does by chance"
    looks = f"{groups} {'looks' if rest == 1 else 'look'} worse, as {odds}"
    if proven:
        why = f"more than chance explains{f'; {looks}' if rest else ''}"
    else:
        why = f"this may be chance, for {looks}"
    worst = named[0]
    return (
        f"{words}{more}: {why}. To gate on it, write metric = {json.dumps(worst.metric)}, "
        f"tag = {json.dumps(worst.tag, ensure_ascii=False)} and a tolerance in a [[gates]] table"
    )


def _words(loss: LostSlice) -> str:
    moved = slice_format(loss).moved(loss.base, loss.tuned, loss.delta)
    where = f"{loss.suite}: {loss.metric}, {count_noun(loss.n, 'case')}"
    return f"cases tagged {json.dumps(loss.tag, ensure_ascii=False)} {moved} ({where})"


def _loss(loss: LostSlice) -> str:
    how = slice_format(loss)
    interval = how.interval(loss.low, loss.high, loss.confidence, sign=True)
    change = how.change(loss.base, loss.tuned, loss.delta)
    return f"{change}{interval} on {count_noun(loss.n, 'case')}"
