"""How long a decision takes: `python -m benchmarks.decision_speed`.

Twenty gates on 2,000 cases, half of them 0/1 and half continuous, and twenty on 1,000 0/1 cases,
whose intervals invert an exact test. The limit is one second each; the code is that of a real run.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from benchmarks.error_rates import rules, runs
from tunegate.harness.decision.verdict.decide import decide_run

GATES = 20


def main() -> int:
    """Print both times; return 1 if one is above its promise."""
    _timed(50, continuous=10, gains=10)  # imports and caches of the libraries do not count
    rows = [
        ("20 gates, 2,000 cases", _timed(2000, continuous=10, gains=0), 1.0),
        ("20 gates, 1,000 0/1 cases", _timed(1000, continuous=0, gains=10), 1.0),
    ]
    for what, seconds, promise in rows:
        status = "ok" if seconds <= promise else "FAIL"
        print(f"{what:<45} {seconds:6.2f} s  promised {promise:4.0f} s  {status}")
    return int(any(seconds > promise for _, seconds, promise in rows))


def _timed(n: int, *, continuous: int, gains: int) -> float:
    """Return the seconds of one decision if a fifth of the scores differ between the arms."""
    rng = np.random.default_rng(0)
    parts = []
    for i in range(GATES):
        base, other = rng.random((2, n))
        tuned = np.where(rng.random(n) < 0.8, base, other)
        binary = i >= continuous
        scores = (base < 0.6, tuned < 0.6) if binary else (base, tuned)
        parts.append(
            runs.gated(
                f"m{i}",
                "gain" if i < gains else "tolerance",
                0.05,
                tuple(column.astype(float) for column in scores),
                rules.ZERO_ONE if binary else rules.SCORE,
            )
        )
    suites = {"s": parts}
    manifest, cases, scored = runs.manifest_of(suites), runs.cases_of(suites), runs.rows_of(suites)
    start = time.perf_counter()
    decide_run(manifest, cases, scored)
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
