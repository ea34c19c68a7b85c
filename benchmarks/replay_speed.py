"""How long and how large recorded outputs get: `python -m benchmarks.replay_speed`.

12,000 cases of 60 words, answered in about 120 words by both arms from `replay:` files, through the
whole of `tunegate gate`: collecting the suite, the plan, the store, scoring three gates, the run
folder, the page and the pytest items. Printed are the seconds of computing, of them those of each
stage, the size of the run folder without the page as a multiple of the three input files, and the
size of the page. The exit code is 1 if one of the promises is missed: 25 s, 2 times, 25 MB.
Without early stopping and with it; the latter is promised nothing, it looks twenty times.
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

PROMISE = 25.0
"""Seconds of computing."""
LARGEST = 2.0
"""Size of the run folder without the page, in sizes of what was read."""
PAGE = 25_000_000
"""Bytes of the page."""
STAGES = {
    "load the suite": "tunegate.harness.suite:load_suite",
    "open the arms": "tunegate.harness.run.evaluate:open_arms",
    "plan": "tunegate.harness.run.prepare:make_plan",
    "answer and store": "tunegate.harness.run.prepared_run:Runner.run",
    "collect": "tunegate.harness.run.prepared_run:collect_answers",
    "score": "tunegate.harness.run.prepared_run:score_suite",
    "decide": "tunegate.harness.run.prepared_run:decide_run",
    "traces": "tunegate.harness.telemetry.export:write_traces",
    "files of the run": "tunegate.harness.run.folder_writer:write_atomic",
    "read the run again": "tunegate.harness.records.run_folder:Run.load",
    "page and summaries": "tunegate.reports.page:write_all",
}
"""Stage → the function that is timed; a stage within another counts in both."""
SUITE = """\
name = "routing"
cases = "cases.jsonl"
[[metrics]]
use = "contains"
[[metrics]]
use = "loops"
[[metrics]]
use = "length"
[[gates]]
metric = "contains"
floor = 0.5
gain = 0.013
[[gates]]
metric = "loops"
tolerance = 0.01
"""
QUEUES = ("refund", "shipping", "warranty", "invoice")


def main() -> int:
    """Print seconds and sizes; return 1 if a promise was missed."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--cases", type=int, default=12_000)
    cases = parser.parse_args().cases
    missed = False
    for early_stop in ("off", "on"):
        took = _timed(cases, early_stop)
        kept = early_stop == "on" or took.promised
        missed |= not kept
        print(
            f"{cases} cases, --early-stop {early_stop}: {took.computing:.1f} s computing, "
            f"{took.seconds:.1f} s by the clock; run folder {took.ratio:.2f} times the input of "
            f"{took.read / 1e6:.1f} MB, page {took.page / 1e6:.1f} MB: {'ok' if kept else 'FAIL'}"
        )
        for stage, spent in took.stages.items():
            print(f"  {stage:<20} {spent:6.2f} s computing")
    return int(missed)


@dataclass(frozen=True, slots=True)
class Took:
    """What one run took."""

    seconds: float
    computing: float
    """Of them, what the process computed: the rest is the disk, and others on this machine."""
    stages: dict[str, float]
    read: int
    """Bytes of the suite's cases and of both arms' answers."""
    folder: int
    """Bytes of the run folder without the page."""
    page: int

    @property
    def ratio(self) -> float:
        """Size of the run folder without the page, in sizes of what was read."""
        return self.folder / self.read

    @property
    def promised(self) -> bool:
        """Whether all promises were kept."""
        return self.computing <= PROMISE and self.ratio <= LARGEST and self.page <= PAGE


def _timed(cases: int, early_stop: str) -> Took:
    """Time one gate in a folder of its own."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name), _clocks() as stages:
        _write(Path(), cases)
        read = sum(path.stat().st_size for path in Path().glob("*.jsonl"))
        start, computed = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            code = pytest.main(
                [
                    "-p", "no:cacheprovider", "suite.toml", f"--gate-early-stop={early_stop}",
                    "--gate-base=replay:base.jsonl", "--gate-tuned=replay:tuned.jsonl",
                    "--gate-run-dir=run",
                ]
            )  # fmt: skip
        seconds, computing = time.perf_counter() - start, time.process_time() - computed
        if not Path("run/report.html").is_file():
            raise SystemExit(f"the run failed with exit code {code}")
        page = Path("run/report.html").stat().st_size
        folder = sum(path.stat().st_size for path in Path("run").iterdir()) - page
    return Took(seconds, computing, stages, read, folder, page)


def _write(folder: Path, cases: int) -> None:
    """Write the suite and what both arms answered: 4 in 10 answers differ."""
    rng = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randrange(2, 9))) for _ in range(4_000)]
    rows: dict[str, list[dict[str, Any]]] = {"cases": [], "base": [], "tuned": []}

    def answer(right: str, chance: float) -> str:
        text = " ".join(rng.choices(words, k=rng.randrange(60, 180)))
        return f"{text} {right}" if rng.random() < chance else text

    for i in range(cases):
        name, right = f"t{i:05}", rng.choice(QUEUES)
        prompt = f"Ticket {i}: {' '.join(rng.choices(words, k=60))}\nQueue?"
        case = {"id": name, "prompt": prompt, "expected": right, "tags": [rng.choice(QUEUES)]}
        base = answer(right, 0.7)
        tuned = base if rng.random() < 0.6 else answer(right, 0.8)
        rows["cases"].append(case)
        rows["base"].append({"id": name, "completion": base})
        rows["tuned"].append({"id": name, "completion": tuned})
    for file, lines in rows.items():
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / f"{file}.jsonl").write_text(text, encoding="utf-8")
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
        start = time.process_time()
        try:
            result = function(*args, **options)
            return list(result) if isinstance(result, Iterator) else result
        finally:
            spent[stage] += time.process_time() - start

    return clocked


if __name__ == "__main__":
    sys.exit(main())
