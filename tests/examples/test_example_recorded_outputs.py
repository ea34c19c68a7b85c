"""Judge answers that were made elsewhere: no model, no torch, only two files of recorded outputs.

A serving team keeps what the shipped model and the candidate answered to the same tickets, one
JSON object a line: `{"id": …, "completion": …}`. The suite names the right answers; `replay:FILE`
stands where a model would.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SUITE = """\
name = "routing"
cases = "cases.jsonl"

[[metrics]]
use = "exact_match"
ignore_case = true

[[gates]]
metric = "exact_match"
floor = 0.8            # never ship below this
tolerance = 0.1        # and never ship a loss of more than this
"""
QUEUES = ("refund", "shipping", "warranty")


def _record(path: Path, wrong: int) -> None:
    """Write what a model answered to 120 tickets, the first `wrong` of them wrongly."""
    lines = [
        {"id": f"t{i:03}", "completion": "no idea" if i < wrong else QUEUES[i % 3].upper()}
        for i in range(120)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def test_recorded_outputs_are_judged_without_a_model(project: Any) -> None:
    """`tunegate gate suites/routing --base replay:… --tuned replay:…` ships or does not."""
    tickets = [
        {"id": f"t{i:03}", "prompt": f"Where does ticket {i} go?", "expected": QUEUES[i % 3]}
        for i in range(120)
    ]
    project.raw_suite(SUITE, tickets, name="routing")
    _record(Path("today.jsonl"), wrong=12)
    _record(Path("candidate.jsonl"), wrong=10)

    shipped = project.tunegate(
        "gate",
        "suites/routing",
        "--base",
        "replay:today.jsonl",
        "--tuned",
        "replay:candidate.jsonl",
        "--summary",
        "summary.md",
    )

    assert shipped.ret == 0
    shipped.stdout.fnmatch_lines(["SHIP: *"])
    assert "SHIP" in Path("summary.md").read_text(encoding="utf-8")

    _record(Path("candidate.jsonl"), wrong=60)

    blocked = project.pytest_here(
        "suites/routing", "--gate-base=replay:today.jsonl", "--gate-tuned=replay:candidate.jsonl"
    )

    assert blocked.ret == 1
    blocked.stdout.fnmatch_lines(["BLOCK: routing: *"])
