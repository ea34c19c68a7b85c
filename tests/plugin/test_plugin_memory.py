"""What one more case adds to the memory of a run."""

from __future__ import annotations

import gc
import io
import json
import tracemalloc
from pathlib import Path

import pytest

from tunegate.harness.records import jsonl
from tunegate.harness.records.run_folder import Run
from tunegate.harness.run.evaluate import evaluate
from tunegate.harness.run.options import RunOptions
from tunegate.harness.suite import load_suite
from tunegate.reports import page

FEW, MORE = 100, 400
LARGEST = 9_000
"""Bytes per case, mostly its text, the plan and six scores."""
SUITE = """\
name = "prompts"
cases = "cases.jsonl"

[[metrics]]
use = "loops"

[[metrics]]
use = "length"

[[metrics]]
use = "truncated"

[[gates]]
metric = "loops"
tolerance = 0.05
"""


def _judge(folder: Path, cases: int) -> None:
    """Judge scripted models, from the suite's files to the report."""
    suite = folder / "suite"
    suite.mkdir(parents=True)
    (suite / "suite.toml").write_text(SUITE, encoding="utf-8")
    rows = [{"id": f"c{i}", "prompt": f"Question {i}: what comes next?"} for i in range(cases)]
    (suite / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    for arm, every in (("base", 3), ("tuned", 4)):
        answers = {row["id"]: "no " * (1 + i % every) for i, row in enumerate(rows)}
        (folder / f"{arm}.json").write_text(json.dumps({"completions": answers}), encoding="utf-8")
    evaluate(
        RunOptions(
            suites=[load_suite(suite)],
            specs={arm: f"scripted:{folder / arm}.json" for arm in ("base", "tuned")},
            folder=folder / "out",
            store=folder / "store.sqlite",
            stream=io.StringIO(),
            early_stop=False,
        )
    )
    page.write_all(Run.load(folder / "out"), folder / "out")


def _peak(folder: Path, cases: int) -> int:
    """Return the largest memory that Python held while scripted models were judged."""
    gc.collect()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    _judge(folder, cases)
    _, peak = tracemalloc.get_traced_memory()
    return peak - before


def test_a_case_takes_few_kilobytes_from_the_suite_to_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer, trace or file is held as a whole: the slope between two sizes is bounded.

    The records kept for the next question have a byte limit of their own, and both sizes are
    above it.
    """
    monkeypatch.setattr(jsonl, "_MOST_KEPT", 1 << 15)
    _judge(tmp_path / "warm", 20)
    tracemalloc.start()
    try:
        few, more = _peak(tmp_path / "few", FEW), _peak(tmp_path / "more", MORE)
    finally:
        tracemalloc.stop()

    assert (more - few) / (MORE - FEW) < LARGEST
