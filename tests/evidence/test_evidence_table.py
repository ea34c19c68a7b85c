"""The table of docs/evidence.md: made again from the committed scores, and computed otherwise."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

ROOT = Path(__file__).parents[2]
EVIDENCE = ROOT / "evidence"
INDEX: dict[str, Any] = json.loads((EVIDENCE / "index.json").read_text(encoding="utf-8"))
PINNED: dict[tuple[str, str], tuple[str, float]] = {
    ("Llama-3.1-8B-Instruct", "mmlu_pro right"): ("SHIP", 0.0745),
    ("Llama-3.1-70B-Instruct", "mmlu_pro right"): ("SHIP", 0.0934),
    ("Mistral-7B-Instruct-v0.1", "mmlu_pro right"): ("BLOCK", -0.063),
    ("Mistral-7B-Instruct-v0.2", "mmlu_pro right"): ("UNDECIDED", 0.008),
    ("Mathstral-7B", "mmlu_pro right"): ("SHIP", 0.1192),
    ("Mixtral-8x7B-Instruct-v0.1", "mmlu_pro right"): ("SHIP", 0.0279),
    ("Yi-6B-Chat", "mmlu_pro right"): ("SHIP", 0.0309),
    ("Athene-70B", "gsm right"): ("BLOCK", -0.0637),
    ("Athene-70B", "crux right"): ("BLOCK", -0.0825),
    ("Athene-70B", "math_l5 right"): ("BLOCK", -0.043),
    ("Phi-3.5-mini", "crux right"): ("BLOCK", -0.0262),
    ("Phi-3.5-mini", "math_l5 right"): ("UNDECIDED", 0.0236),
    ("GPT-3-6B-verified", "gsm8k right"): ("SHIP", 0.1736),
    ("GPT-3-175B-verified", "gsm8k right"): ("SHIP", 0.2153),
    ("davinci-self-instruct", "instructions no_loop"): ("SHIP", 0.8611),
    ("davinci-self-instruct", "instructions answer_given"): ("SHIP", 0.0),
    ("davinci-superni", "instructions no_loop"): ("SHIP", 0.8373),
    ("davinci-superni", "instructions answer_given"): ("SHIP", -0.004),
    ("davinci-t0", "instructions no_loop"): ("BLOCK", 0.8849),
    ("davinci-t0", "instructions answer_given"): ("BLOCK", -0.1905),
    ("Alpaca-13B", "vicuna quality"): ("SHIP", 1.0),
    ("Vicuna-13B", "vicuna quality"): ("SHIP", 2.2625),
}


@pytest.fixture(name="made", scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    words = [sys.executable, str(EVIDENCE / "gate_all.py"), str(folder)]
    subprocess.run(words, check=True, capture_output=True, text=True)
    return folder


def test_every_verdict_and_difference(made: Path) -> None:
    rows = json.loads((made / "verdicts.json").read_text(encoding="utf-8"))
    found = {
        (row["names"][1], f"{row['task']} {row['metric']}"): (
            row["verdict"],
            round(row["delta"], 4),
        )
        for row in rows
    }
    assert found == PINNED


def test_the_page_and_its_picture_are_those_of_the_scores(made: Path) -> None:
    for name in ("evidence.md", "images/evidence.svg"):
        assert (made / name).read_text("utf-8") == (ROOT / "docs" / name).read_text("utf-8")


def test_each_score_file_has_its_hash_and_a_licence_that_allows_it() -> None:
    files = {f"scores/{file.parent.name}/{file.name}" for file in EVIDENCE.glob("scores/*/*")}
    assert files == INDEX.keys()
    for name, entry in INDEX.items():
        assert hashlib.sha256((EVIDENCE / name).read_bytes()).hexdigest() == entry["sha256"]
        assert entry["licence"] in ("Apache-2.0", "MIT")
        assert len(entry["commit"]) == 40
    assert sum(file.stat().st_size for file in EVIDENCE.rglob("*") if file.is_file()) < 3_000_000


def paired(task: str, base: str, tuned: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return tuned − base of each case whose prompts are the same."""
    tables = []
    for model in (base, tuned):
        with (EVIDENCE / "scores" / task / f"{model}.csv").open(encoding="utf-8") as file:
            tables.append(
                {(row["id"], row["prompt"]): row["score"] for row in csv.DictReader(file)}
            )
    shared = tables[0].keys() & tables[1].keys()
    return np.array([float(tables[1][case]) - float(tables[0][case]) for case in sorted(shared)])


@pytest.mark.parametrize(
    ("task", "base", "tuned"),
    [
        ("gsm", "Llama-3-70B-Instruct", "Athene-70B"),
        ("math_l5", "Phi-3-mini-4k", "Phi-3.5-mini"),
        ("mmlu_pro", "Mixtral-8x7B-v0.1", "Mixtral-8x7B-Instruct-v0.1"),
        ("vicuna", "LLaMA-13B-beside-Alpaca", "Alpaca-13B"),
    ],
)
def test_scipy_finds_the_same(made: Path, task: str, base: str, tuned: str) -> None:
    rows = json.loads((made / "verdicts.json").read_text(encoding="utf-8"))
    (row,) = (one for one in rows if one["files"] == [base, tuned] and one["task"] == task)
    change = paired(task, base, tuned)
    better, worse = int((change > 0).sum()), int((change < 0).sum())
    assert (row["n"], row["better"], row["worse"]) == (len(change), better, worse)
    assert row["delta"] == pytest.approx(change.mean(), abs=1e-6)

    sampled = bootstrap(
        (change,), np.mean, confidence_level=0.9, n_resamples=2000, rng=np.random.default_rng(0)
    ).confidence_interval
    width = sampled.high - sampled.low
    assert row["low"] == pytest.approx(sampled.low, abs=0.15 * width)
    assert row["high"] == pytest.approx(sampled.high, abs=0.15 * width)

    # McNemar's exact test: proven in either direction, if and only if 0 is outside the interval.
    p = binomtest(better, better + worse).pvalue
    assert (p < 0.1) == (row["low"] > 0 or row["high"] < 0)
