"""Notes on latency: how much slower tuned is, and how it was timed."""

from __future__ import annotations

from collections.abc import Iterator

from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.contracts.further_arm import ARMS
from tunegate.harness.decision.gating.decide_all import compares_recorded_times
from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.defaults import CONFIDENCE
from tunegate.harness.records.manifest import Manifest, MetricRecord, SuiteRecord

_SEED = 0
"""Seed of the bootstrap."""
_QUANTILES = {"p50": 0.50, "p95": 0.95}


def timing_notes(table: ScoreTable) -> Iterator[str]:
    """Yield a sentence for each timed metric that has pairs of times to compare."""
    for metric in table.suite.metrics:
        if metric.needs is not CellKind.LATENCY:
            continue
        pairs = table.pairs(metric)
        if not pairs.too_few and min(*pairs.base, *pairs.tuned) > 0:
            yield "; ".join((_ratio(pairs), *_quantiles(pairs), *_timing_notes(table, metric)))


def recorded_times_notes(manifest: Manifest, suite: SuiteRecord) -> Iterator[str]:
    """Yield why gates on recorded times are advisory, for each timed metric."""
    for metric in suite.metrics:
        gates = [gate for gate in suite.gates if gate.metric == metric.name]
        if any(compares_recorded_times(manifest, metric, gate) for gate in gates):
            yield (
                f"{suite.name}: {metric.name}: advisory: the times were recorded elsewhere, and a "
                "machine that slowed down between the arms would look like a slower model; have "
                "tunegate ask both models to gate on it"
            )


def _ratio(pairs: Pairs) -> str:
    from tunegate.harness.stats.latency import geometric_mean_ratio

    clusters = pairs.estimator.clusters
    ratio = geometric_mean_ratio(pairs.base, pairs.tuned, confidence=CONFIDENCE, clusters=clusters)
    blocks = "" if clusters is pairs.clusters else f" in {len(set(clusters or ()))} blocks of time"
    return (
        f"{pairs.metric.name}: a case takes tuned {ratio.estimate:.3g} times as long as base "
        f"[{ratio.low:.3g}, {ratio.high:.3g}] at {100 * CONFIDENCE:g} % (geometric mean of "
        f"{pairs.n} cases{blocks})"
    )


def _quantiles(pairs: Pairs) -> Iterator[str]:
    from tunegate.harness.stats.latency import latency_quantile, quantile_ratio, smallest_quantile_n

    for name, share in _QUANTILES.items():
        base, tuned = (latency_quantile(values, share) for values in (pairs.base, pairs.tuned))
        change = f"{name} {base:.3g} s → {tuned:.3g} s"
        least = smallest_quantile_n(share)
        if pairs.n < least:
            yield f"{change}, not compared: that takes {least} cases"
        elif pairs.clusters is not None:
            yield f"{change}, not compared: the cases come in clusters"
        else:
            ratio = quantile_ratio(
                pairs.base, pairs.tuned, quantile=share, seed=_SEED, confidence=CONFIDENCE
            )
            yield f"{change}, {ratio.estimate:.3g} times [{ratio.low:.3g}, {ratio.high:.3g}]"


def _timing_notes(table: ScoreTable, metric: MetricRecord) -> Iterator[str]:
    speeds = [speed for arm in ARMS if (speed := _speed(table, metric.name, arm))]
    if len(speeds) == 2:
        yield f"{speeds[0]:.3g} → {speeds[1]:.3g} tokens a second"
    sizes = {size for arm in ARMS for size in _timing_parts(table, metric.name, arm)[0]}
    if not sizes or None in sizes:
        yield "timed elsewhere: whether alone or in batches is not recorded"
    elif sizes == {1.0}:
        yield "each completion timed alone"
    else:
        yield f"timed in batches of up to {max(size for size in sizes if size):g}"


def _speed(table: ScoreTable, metric: str, arm: str) -> float | None:
    """Return tokens per second; None if a count is missing."""
    _, tokens, seconds = _timing_parts(table, metric, arm)
    counts = [count for count in tokens if count is not None]
    return sum(counts) / sum(seconds) if counts and len(counts) == len(tokens) else None


def _timing_parts(
    table: ScoreTable, metric: str, arm: str
) -> tuple[list[float | None], list[float | None], list[float]]:
    """Return batch sizes, token counts and seconds of an arm's timed cases."""
    rows = [table.values.get((metric, case, arm)) for case in table.asked(metric)]
    timed = [(row, row.value) for row in rows if row is not None and row.value is not None]
    parts = [row.parts or {} for row, _ in timed]
    return (
        [part.get("batch_size") for part in parts],
        [part.get("output_tokens") for part in parts],
        [value for _, value in timed],
    )
