"""How often a tolerance passes, and how often it fails, by the size of the true loss.

    python -m benchmarks.blocked_losses [--cases 300] [--tolerance 0.05] [--changed 0.10]

Exact: every number of wins and losses of pass-or-fail scores is decided by the gate and weighed by
its trinomial probability. The last row is what a gate would do that fails by any proven loss,
whatever its size. Regressions are not adjusted, as in a run with a single metric.
"""

from __future__ import annotations

import argparse

from scipy import stats  # type: ignore[import-untyped]  # scipy ships no types

from tunegate.harness.comparison.delta import is_proven
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.decision.gating.decide_all import decide_gate
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.gate_results import GateReason, GateStatus
from tunegate.harness.records.manifest import Gate, MetricRecord

SIZES = (0, 0.5, 1, 1.5, 2, 3)
"""True losses, in tolerances."""
RIGHT = 0.7
"""Share of the unchanged cases that both arms get right."""
RARE = 1e-9
METRIC = MetricRecord(
    name="right",
    use="right",
    needs=CellKind.GENERATE,
    higher_is_better=True,
    range=(0.0, 1.0),
    binary=True,
)


def decide(wins: int, losses: int, n: int, gate: Gate) -> tuple[GateStatus, GateReason | None]:
    """Return how the gate ends on so many wins and losses."""
    same = n - wins - losses
    right = round(RIGHT * same)
    unchanged = [1.0] * right + [0.0] * (same - right)
    base = [0.0] * wins + [1.0] * losses + unchanged
    tuned = [1.0] * wins + [0.0] * losses + unchanged
    pairs = Pairs("", METRIC, tuple(base), tuple(tuned))
    regressed = is_proven(pairs.exchanged(), 0.0, gate.confidence)
    result = decide_gate(gate, pairs, regressed=regressed)
    return result.status, result.reason


def outcomes(n: int, tolerance: float, changed: float, loss: float) -> tuple[float, float, float]:
    """Return the probabilities to pass, to fail, and to fail by any proven loss."""
    gate = Gate(metric="right", kind="tolerance", margin=tolerance)
    wins = max(0.0, (changed - loss) / 2)
    law = stats.multinomial(n, [wins, wins + loss, 1 - 2 * wins - loss])
    passed = failed = open_loss = 0.0
    for won in range(n + 1):
        for lost in range(n - won + 1):
            mass = float(law.pmf([won, lost, n - won - lost]))
            if mass < RARE:
                continue
            status, reason = decide(won, lost, n, gate)
            passed += mass * (status is GateStatus.PASS)
            failed += mass * (status is GateStatus.FAIL)
            open_loss += mass * (reason is GateReason.LOSS_NOT_BOUNDED)
    return passed, failed, failed + open_loss


def main() -> None:
    """Print one row an outcome."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--tolerance", type=float, default=0.05)
    parser.add_argument("--changed", type=float, default=0.10)
    options = parser.parse_args()
    columns = [
        outcomes(options.cases, options.tolerance, options.changed, size * options.tolerance)
        for size in SIZES
    ]
    print(f"{'true loss, in tolerances':<32}", *(f"{size:6g}" for size in SIZES))
    names = ("passes", "fails", "would fail by any proven loss")
    for name, row in zip(names, zip(*columns, strict=True), strict=True):
        print(f"{name:<32}", *(f"{value:6.3f}" for value in row))


if __name__ == "__main__":
    main()
