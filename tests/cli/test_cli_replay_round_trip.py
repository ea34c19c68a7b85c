"""The traces of a run, replayed, give the models the same prompts, token by token."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

TOML = """
name = "demo"
cases = "cases.jsonl"
[generation]
system = "Say what the shop would say."
max_new_tokens = 4
[[metrics]]
use = "length"
[[gates]]
metric = "length"
tolerance = 50
"""
TURNS = [
    {"role": "user", "content": "Where is the parcel?"},
    {"role": "assistant", "content": "It is late."},
    {"role": "user", "content": 'And "now", \\ and \u2028 then? 🙂'},
]


def prompts(run: Path) -> dict[str, str]:
    """Return case id → hash of the token ids that both arms read."""
    lines = (run / "cases.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["case"]["id"]: row["prompt_sha256"] for row in map(json.loads, lines)}


SYSTEM = {"role": "system", "content": "Be brief."}
PROMPTS = [{"id": f"c{n}", "prompt": f"Parcel {n}, mail jo{n}@example.org?"} for n in range(9)]
CHATS = [
    {"id": "turns", "messages": TURNS, "tags": ["late"], "cluster": "one"},
    {"id": "own-system", "messages": [SYSTEM, *TURNS]},
]


@pytest.mark.parametrize(
    ("settings", "cases"),
    [("", [*PROMPTS, *CHATS]), ('template = "none"\n', PROMPTS)],
    ids=["chat", "plain"],
)
def test_replayed_traces_give_the_same_token_ids(
    project: Any, tiny: Any, settings: str, cases: list[dict[str, Any]]
) -> None:
    toml = TOML.replace("max_new_tokens", f"{settings}max_new_tokens")
    project.raw_suite(toml, cases)
    arms = [f"--{arm}={spec}" for arm, spec in (("base", tiny.base()), ("tuned", tiny.adapter()))]
    content = ("--trace-content", "--trace-redact=none", f"--run-dir={project.run}")
    project.tunegate("gate", "suites", *arms, *content)
    asked = prompts(project.run)
    only = project.path / "only"
    only.mkdir()
    shutil.move(project.run / "traces.jsonl", only)
    shutil.rmtree(project.run)
    shutil.rmtree(project.path / ".tunegate")

    replayed = project.tunegate("replay", only, *arms, "--scrub=none", "--run-dir=again")

    assert replayed.ret in (0, 1, 10, 11)
    assert None not in asked.values()
    assert prompts(project.path / "again") == asked
