"""Suites over the recorded results of other tools, for the tests of gates on them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.records.verdict import VerdictRecord
from tunegate.harness.run.evaluate import evaluate
from tunegate.harness.run.options import RunOptions
from tunegate.harness.suite import load_suite

RECORDED = Path(__file__).parent / "recorded"
LM_EVAL = RECORDED / "lm_eval"


def write_suite(
    folder: Path,
    path: Path,
    *,
    score: str = "score",
    options: str = "binary = true",
    gates: str = "tolerance = 0.1",
    cases: str = "",
    generation: str = "",
) -> Path:
    """Write a suite over the results at `path`, with one recorded metric `correct`."""
    place = folder / "suites" / "found"
    place.mkdir(parents=True, exist_ok=True)
    text = f"""
name = "found"
[cases]
from = "results"
path = {json.dumps(str(path))}
{cases}
{generation}
[[metrics]]
use = "recorded"
name = "correct"
score = {json.dumps(score)}
{options}
[[gates]]
metric = "correct"
{gates}
"""
    (place / "suite.toml").write_text(text, encoding="utf-8")
    return place


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write JSON lines; NaN and Infinity as Python writes them."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def gate(suite: Path, base: Path | str, tuned: Path | str, **options: Any) -> VerdictRecord:
    """Return the verdict on two runs; the run folder is `run` beside the suites."""
    folder = suite.parents[1] / "run"
    return evaluate(
        RunOptions(
            suites=(load_suite(suite),),
            folder=folder,
            store=folder.with_name("store.sqlite"),
            **{
                "specs": {"base": f"results:{base}", "tuned": f"results:{tuned}"},
                "stream": io.StringIO(),
                **options,
            },
        )
    )
