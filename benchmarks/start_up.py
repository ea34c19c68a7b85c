"""What a gate costs before and after its arithmetic: `python -m benchmarks.start_up`.

A gate on 60 recorded cases, page included, and `tunegate --help`, each as a ratio to a Python that
imports pytest, numpy, scipy.stats, pydantic and jinja2. Times are seconds of CPU of the whole
process, the least of several runs, with byte code on disk as users have it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

PEER = "import pytest, numpy, scipy.stats, pydantic, jinja2"
CASES = 60
WANTED = {"gate": 1.8, "--help": 0.3}
"""Largest ratio that is wanted."""
SUITE = """\
name = "start"
cases = "cases.jsonl"
[[metrics]]
use = "exact_match"
[[gates]]
metric = "exact_match"
floor = 0.2
gain = 0.1
expected_gain = 0.3
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Print the ratios; return 1 if one is above what is wanted."""
    parser = argparse.ArgumentParser(prog="benchmarks.start_up", description=__doc__)
    parser.add_argument("--runs", type=int, default=7, help="runs of each command")
    runs = parser.parse_args(argv).runs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_project(folder)
        gate = ["gate", "suites", "--base", "replay:base.jsonl", "--tuned", "replay:tuned.jsonl"]
        peer = least_seconds([sys.executable, "-c", PEER], folder, runs)
        print(f"{'import ' + PEER[7:]:<55} {peer:6.2f} s  ratio  1.00")
        missed = False
        for name, words in (("gate", gate), ("--help", ["--help"])):
            command = [sys.executable, "-m", "tunegate.harness.cli", *words]
            seconds = least_seconds(command, folder, runs)
            ratio = seconds / peer
            missed |= ratio > WANTED[name]
            what = "tunegate " + (f"gate, {CASES} recorded cases" if name == "gate" else name)
            print(f"{what:<55} {seconds:6.2f} s  ratio {ratio:5.2f}  wanted {WANTED[name]:.2f}")
    return int(missed)


def write_project(folder: Path) -> None:
    """Write a suite and the answers of both arms."""
    suite = folder / "suites" / "start"
    suite.mkdir(parents=True)
    (suite / "suite.toml").write_text(SUITE, encoding="utf-8")
    cases = [{"id": f"c{i}", "prompt": f"q{i}", "expected": "yes"} for i in range(CASES)]
    _write(suite / "cases.jsonl", cases)
    for arm, right in (("base", 20), ("tuned", 57)):
        answers = [
            {"id": f"c{i}", "completion": "yes" if i < right else "no"} for i in range(CASES)
        ]
        _write(folder / f"{arm}.jsonl", answers)


def _write(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def least_seconds(command: Sequence[str], folder: Path, runs: int) -> float:
    """Return the least CPU time of several runs of a command that succeeds."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[1] / "src")
    seconds = []
    for _ in range(runs + 1):  # the first one writes byte code
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds[1:])


if __name__ == "__main__":
    sys.exit(main())
