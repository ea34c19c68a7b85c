"""How often `tunegate watch` is wrong, and how soon it is right: simulated weeks of production.

A false alarm is an alarm of any figure in 500 weeks in which production is exactly the gate's
model; the gate's own sample is drawn again for each of the streams. Delays are those of one figure
of ten, which has a tenth of the error.

    python -m benchmarks.watch_error_rates
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tunegate.harness.stats.confidence_sequences import (
    BLOCK,
    MOST_CALLS,
    STREAM_BETS,
    BettingCapital,
    filled_units,
    units_needed,
    update_capital,
)
from tunegate.harness.stats.tolerance_bounds import (
    order_statistic,
    worst_clustered_mean,
    worst_rate,
)

ALPHA = 0.05
WEEKS = 500
DROP = 0.10
FIGURES = 10
SHARES = (0.0, 0.02, 0.05, 0.10, 0.30)
DELAYS = (
    (100, 0.02), (250, 0.0), (250, 0.02), (250, 0.05), (250, 0.10),
    (500, 0.05), (1000, 0.02), (1000, 0.10),
)  # fmt: skip
"""Cases of the gate, and the share of its answers that break the format."""
LIMIT = 20_000

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Streams:
    """Many streams of the same kind."""

    bound: Floats
    """What the gate's sample promises, of each stream."""
    alpha: float
    """Error of the figure."""

    def alarms(self, rng: np.random.Generator, rates: Sequence[tuple[int, float]]) -> Floats:
        """Return after how many calls each of them raises an alarm; inf if it never does.

        Args:
            rng: Draws the calls.
            rates: Calls, and the share of them that goes wrong, one stretch after another.
        """
        count = len(self.bound)
        capital = BettingCapital(np.full((count, len(STREAM_BETS)), -np.inf), np.zeros(count))
        when = np.full(count, np.inf)
        seen = 0
        needed = math.log(2 / self.alpha)
        for calls, rate in rates:
            for _ in range(0, calls, BLOCK):
                values = (rng.random((count, BLOCK)) < rate).astype(np.float64)
                capital = _bet(capital, values, 1, bound=self.bound, seen=seen)
                seen += BLOCK
                when = np.where((capital.peak >= needed) & np.isinf(when), seen, when)
                if np.isfinite(when).all():
                    return when
        return when


def promised(rng: np.random.Generator, n: int, rate: float, count: int, alpha: float) -> Streams:
    """Return streams, each with a gate of n cases."""
    seen = rng.binomial(n, rate, size=count)
    limits = {k: worst_rate(int(k), n, alpha=alpha / 2) for k in np.unique(seen)}
    return Streams(np.array([limits[k] for k in seen]), alpha)


def false_alarms(rng: np.random.Generator, rate: float, calls: int, count: int) -> float:
    """Return the share of streams with a false alarm of a figure that has the whole error."""
    streams = promised(rng, 250, rate, count, ALPHA)
    return float(np.isfinite(streams.alarms(rng, [(WEEKS * calls, rate)])).mean())


def false_tail_alarms(rng: np.random.Generator, calls: int, count: int) -> float:
    """Return the same of `slower`: lognormal seconds above the ninth tenth of 250 of the gate's."""
    gates = rng.lognormal(size=(count, 250))
    limits = [order_statistic(gate, 0.9) for gate in gates]
    bound = np.array([worst_rate(x.above, x.n, alpha=ALPHA / 2) for x in limits])
    # Above the threshold is this share of all seconds there can be.
    above = np.array([0.5 * math.erfc(math.log(x.value) / math.sqrt(2)) for x in limits])
    capital = BettingCapital(np.full((count, len(STREAM_BETS)), -np.inf), np.zeros(count))
    for seen in range(0, WEEKS * calls, BLOCK):
        values = (rng.random((count, BLOCK)) < above[:, np.newaxis]).astype(np.float64)
        capital = _bet(capital, values, 1, bound=bound, seen=seen)
    return float((capital.peak >= math.log(2 / ALPHA)).mean())


CONVERSATION = 5
"""Calls of a conversation."""


def false_conversation_alarms(
    rng: np.random.Generator, rate: float, calls: int, count: int
) -> float:
    """Return the same where production comes in conversations, at the gate's limit exactly.

    The calls of a conversation are correlated by a third: what is wrong in one of them is likely to
    be wrong in the next. Taken one by one they are no fair bets; each conversation is one.
    """
    bound = promised(rng, 250, rate, count, ALPHA).bound
    strength = 2.0  # a + b of a beta law: intraclass correlation 1 / (a + b + 1)
    wrong_share, right_share = (side[:, np.newaxis] * strength for side in (bound, 1 - bound))
    capital = BettingCapital(np.full((count, len(STREAM_BETS)), -np.inf), np.zeros(count))
    for seen in range(0, WEEKS * calls // CONVERSATION, BLOCK):
        rates = rng.beta(wrong_share, right_share, size=(count, BLOCK))
        wrong = rng.random((count, BLOCK, CONVERSATION)) < rates[:, :, np.newaxis]
        capital = _bet(capital, wrong.mean(axis=2), CONVERSATION, bound=bound, seen=seen)
    return float((capital.peak >= math.log(2 / ALPHA)).mean())


def false_short_conversation_alarms(rng: np.random.Generator, calls: int, count: int) -> float:
    """Return the same where short conversations fail more often, and the calls of each alike.

    Half of them have one call and fail with .2, half have eight and fail with .02: 4 % of all calls
    fail, and 11 % of the conversations. The gate has 120 of them.
    """

    def drawn(shape: tuple[int, ...]) -> tuple[Floats, NDArray[np.int64]]:
        sizes = rng.choice([1, 8], size=shape)
        return (rng.random(shape) < np.where(sizes == 1, 0.2, 0.02)).astype(np.float64), sizes

    bounds = []
    for _ in range(count):
        lost, sizes = drawn((120,))
        calls_lost, clusters = np.repeat(lost, sizes), np.repeat(np.arange(120), sizes)
        bounds.append(worst_clustered_mean(calls_lost, clusters.tolist(), alpha=ALPHA / 2))
    bound = np.array(bounds)
    capital = BettingCapital(np.full((count, len(STREAM_BETS)), -np.inf), np.zeros(count))
    for seen in range(0, int(WEEKS * calls / 4.5), BLOCK):
        lost, sizes = drawn((count, BLOCK))
        capital = _bet(capital, lost, sizes, bound=bound, seen=seen)
    return float((capital.peak >= math.log(2 / ALPHA)).mean())


def _bet(
    capital: BettingCapital,
    means: Floats,
    sizes: int | NDArray[np.int64],
    *,
    bound: Floats,
    seen: int,
) -> BettingCapital:
    """Update many streams with units of several calls, as `watch` does."""
    values = filled_units(means, sizes, bound=bound[:, np.newaxis])
    return update_capital(capital, values, bound=bound, seen=seen)


def delay(
    rng: np.random.Generator, n: int, rate: float, quiet: int, count: int, figures: int = FIGURES
) -> tuple[float, float]:
    """Return calls from a drop to the alarm: those of half and of nine tenths of the streams."""
    streams = promised(rng, n, rate, count, ALPHA / figures)
    when = streams.alarms(rng, [(quiet, rate), (LIMIT, rate + DROP)]) - quiet
    half, most = np.quantile(when, (0.5, 0.9), method="higher")
    return float(half), float(most)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return 1 if a false-alarm rate is above what is stated."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.watch_error_rates")
    parser.add_argument("--streams", type=int, default=400, help="simulated streams (400)")
    parser.add_argument("--calls", type=int, default=100, help="calls a week (100)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    rng, started = np.random.default_rng(options.seed), time.perf_counter()
    print(f"false alarms in {WEEKS} weeks of {options.calls} calls, at most {ALPHA:.0%} stated")
    rates = {f"share {share:.0%}": false_alarms(rng, share, options.calls, options.streams)
             for share in SHARES}  # fmt: skip
    rates["slower than the ninth tenth"] = false_tail_alarms(rng, options.calls, options.streams)
    talks = np.random.default_rng(options.seed + 2)
    rates["share 5%, conversations of 5"] = false_conversation_alarms(
        talks, 0.05, options.calls, options.streams
    )
    rates["short conversations fail more"] = false_short_conversation_alarms(
        talks, options.calls, options.streams
    )
    for name, rate in rates.items():
        print(f"  {name:32} {rate:7.2%}")
    print(f"\ncalls from a {100 * DROP:.0f}-point drop to its alarm, one figure of {FIGURES}")
    print(
        "  cases  wrong before  wrong after   as planned  half of streams  nine of ten  after 10k"
    )
    for n, rate in DELAYS:
        half, most = delay(rng, n, rate, 0, options.streams)
        _, late = delay(rng, n, rate, 10_000, options.streams)
        alpha = ALPHA / FIGURES / 2
        bound = worst_rate(round(rate * n), n, alpha=alpha)
        planned = units_needed(rate + DROP, bound=bound, alpha=alpha, filled=MOST_CALLS)
        print(f"  {n:5}  {rate:12.0%}  {rate + DROP:11.0%}  {planned or 'never':>11}"
              f"  {_calls(half):>15}  {_calls(most):>11}  {_calls(late):>9}")  # fmt: skip
    print(f"\n{options.streams} streams a row, seed {options.seed}, "
          f"{time.perf_counter() - started:.0f} s")  # fmt: skip
    return int(any(rate > ALPHA for rate in rates.values()))


def _calls(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else f">{LIMIT:,}"


if __name__ == "__main__":
    raise SystemExit(main())
