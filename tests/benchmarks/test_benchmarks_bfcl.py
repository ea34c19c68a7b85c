"""The comparison with the Berkeley leaderboard: its outputs are made, and its files read, right."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bfcl_results
from benchmarks._bfcl_styles import STYLES
from benchmarks.bfcl_agreement import ModelOutput, make_calls, plant_mistake, score_output

FUNCTIONS = [
    {
        "name": "shop.order",
        "parameters": {
            "type": "dict",
            "properties": {
                "item": {"type": "string"},
                "count": {"type": "integer"},
                "price": {"type": "float"},
                "gift": {"type": "boolean"},
                "sizes": {"type": "array", "items": {"type": "integer"}},
                "to": {"type": "dict", "properties": {"street": {"type": "string"}}},
            },
            "required": ["item"],
        },
    },
    {"name": "ping", "parameters": {"type": "dict", "properties": {}, "required": []}},
]
ANSWER = [
    {
        "shop.order": {
            "item": ['a "red", round (thing)', "it"],
            "count": [2],
            "price": ["", 2.5],
            "gift": [True],
            "sizes": [[1, 2]],
            "to": [{"street": ["Elm & Oak St"]}],
        }
    },
    {"shop.order": {"item": ["pen"]}},
]
ENTRY = {"id": "e", "category": "parallel", "functions": FUNCTIONS, "answer": ANSWER}


def score(style: str, calls: Any, entry: Any = ENTRY) -> float | None:
    """Return the score of calls written in a style, read with `extract = "prose"`."""
    text = STYLES[style].write(calls).replace("\0", "ARGS")
    return score_output(ModelOutput(entry, style, "", calls, text), "prose").value


@pytest.mark.parametrize("style", STYLES)
def test_every_style_is_read(style: str) -> None:
    """Right calls with quotation marks, brackets, lists and objects score 1, a lost one 0."""
    calls = make_calls(ANSWER)

    assert score(style, calls) == 1.0
    assert score(style, calls[:1]) == 0.0
    assert score(style, calls, {**ENTRY, "answer": None}) == 0.0


def test_mistakes_are_planted_in_a_copy() -> None:
    calls = make_calls(ANSWER)
    chance = random.Random(0)
    changes = [plant_mistake(calls, FUNCTIONS, chance, typed=True) for _ in range(400)]

    assert calls == make_calls(ANSWER)
    assert len({kind for kind, _ in changes}) == 13
    assert {kind for kind, changed in changes if changed != calls} >= {"value", "name", "type"}


@pytest.fixture(name="published")
def _published(tmp_path: Path) -> Path:
    """Return a folder as the leaderboard publishes it: two models on three tasks."""
    prompt = {"id": "simple_0", "question": "?", "function": FUNCTIONS[0]}
    failed = {"id": 1, "prompt": prompt, "possible_answer": {"shop.order": {"item": ["pen"]}}}
    rows = {
        "right": (['[shop.order(item="pen")]'], []),
        "prose": (["I can't."], [{**failed, "error_type": "ast_decoder:decoder_failed"}]),
        "wrong": (
            ['[shop.order(item="cup")]'],
            [{**failed, "error_type": "value_error:string", "model_result_decoded": [{}]}],
        ),
    }
    for model, (texts, errors) in rows.items():
        results = [{"id": f"simple_{place}", "result": text} for place, text in enumerate(texts)]
        for folder, name, lines in (
            ("result", f"{bfcl_results.PREFIX}_simple_result.json", results),
            ("score", "simple_score.json", [{"accuracy": 0}, *errors]),
        ):
            path = tmp_path / folder / model / name
            path.parent.mkdir(parents=True)
            path.write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def test_published_verdicts_are_compared(
    published: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two outputs that were read agree; of one that was not, the metric says wrong, too."""
    monkeypatch.setattr("sys.argv", ["bfcl_results", "--data", str(published)])

    assert bfcl_results.main() == 0

    first = capsys.readouterr().out.splitlines()[0]
    assert "same 100.0% of 2" in first
    assert "prose wrong 100.0% of 1" in first
