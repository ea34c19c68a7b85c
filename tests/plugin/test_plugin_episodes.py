"""Episodes from the command line: killed and resumed, replayed, and shown on the page."""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from pathlib import Path
from typing import Any

from tests.played_suites import TOML, call, write_desk

TASKS = 8


def _gate(project: Any, *, delay_s: float = 0.0) -> list[str | Path]:
    """Write a suite of 8 tasks and two scripts; return the arguments of its gate."""
    tasks = [
        {"id": f"t{n}", "prompt": f"Pay A1 back, {n}.", "row": {"order": "A1"}}
        for n in range(TASKS)
    ]
    toml = TOML.replace("gain = 0.10", "floor = 0.30")
    write_desk(project.path / "suites" / "desk", toml=toml, tasks=tasks)
    solved = [call("find", order="A1"), call("refund", order="A1"), "Paid."]
    lost = [call("refund", order="A1"), "I cannot."]
    specs = []
    for name, said in (("base", lost), ("tuned", solved)):
        file = project.path / f"{name}.json"
        script = {"turns": {task["id"]: said for task in tasks}, "delay_s": delay_s}
        file.write_text(json.dumps(script))
        specs.append(f"scripted:{file}")
    return [
        "gate",
        "suites/desk",
        "--base",
        specs[0],
        "--tuned",
        specs[1],
        "--run-dir",
        project.run,
    ]


def test_kills_within_episodes_lose_no_turn(project: Any) -> None:
    """kill -9 at two random moments: the turns stay, and the verdict is the same bytes."""
    moments = random.Random(20261128)
    arguments = _gate(project, delay_s=0.05)
    assert project.tunegate(*arguments).ret == 0
    clean = (project.run / "verdict.json").read_bytes()
    turns = len(project.stored())
    shutil.rmtree(project.run)
    shutil.rmtree(project.path / ".tunegate")

    known: set[str] = set()
    for _ in range(2):
        begun = (project.run / "manifest.json").is_file()
        process = project.start(*(["resume", project.run, *arguments[1:]] if begun else arguments))
        deadline = time.monotonic() + 60
        while len(project.stored()) <= len(known) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        process.communicate()
        found = set(project.stored())
        assert known <= found
        known = found
    result = project.tunegate("resume", project.run, *arguments[1:])

    assert result.ret == 0
    assert (project.run / "verdict.json").read_bytes() == clean
    assert len(project.stored()) == turns == 2 * TASKS + TASKS * (2 + 3)
    assert set(project.stored().values()) == {1}


def test_the_page_shows_rewards_and_where_transcripts_part(project: Any) -> None:
    """Totals, the grid and the pairs; a run without episodes has no such section."""
    assert project.tunegate(*_gate(project)).ret == 0
    page = (project.run / "report.html").read_text()
    part = page[page.index('<section id="episodes"') :]
    text = re.sub(r"<[^>]+>", " ", part[: part.index("</section>")])

    assert "8 answered" in text
    assert "reward  0 → 1" in text
    assert "apart from turn 1 on" in text
    assert "result of refund" in text
    assert "failed of refund" in text


def test_a_run_is_replayed_with_its_episodes(project: Any) -> None:
    """`replay:RUN_DIR` has the turns, so that the same gates are judged without a model."""
    assert project.tunegate(*_gate(project)).ret == 0
    first = project.verdict()
    again = project.path / "again"
    arms = [f"replay:{project.run}#{arm}" for arm in ("base", "tuned")]
    options = ["--base", arms[0], "--tuned", arms[1], "--run-dir", again]
    result = project.tunegate("gate", "suites/desk", *options)

    assert result.ret == 0
    assert project.verdict(again)["suites"][0]["gates"] == first["suites"][0]["gates"]


def test_judges_read_what_was_done(project: Any) -> None:
    """A judge that looks for the refund's result in the transcript: base, refused, 0; tuned 1."""
    arguments = _gate(project)
    suite = project.path / "suites" / "desk" / "suite.toml"
    judges = "".join(f'[[metrics]]\nuse = "{n}"\n' for n in ("task_completion", "trajectory"))
    toml = suite.read_text().replace("[[metrics]]", f"{judges}[[metrics]]", 1)
    suite.write_text(toml)
    rules = [
        {"contains": "Whether the task was done in the end does not count",
         "reply": {"reason": "r", "verdict": "yes"}},
        {"contains": "refund returned: paid", "reply": {"reason": "r", "verdict": "done"}},
    ]  # fmt: skip
    script = project.path / "judge.json"
    default = {"reason": "r", "verdict": "not_done"}
    script.write_text(json.dumps({"rules": rules, "default": default}))

    assert project.tunegate(*arguments, "--judge", f"scripted:{script}").ret == 0

    rows = (project.run / "scores.jsonl").read_text().splitlines()
    found: dict[tuple[str, str], set[float]] = {}
    for row in map(json.loads, rows):
        found.setdefault((row["metric"], row["arm"]), set()).add(row["value"])
    assert found["task_completion", "base"] == {0.0}
    assert found["task_completion", "tuned"] == {1.0}
    assert found["trajectory", "base"] == found["trajectory", "tuned"] == {1.0}
