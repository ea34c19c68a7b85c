"""How long a decision takes: `python -m benchmarks.decision_speed`.

Twenty gates on 2,000 cases, half of them 0/1 and half continuous, and twenty gates on 1,000 0/1
cases of which ten ask for a gain, so that the exact unconditional test joins in. Promised are one
second and ten; the code is that of a real run.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence

from tunegate.harness.records.cases import Case, CellKind, ScoreRow
from tunegate.harness.records.manifest import Gate, Manifest, MetricRecord, SuiteRecord
from tunegate.harness.verdict.decide import decide_run

GATES = 20


def main() -> int:
    """Print both times; return 1 if one is above its promise."""
    _timed(50, continuous=10, gains=10)  # imports and caches of the libraries do not count
    rows = [
        ("20 gates, 2,000 cases", _timed(2000, continuous=10, gains=0), 1.0),
        ("20 gates, 1,000 0/1 cases, 10 exact tests", _timed(1000, continuous=0, gains=10), 10.0),
    ]
    for what, seconds, promise in rows:
        status = "ok" if seconds <= promise else "FAIL"
        print(f"{what:<45} {seconds:6.2f} s  promised {promise:4.0f} s  {status}")
    return int(any(seconds > promise for _, seconds, promise in rows))


def _timed(n: int, *, continuous: int, gains: int) -> float:
    """Return the seconds of one decision."""
    metrics = [_metric(i, binary=i >= continuous) for i in range(GATES)]
    gates = [
        Gate(
            metric=metric.name,
            kind="gain" if i < gains else "tolerance",
            margin=0.05,
        )
        for i, metric in enumerate(metrics)
    ]
    cases = [Case(id=str(i), prompt="p") for i in range(n)]
    scores = [row for metric in metrics for row in _scores(metric, n)]
    manifest = _manifest(metrics, gates, n)
    start = time.perf_counter()
    decide_run(manifest, {"s": cases}, scores)
    return time.perf_counter() - start


def _metric(index: int, *, binary: bool) -> MetricRecord:
    return MetricRecord(
        name=f"m{index}",
        use="m",
        needs=CellKind.GENERATE,
        higher_is_better=True,
        range=(0.0, 1.0),
        binary=binary,
    )


def _scores(metric: MetricRecord, n: int) -> list[ScoreRow]:
    """Return scores of which a fifth differs between the arms."""
    rng = random.Random(metric.name)

    def draw() -> float:
        value = rng.random()
        return float(value < 0.6) if metric.binary else value

    rows = []
    for i in range(n):
        base = draw()
        for arm, value in (("base", base), ("tuned", base if rng.random() < 0.8 else draw())):
            rows.append(ScoreRow(suite="s", metric=metric.name, case=str(i), arm=arm, value=value))
    return rows


def _manifest(metrics: Sequence[MetricRecord], gates: Sequence[Gate], n: int) -> Manifest:
    suite = SuiteRecord(
        name="s",
        path="suite.toml",
        hash="h",
        n_cases=n,
        goal_rule="all",
        max_unscored=0.05,
        metrics=tuple(metrics),
        gates=tuple(gates),
        generation={},
    )
    return Manifest(
        run_id="r",
        created="2026-01-01T00:00:00+00:00",
        command=(),
        arms={"base": {"spec": "b"}, "tuned": {"spec": "t"}},
        suites=(suite,),
        seed=0,
        versions={},
        comparability={},
        liveness={},
        attempts={},
        plan=(),
    )


if __name__ == "__main__":
    sys.exit(main())
