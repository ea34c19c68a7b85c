"""kill -9 on real weights: nothing finished is lost, the resumed verdict is the same bytes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.short_models import ShortModel, short_model

__all__ = ["short_model"]

CASES = 12
SUITE = """
name = "kills"
cases = "cases.jsonl"

[generation]
max_new_tokens = 12

[[metrics]]
use = "truncated"
[[metrics]]
use = "answer_logprob"

[[gates]]
metric = "answer_logprob"
tolerance = 0.5
[[gates]]
metric = "truncated"
ceiling = 0.9
"""


def _project(folder: Path) -> Path:
    suite = folder / "kills"
    suite.mkdir(parents=True)
    (suite / "suite.toml").write_text(SUITE, encoding="utf-8")
    rows = [
        {
            "id": f"k{i}",
            "prompt": f"Name {2 + i % 4} things that begin with {chr(97 + i % 26)}.",
            "expected": "Here are some of them: apple, bread and cheese.",
        }
        for i in range(CASES)
    ]
    (suite / "cases.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    return folder


def _start(project: Path, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tunegate.harness.cli", *words],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=dict(os.environ),
    )


def _stored(project: Path) -> int:
    path = project / ".tunegate" / "store.sqlite"
    if not path.is_file():
        return 0
    try:
        with sqlite3.connect(path, timeout=5) as db:
            return int(db.execute("SELECT COUNT(*) FROM cells WHERE status='ok'").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


@pytest.mark.slow
@pytest.mark.long
def test_three_kills_lose_nothing_and_change_nothing(
    short_model: ShortModel, project: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three SIGKILLs in mid-run cost no stored answer, and the verdict is byte-identical.

    The run that nothing interrupts, and the last one, are in the process of the test.
    """
    clean, killed = _project(tmp_path / "clean"), _project(tmp_path / "killed")
    gate = ["gate", "kills", "--base", str(short_model.base), "--tuned", str(short_model.adapter)]
    gate += ["--run-dir", "run"]
    monkeypatch.chdir(clean)
    assert project.tunegate(*gate).ret in (0, 1, 10)
    expected = (clean / "run" / "verdict.json").read_bytes()

    stored = 0
    for wanted in (3, 16, 30):
        process = _start(killed, *gate)
        while process.poll() is None and _stored(killed) < wanted:
            time.sleep(0.01)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert _stored(killed) >= max(stored, wanted)
        stored = _stored(killed)
        assert not (killed / "run" / "verdict.json").exists()
    monkeypatch.chdir(killed)
    resumed = project.tunegate("resume", "run", *gate[1:])

    assert resumed.ret in (0, 1, 10)
    assert (killed / "run" / "verdict.json").read_bytes() == expected
