"""Rows and suite of the two fine-tunes of docs/guides/forgetting.md.

    python -m benchmarks.forgetting_rows SNIPS FOLDER

SNIPS holds train.jsonl and test.jsonl, each line with `text` and `target` (`intent`, and `slots`
with a list of values each), made from github.com/snipsco/nlu-benchmark (CC0). FOLDER gets
task.jsonl (1,200 requests), mixed.jsonl (700 of them and the rows of suites/production/train.jsonl)
and suites/intents.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EVERYDAY = Path(__file__).parents[1] / "suites" / "production" / "train.jsonl"
SUITE = """\
name = "intents"
cases = "cases.jsonl"

[generation]
max_new_tokens = 96

[[metrics]]
use = "json_schema"
schema = "schema.json"

[[metrics]]
use = "json_fields"

[[gates]]
metric = "json_schema"
floor = 0.90
gain = 0.10
expected_gain = 0.50

[[gates]]
metric = "json_fields"
floor = 0.60
"""


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), "utf-8")


def _flat(target: dict[str, Any]) -> str:
    slots = {name: values[0] for name, values in target["slots"].items()}
    return json.dumps({"intent": target["intent"], **slots}, ensure_ascii=False)


def write_rows(snips: Path, folder: Path) -> None:
    """Write the rows of both fine-tunes and the suite of their task."""
    draw = random.Random(7)
    trained, unseen = _read(snips / "train.jsonl"), _read(snips / "test.jsonl")
    tested = {row["text"] for row in unseen}
    rows = [
        {
            "prompt": [{"role": "user", "content": row["text"]}],
            "completion": [{"role": "assistant", "content": _flat(row["target"])}],
        }
        for row in trained
        if row["text"] not in tested
    ]
    draw.shuffle(rows)
    mixed = [*rows[:700], *_read(EVERYDAY)]
    draw.shuffle(mixed)
    draw.shuffle(unseen)
    suite = folder / "suites" / "intents"
    suite.mkdir(parents=True)
    _write(folder / "task.jsonl", rows[:1200])
    _write(folder / "mixed.jsonl", mixed)
    _write(
        suite / "cases.jsonl",
        [
            {"id": f"i{number:03}", "prompt": row["text"], "expected": _flat(row["target"])}
            for number, row in enumerate(unseen[:300])
        ],
    )
    intents = sorted({row["target"]["intent"] for row in trained})
    schema = {
        "type": "object",
        "properties": {"intent": {"enum": intents}},
        "required": ["intent"],
        "additionalProperties": {"type": "string"},
    }
    (suite / "schema.json").write_text(json.dumps(schema), "utf-8")
    (suite / "suite.toml").write_text(SUITE, "utf-8")


def main() -> None:
    """Write everything into a new folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("snips", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    write_rows(options.snips, options.folder)


if __name__ == "__main__":
    main()
