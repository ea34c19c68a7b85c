"""ship-check on real weights: the rougher the rounding, the further predictions move."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from tests.short_models import ShortModel, short_model
from tunegate.harness.cli.ship_check import ship_check

__all__ = ["short_model"]

SUITE = """
name = "ships"
cases = "cases.jsonl"

[generation]
max_new_tokens = 8

[[metrics]]
use = "answer_logprob"
[[metrics]]
use = "truncated"

[[gates]]
metric = "answer_logprob"
tolerance = 0.2
"""
WORDS = ("tea", "rain", "bread", "music", "a bridge")


@pytest.mark.slow
@pytest.mark.long
def test_rounding_is_told_by_its_size(
    short_model: ShortModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Merged gives equal answers; bfloat16 moves predictions, NF4 far more so.

    Five cases of a score without a range prove none of them equivalent.
    """
    pytest.importorskip("bitsandbytes")
    monkeypatch.chdir(tmp_path)
    rows = [
        {"id": f"c{i}", "prompt": f"Write a line about {word}.", "expected": f"I like {word}."}
        for i, word in enumerate(WORDS)
    ]
    Path("suite.toml").write_text(SUITE, encoding="utf-8")
    Path("cases.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")

    with pytest.raises(typer.Exit):
        ship_check(
            [str(short_model.base), str(short_model.adapter)],
            ["suite.toml"],
            artifacts="merged,merged_16bit,four_bit",
        )

    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    told = {
        row[0]: row for row in table if row and row[0] in ("merged", "merged_16bit", "four_bit")
    }
    whole, sixteen, four = (float(told[n][4]) for n in ("merged", "merged_16bit", "four_bit"))
    assert told["merged"][3:] == ["5/5", told["merged"][4], "undecided"]
    assert 0 <= whole < 1e-8
    assert 100 * whole < sixteen < four / 10
