"""Command line of the benchmark: measure, print the table, exit 1 if a rate exceeds its limit."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

from benchmarks.error_rates import (
    binary,
    bounded,
    clusters,
    continuous,
    copies,
    corpora,
    every_value,
    guardrails,
    judges,
    looks,
    noise,
    plans,
    references,
    relative,
    rules,
    runs,
    slices,
    votes,
)
from benchmarks.error_rates.table import Row, Settings, render, summary

GROUPS: dict[str, tuple[Callable[[Settings], list[Row]], ...]] = {
    "binary": (binary.rows, binary.refutations, binary.holds, binary.between),
    "relative": (relative.rows,),
    "continuous": (continuous.rows,),
    "bounded": (bounded.rows,),
    "corpora": (corpora.rows,),
    "clusters": (clusters.rows,),
    "copies": (copies.rows,),
    "runs": (runs.rows,),
    "references": (references.rows,),
    "guardrails": (guardrails.rows,),
    "slices": (slices.rows,),
    "every_value": (every_value.rows,),
    "looks": (looks.rows,),
    "judges": (judges.rows,),
    "votes": (votes.rows,),
    "plans": (plans.rows,),
    "noise": (noise.rows,),
    # Not a default of the gate: shows that the benchmark can fail.
    "paired-t": (partial(binary.rows, rule=rules.paired_t),),
}
DEFAULT = tuple(name for name in GROUPS if name != "paired-t")
FAST_REPS = 300


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return 1 if anything fails."""
    parsed = _parser().parse_args(arguments)
    reps = parsed.reps or (FAST_REPS if parsed.fast else Settings().reps)
    settings = Settings(reps=reps, seed=parsed.seed, fast=parsed.fast)
    results: list[Row] = []
    started = time.perf_counter()
    for name in [parsed.only] if parsed.only else DEFAULT:
        rows = [row for measure in GROUPS[name] for row in measure(settings)]
        print(render(rows), end="\n\n", flush=True)
        results += rows
    seconds = time.perf_counter() - started
    print(
        f"{summary(results)} ({seconds:.0f} s, seed {settings.seed}, "
        f"{settings.reps} samples a cell)"
    )
    return int(any(row.status == "FAIL" for row in results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.error_rates",
        description="Measure the error rates of the gate's default rules.",
    )
    parser.add_argument("--reps", type=_positive, help="simulated samples a cell (10000)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the simulations (1)")
    parser.add_argument("--only", choices=list(GROUPS), help="one group of rates")
    parser.add_argument("--fast", action="store_true", help="fewer and smaller samples, in seconds")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} must be at least 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
