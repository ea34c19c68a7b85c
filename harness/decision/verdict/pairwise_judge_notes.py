"""Notes on judges that compare pairs: whether the order or the length of the answers sways them.

A verdict that turns with the order of the answers counts as a tie, which is safe, but a judge that
often turns has little to say. A line fitted to the judged differences over the answers' length
ratio shows what is left of the difference where both are equally long.

Source: order: MT-Bench, arXiv 2306.05685; length: AlpacaEval's length control, arXiv 2404.04475.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping

from tunegate.harness.contracts.judge_examples import REPEATS
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.records.wording import count_noun

CONSISTENT = 0.7
"""Share of pairs whose verdict must survive the swap."""
_SURE = 0.99
_FEW = 10
"""Fewest pairs for a note on length."""


def comparison_notes(table: ScoreTable) -> Iterator[str]:
    """Yield notes on every pairwise judge of a suite."""
    for metric in table.suite.metrics:
        if metric.judge is not None and metric.judge.pairs:
            comparisons = _comparison_parts(table, metric)
            if comparisons:
                yield _order(metric.name, comparisons)
                yield from _length(table, metric, comparisons)


def example_notes(table: ScoreTable) -> Iterator[str]:
    """Yield how many judged answers are examples in the judge's own prompt."""
    for metric in (m for m in table.suite.metrics if m.judge is not None):
        examples = Counter(
            row.arm
            for (name, _, _), row in table.values.items()
            if name == metric.name and (row.parts or {}).get(REPEATS)
        )
        for arm, count in sorted(examples.items()):
            shown = "is an example" if count == 1 else "are examples"
            yield (
                f"{metric.name}: {count_noun(count, 'answer')} of {arm} {shown} of the judge's own "
                "prompt, which gives the verdict; take other examples"
            )


def _comparison_parts(table: ScoreTable, metric: MetricRecord) -> dict[str, Mapping[str, float]]:
    """Return case → the parts of its score."""
    rows = {case: table.values.get((metric.name, case, "tuned")) for case in table.cases}
    return {
        case: row.parts
        for case, row in rows.items()
        if row is not None and row.value is not None and row.parts
    }


def _order(name: str, comparisons: Mapping[str, Mapping[str, float]]) -> str:
    from tunegate.harness.stats.binary import clopper_pearson

    swapped = [p for p in comparisons.values() if {"base_first", "tuned_first"} <= p.keys()]
    if not swapped:
        return f"{name}: both arms gave the same answer on all {len(comparisons)} cases"
    kept = sum(p["base_first"] == p["tuned_first"] for p in swapped)
    first = sum((p["base_first"] < 0) + (p["tuned_first"] > 0) for p in swapped)
    second = sum((p["base_first"] > 0) + (p["tuned_first"] < 0) for p in swapped)
    text = f"{name}: the judge kept its verdict on {kept} of {len(swapped)} swapped pairs"
    leans = False
    if first + second:
        share = clopper_pearson(first, first + second, confidence=_SURE)
        leans = not share.low <= 0.5 <= share.high
        text += f", and the answer that came first won {share.estimate:.0%} of its decisions"
    unsteady = kept < CONSISTENT * len(swapped)
    return text + (": the order sways it, so it shows little" if leans or unsteady else "")


def _length(
    table: ScoreTable, metric: MetricRecord, comparisons: Mapping[str, Mapping[str, float]]
) -> Iterator[str]:
    from tunegate.harness.stats.judge_bias import length_fit

    rows = [
        (tuned - base, parts["log_length_ratio"])
        for case, parts in comparisons.items()
        if "log_length_ratio" in parts
        and (base := table.value(metric.name, case, "base")) is not None
        and (tuned := table.value(metric.name, case, "tuned")) is not None
    ]
    ratios = [ratio for _, ratio in rows]
    if len(rows) < _FEW or max(ratios) - min(ratios) < 1e-9:
        return
    fit = length_fit([difference for difference, _ in rows], ratios)
    yield (
        f"{metric.name}: where both answers are equally long the difference is "
        f"{fit.equal.estimate:+.3f} [{fit.equal.low:+.3f}, {fit.equal.high:+.3f}] "
        f"(over all {fit.level.estimate:+.3f}); tuned twice as long adds "
        f"{math.log(2) * fit.slope.estimate:+.3f}"
    )
