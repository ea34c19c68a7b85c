"""How long recorded outputs take to a verdict: `python -m benchmarks.replay_speed`.

10,000 cases, both arms from `replay:` files, through the whole of `tunegate gate`: collecting the
suite, the plan, the store, scoring, statistics, the run folder, the page and the pytest items.
Promised are 30 seconds on two cores, without early stopping and with it: its eighteenth look of
twenty decides.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROMISE = 30.0
STAGES = {
    "load the suite": "tunegate.harness.suite:load_suite",
    "open the arms": "tunegate.harness.pipeline.run:open_arms",
    "plan": "tunegate.harness.pipeline.steps:make_plan",
    "answer and store": "tunegate.harness.pipeline.steps:Runner.run",
    "collect": "tunegate.harness.pipeline.steps:collect_answers",
    "score": "tunegate.harness.pipeline.steps:score_suite",
    "decide": "tunegate.harness.pipeline.steps:decide_run",
    "traces": "tunegate.harness.otel_export:write_traces",
    "files of the run": "tunegate.harness.pipeline.run_writer:write_atomic",
    "read the run again": "tunegate.harness.records.run_folder:Run.load",
    "page and summaries": "tunegate.reports.page:write_all",
}
"""Stage → the function that is timed; a stage within another counts in both."""
SUITE = """\
name = "routing"
cases = "cases.jsonl"
[[metrics]]
use = "exact_match"
[[metrics]]
use = "loops"
[[metrics]]
use = "length"
[[gates]]
metric = "exact_match"
floor = 0.5
gain = 0.013
[[gates]]
metric = "loops"
tolerance = 0.01
"""
QUEUES = ("refund", "shipping", "warranty", "invoice")
WORDS = "the order arrived late and the box was open so please send another one soon thank you"


def main() -> int:
    """Print the seconds of each stage; return 1 if a run took longer than promised."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--cases", type=int, default=10_000)
    cases = parser.parse_args().cases
    slow = False
    for early_stop in ("off", "on"):
        took = _timed(cases, early_stop)
        slow |= took.seconds > PROMISE
        status = "ok" if took.seconds <= PROMISE else "FAIL"
        print(
            f"{cases} cases, --early-stop {early_stop}: {took.seconds:.1f} s, "
            f"{took.computing:.1f} s of them computing: {status}"
        )
        for stage, spent in took.stages.items():
            print(f"  {stage:<20} {spent:6.2f} s")
    return int(slow)


@dataclass(frozen=True, slots=True)
class Took:
    """The seconds of one run."""

    seconds: float
    computing: float
    """Of them, what the process computed: the rest is the disk, and others on this machine."""
    stages: dict[str, float]


def _timed(cases: int, early_stop: str) -> Took:
    """Time one gate in a folder of its own."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name), _clocks() as stages:
        _write(Path(), cases)
        start, computed = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            code = pytest.main(
                [
                    "-p", "no:cacheprovider", "suite.toml", f"--gate-early-stop={early_stop}",
                    "--gate-base=replay:base.jsonl", "--gate-tuned=replay:tuned.jsonl",
                ]
            )  # fmt: skip
        took = Took(time.perf_counter() - start, time.process_time() - computed, stages)
        if not Path(".tunegate/runs").is_dir():
            raise SystemExit(f"the run failed with exit code {code}")
    return took


def _write(folder: Path, cases: int) -> None:
    """Write the suite and what both arms answered: 1 in 10 answers may differ."""
    rng = random.Random(0)
    rows: dict[str, list[dict[str, Any]]] = {"cases": [], "base": [], "tuned": []}
    for i in range(cases):
        text = " ".join(rng.sample(WORDS.split(), 12))
        right = rng.choice(QUEUES)
        rows["cases"].append(
            {
                "id": f"t{i:05}",
                "prompt": f"Ticket {i}: {text}\nQueue?",
                "expected": right,
                "tags": [rng.choice(QUEUES)],
            }
        )
        said = right if rng.random() < 0.7 else text
        other = (right if rng.random() < 0.9 else text) if rng.random() < 0.1 else said
        rows["base"].append({"id": f"t{i:05}", "completion": said})
        rows["tuned"].append({"id": f"t{i:05}", "completion": other})
    for name, lines in rows.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")


@contextlib.contextmanager
def _clocks() -> Iterator[dict[str, float]]:
    """Time every stage while the context lasts."""
    spent = dict.fromkeys(STAGES, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        for stage, place in STAGES.items():
            module, _, path = place.partition(":")
            owner: Any = importlib.import_module(module)
            *outer, name = path.split(".")
            for part in outer:
                owner = getattr(owner, part)
            patch.setattr(owner, name, _clocked(getattr(owner, name), stage, spent))
        yield spent


def _clocked(
    function: Callable[..., Any], stage: str, spent: dict[str, float]
) -> Callable[..., Any]:
    """Return `function`, its seconds and those of what it yields added to its stage."""

    def clocked(*args: Any, **options: Any) -> Any:
        start = time.perf_counter()
        try:
            found = function(*args, **options)
            return list(found) if isinstance(found, Iterator) else found
        finally:
            spent[stage] += time.perf_counter() - start

    return clocked


if __name__ == "__main__":
    sys.exit(main())
