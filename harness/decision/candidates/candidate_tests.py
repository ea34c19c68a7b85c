"""Pairwise tests between candidates: the paired difference of two fine-tunes on identical cases.

Paired on the same cases, two candidates differ more clearly than their intervals against base show.
One is better if Holm's procedure over all pairs of candidates, all metrics and both directions says
so: the chance of any false claim is at most alpha.

Source: Holm (1979); the intervals are those of the gates (`tunegate.harness.comparison.pairs`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from tunegate.harness.comparison.delta import Delta, one_sided
from tunegate.harness.comparison.noise_floor import NoiseFloor
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.decision.score_table import ScoreTable, tables_of
from tunegate.harness.records.candidates import PairwiseComparison
from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.records.run_folder import Run


@dataclass(frozen=True)
class _UnadjustedComparison:
    """Two candidates on one metric, before Holm's adjustment."""

    first: str
    second: str
    pairs: Pairs
    """The first in base's place, the second in tuned's."""
    confidence: float
    noises: tuple[NoiseFloor, ...]
    """Base against itself in each of the two runs."""
    tag: str | None = None
    """Tag of the cases compared; None for all."""


def compare_pairwise(runs: Mapping[str, Run]) -> tuple[PairwiseComparison, ...]:
    """Compare every two candidates, by letter, on every gated metric."""
    comparisons = list(_unadjusted_comparisons(runs))
    records: dict[int, PairwiseComparison] = {}
    # Advisory metrics must not make it harder to claim what counts.
    for advisory in (False, True):
        family = {i: b for i, b in enumerate(comparisons) if _advisory(b) is advisory}
        adjusted = _adjust_p_values(list(family.values()))
        records |= {i: _record(b, p) for (i, b), p in zip(family.items(), adjusted, strict=True)}
    return tuple(records[i] for i in range(len(comparisons)))


def _unadjusted_comparisons(runs: Mapping[str, Run]) -> Iterator[_UnadjustedComparison]:
    tables = {letter: _tables(run, runs) for letter, run in runs.items()}
    for first, second in combinations(runs, 2):
        for mine, theirs in zip(tables[first], tables[second], strict=True):
            for metric, tag in _comparable_metrics(mine):
                gates = [g for g in mine.suite.gates if (g.metric, g.tag) == (metric.name, tag)]
                arms = [table.on_tag(tag) for table in (mine, theirs)]
                noises = (n for table in arms if (n := table.noise(metric)) is not None)
                yield _UnadjustedComparison(
                    first,
                    second,
                    _paired_table(mine, theirs).on_tag(tag).pairs(metric),
                    max(gate.confidence for gate in gates),
                    tuple(noises),
                    tag,
                )


def _tables(run: Run, runs: Mapping[str, Run]) -> list[ScoreTable]:
    """Return a run's scores, suites in the order of the first run.

    Cases that any candidate was trained on are left out.
    """
    seen: dict[str, frozenset[str]] = {}
    for other in runs.values():
        leaked = {} if other.manifest.leakage is None else other.manifest.leakage.left_out
        seen |= {suite: seen.get(suite, frozenset()) | cases for suite, cases in leaked.items()}
    tables = tables_of(run.manifest, run.cases_of, run.scores, {}, without=seen)
    order = [suite.name for suite in next(iter(runs.values())).manifest.suites]
    return sorted(tables, key=lambda table: order.index(table.suite.name))


def _comparable_metrics(table: ScoreTable) -> list[tuple[MetricRecord, str | None]]:
    """Return the gated metrics that score each arm on its own, with their tags."""
    return [
        (metric.on_other_arms(), tag)
        for metric in table.suite.metrics
        if not metric.compares_pairs
        for tag in dict.fromkeys(g.tag for g in table.suite.gates if g.metric == metric.name)
    ]


def _paired_table(mine: ScoreTable, theirs: ScoreTable) -> ScoreTable:
    """Return a table in which one candidate is in base's place and the other in tuned's."""
    values = {
        **mine.with_arms({"tuned": "base"}).values,
        **theirs.with_arms({"tuned": "tuned"}).values,
    }
    return replace(mine, values=values, labels={})


def _advisory(comparison: _UnadjustedComparison) -> bool:
    return comparison.pairs.metric.advisory or comparison.pairs.advisory


def _adjust_p_values(
    comparisons: Sequence[_UnadjustedComparison],
) -> list[tuple[float, float] | None]:
    """Return each comparison's adjusted p-values: "the second is better", "the first is better"."""
    from tunegate.harness.stats.multiplicity import holm

    tested = [comparison for comparison in comparisons if not comparison.pairs.too_few]
    if not tested:
        return [None for _ in comparisons]
    p_values = [p for b in tested for p in (b.pairs.test(0.0), b.pairs.reversed_test())]
    adjusted = iter(map(float, holm([p.p_value for p in p_values])))
    return [
        None if comparison.pairs.too_few else (next(adjusted), next(adjusted))
        for comparison in comparisons
    ]


def _record(
    comparison: _UnadjustedComparison, adjusted: tuple[float, float] | None
) -> PairwiseComparison:
    pairs, has_pairs = comparison.pairs, comparison.pairs.n > 0
    delta = Delta(pairs, comparison.confidence)
    return PairwiseComparison(
        suite=pairs.suite,
        metric=pairs.metric.name,
        tag=comparison.tag,
        first=comparison.first,
        second=comparison.second,
        first_level=delta.base if has_pairs else None,
        second_level=delta.tuned if has_pairs else None,
        delta=delta.estimate if has_pairs else None,
        low=_finite(delta.low),
        high=_finite(delta.high),
        confidence=comparison.confidence,
        higher_is_better=pairs.metric.higher_is_better,
        rate=pairs.metric.is_rate,
        n=pairs.n,
        method=delta.oriented.method,
        p_value=None if adjusted is None else min(adjusted),
        better=_better(comparison, delta, adjusted),
        noise=max((n.size for n in comparison.noises if n.size is not None), default=None),
        advisory=_advisory(comparison),
    )


def _better(
    comparison: _UnadjustedComparison, delta: Delta, adjusted: tuple[float, float] | None
) -> str | None:
    """Return who is proven better, by more than inexact arithmetic."""
    if adjusted is None:
        return None
    alpha = one_sided(comparison.confidence) + 1e-12
    if adjusted[0] <= alpha and delta.oriented.low > 0 and _clears(comparison, comparison.pairs):
        return comparison.second
    behind = adjusted[1] <= alpha and delta.oriented.high < 0
    return (
        comparison.first if behind and _clears(comparison, comparison.pairs.exchanged()) else None
    )


def _clears(comparison: _UnadjustedComparison, ahead: Pairs) -> bool:
    """Return whether a lead is more than inexact arithmetic, whichever way it moved base."""
    ways = [way for n in comparison.noises for way in (n, n.exchanged())]
    return all(way.clears(ahead, 0.0, comparison.confidence) for way in ways)


def _finite(value: float) -> float | None:
    return value if abs(value) != float("inf") else None
