"""Gate and production count the same thing, the share of calls, whatever conversations are like."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from tunegate.harness.production.watch.baseline import production_baseline
from tunegate.harness.production.watch.indicators import LossKind, MonitoredFigure
from tunegate.harness.records.scores import Score
from tunegate.harness.stats.confidence_sequences import (
    STREAM_BETS,
    BettingCapital,
    filled_units,
    update_capital,
)

STREAMS, UNITS, ALPHA = 60, 4000, 0.05
FAILED = MonitoredFigure("failed", "calls that failed", LossKind.SHARE, lambda _: Score.of(0.0))
LONG = MonitoredFigure("longer", "long answers", LossKind.ABOVE, lambda _: Score.of(0.0))
Floats = NDArray[np.float64]


def _conversations(
    rng: np.random.Generator, shape: tuple[int, ...], rates: tuple[float, float]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return sizes and failures: one call or eight, all of which fail alike."""
    sizes = rng.choice([1, 8], size=shape)
    return sizes, rng.random(shape) < np.where(sizes == 1, *rates)


def _gate(rng: np.random.Generator, rates: tuple[float, float], sampled: bool) -> list[list[float]]:
    """Return 120 whole conversations, or 200 calls drawn from many, as `replay --sample` does."""
    sizes, lost = _conversations(rng, (3000 if sampled else 120,), rates)
    calls, names = np.repeat(lost, sizes).astype(float), np.repeat(np.arange(len(sizes)), sizes)
    kept = rng.choice(len(calls), 200, replace=False) if sampled else np.arange(len(calls))
    return [calls[kept][names[kept] == name].tolist() for name in np.unique(names[kept])]


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("rates", [(0.2, 0.02), (0.02, 0.2), (0.05, 0.05)])
def test_false_alarms_are_as_rare_as_promised(rates: tuple[float, float], sampled: bool) -> None:
    """With means of units against shares of calls, (0.2, 0.02) alarmed in 63 to 88 % of streams."""
    rng = np.random.default_rng(1)
    gates = [
        production_baseline(FAILED, _gate(rng, rates, sampled), ALPHA / 2) for _ in range(STREAMS)
    ]
    bound = np.array([gate.bound for gate in gates])
    capital = BettingCapital(np.full((STREAMS, len(STREAM_BETS)), -np.inf), np.zeros(STREAMS))
    for seen in range(0, UNITS, 100):
        sizes, lost = _conversations(rng, (STREAMS, 100), rates)
        values = filled_units(lost.astype(float), sizes, bound=bound[:, np.newaxis])
        capital = update_capital(capital, values, bound=bound, seen=seen)

    alarms = int((capital.peak >= math.log(2 / ALPHA)).sum())
    assert alarms <= ALPHA * STREAMS


def test_more_failures_are_found_among_conversations() -> None:
    rng = np.random.default_rng(2)
    gate = production_baseline(FAILED, _gate(rng, (0.02, 0.02), False), ALPHA / 2)
    bound = np.full(STREAMS, gate.bound)
    capital = BettingCapital(np.full((STREAMS, len(STREAM_BETS)), -np.inf), np.zeros(STREAMS))
    for seen in range(0, 1000, 100):
        sizes, lost = _conversations(rng, (STREAMS, 100), (0.25, 0.25))
        values = filled_units(lost.astype(float), sizes, bound=bound[:, np.newaxis])
        capital = update_capital(capital, values, bound=bound, seen=seen)

    assert (capital.peak >= math.log(2 / ALPHA)).mean() >= 0.95


@pytest.mark.parametrize("sampled", [False, True])
def test_longer_calls_of_long_conversations_do_not_alarm(sampled: bool) -> None:
    """The gate's tenth is that of its calls, not of each cluster's first."""
    rng = np.random.default_rng(3)
    missed, gates = 0, 200
    for _ in range(gates):
        sizes = rng.choice([1, 8], size=1500 if sampled else 120)
        centres = np.where(sizes == 1, 0.0, 1.0) + rng.normal(size=len(sizes))
        calls, names = np.repeat(centres, sizes), np.repeat(np.arange(len(sizes)), sizes)
        kept = rng.choice(len(calls), 200, replace=False) if sampled else np.arange(len(calls))
        groups = [calls[kept][names[kept] == name].tolist() for name in np.unique(names[kept])]
        gate = production_baseline(LONG, groups, ALPHA)
        assert gate.threshold is not None
        # share of calls above: one in nine is of a short conversation
        above = [0.5 * math.erfc((gate.threshold - mean) / math.sqrt(2)) for mean in (0.0, 1.0)]
        missed += above[0] / 9 + above[1] * 8 / 9 > gate.bound

    assert missed / gates <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / gates)


def test_a_unit_of_calls_weighs_as_its_calls_up_to_ten() -> None:
    filled = filled_units([1.0, 1.0, 0.0, 0.5], [1, 10, 50, 4], bound=0.1)

    assert filled.tolist() == pytest.approx([0.19, 1.0, 0.0, 0.26])
    worst = filled_units(np.zeros(1000), np.full(1000, 10), bound=np.linspace(0.001, 1, 1000))
    assert ((worst >= 0) & (worst < 1e-15)).all()
