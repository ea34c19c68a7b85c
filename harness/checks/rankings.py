"""Rankings: what a suite may ask of a reranker or embedder, and what only they answer."""

from __future__ import annotations

from tunegate.harness.contracts.metric import Metric
from tunegate.harness.contracts.model import Arm, RankingArm, RecordedArm
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.errors import UsageError
from tunegate.harness.suite import Suite


def check_rankings(suite: Suite, name: str, arm: Arm) -> None:
    """Refuse metrics of rankings for other arms, and other metrics for arms that rank.

    Raises:
        UsageError: suite, metric, and why.
    """
    ranks = isinstance(arm, RankingArm)
    for metric in suite.metrics:
        reads = "positive" in metric.requires
        if reads and not ranks and not isinstance(arm, RecordedArm):
            raise UsageError(
                f"{suite.name}: metric {metric.name!r} scores a ranking, which {name} does not "
                "give; write reranker:PATH or embedder:PATH"
            )
        if ranks and not reads and not _applies(metric):
            what = "asks a judge" if metric.judge is not None else "does not score a ranking"
            raise UsageError(
                f"{suite.name}: metric {metric.name!r} {what}, and {name} ranks candidates; use "
                "ndcg, mrr, recall or latency"
            )


def _applies(metric: Metric) -> bool:
    """Return whether a metric of something else applies: the time, or what it reads is unknown."""
    if metric.judge is not None or metric.episodes:
        return False
    return metric.needs is CellKind.LATENCY or not metric.is_bundled
