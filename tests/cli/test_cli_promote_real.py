"""A real adapter from gate to card: judged beside an incumbent, promoted, and described."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from tests.tiny_models import muted
from tunegate.harness.cli import app
from tunegate.harness.engine.inference import local_engine
from tunegate.harness.records.cases import Case

SUITE = """
name = "tiny"
cases = "cases.jsonl"

[generation]
template = "none"
max_new_tokens = 6

[[metrics]]
use = "exact_match"

[[gates]]
metric = "exact_match"
gain = 0.1
tolerance = 0.1
"""
WORDS = ("parcel", "late", "refund", "customer", "capital", "France", "Spain", "Madrid")


def _tunegate(*args: str) -> str:
    """Run a command in this process; errors of ours pass through, as to `main`."""
    result = CliRunner().invoke(app, list(args), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_from_gate_to_card(project: Any, tiny: Any, ask: Any) -> None:
    from huggingface_hub import ModelCard

    cases = [Case(id=f"c{i}", prompt=f"{WORDS[i % 8]} {WORDS[i // 8]} the") for i in range(60)]
    with muted():
        pair = tiny.pair()
        answers = local_engine.complete_requests(
            pair["tuned"], ask(pair["tuned"], cases, max_new_tokens=6)
        )
        right = {a.key: a.completion.text for a in answers if a.completion}
    rows = [{"id": c.id, "prompt": c.prompt, "expected": right[c.id]} for c in cases]
    project.raw_suite(SUITE, rows, "tiny")
    shutil.copytree(tiny.adapter(), "adapter")
    options = "--gate-tuned=adapter", f"--gate-incumbent={tiny.adapter(seed=5)}"

    with muted():
        result = project.gate(*options)

    verdict = project.verdict()
    assert result.ret == 0, result.stdout.str()
    assert verdict["further_arms"]["incumbent"]["verdict"] == "SHIP"
    assert "note: no worse than the incumbent" in result.stdout.str()
    assert "adapter was shipped on run" in _tunegate("promote", "run")
    (line,) = Path("shipped.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["identity"]["adapter_sha256"]
    output = _tunegate("card", "run", "--adapter", "adapter")
    assert output.endswith("wrote adapter/README.md: SHIP\n")
    card = ModelCard.load("adapter/README.md")
    assert card.data.eval_results[0].metric_value == 1.0
    assert "not proven here" not in card.text
