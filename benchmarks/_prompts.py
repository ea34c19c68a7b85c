"""Suites of everyday prompts, in the sizes that a benchmark asks for.

The prompts are those of the bundled replay rows: unlike the cases of `production` they ask for no
short answer, so that there is something to decode.
"""

from __future__ import annotations

import json
from itertools import cycle, islice
from pathlib import Path

from tunegate.harness import suite as suites

TOML = """
name = "prompts"
cases = "cases.jsonl"
[generation]
max_new_tokens = {tokens}
[[metrics]]
use = "loops"
[[metrics]]
use = "length"
[[metrics]]
use = "truncated"
[[gates]]
metric = "truncated"
tolerance = 0.5
"""


def everyday_prompts() -> dict[str, str]:
    """Return id → prompt of the bundled replay rows."""
    source = Path(__file__).resolve().parents[1] / "suites" / "production" / "train.jsonl"
    rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    return {f"p{i:03}": row["prompt"][0]["content"] for i, row in enumerate(rows)}


def prompts_suite(folder: Path, cases: int, tokens: int) -> suites.Suite:
    """Write and load a suite of everyday prompts, repeated where there are too few."""
    lines = everyday_prompts()
    rows = [
        {
            "id": f"{name}-{i}",
            "prompt": f"{prompt} ({i})" if i >= len(lines) else prompt,
        }
        for i, (name, prompt) in enumerate(islice(cycle(lines.items()), cases))
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.jsonl").write_text(text, encoding="utf-8")
    toml = TOML.format(tokens=tokens)
    (folder / "suite.toml").write_text(toml, encoding="utf-8")
    return suites.load_suite(folder)
