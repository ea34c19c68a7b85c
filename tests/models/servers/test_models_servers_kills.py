"""Kills in the middle of a run: nothing is lost, nothing is left, and `resume` ends it the same.

vLLM is a scripted one with tiny models here, and a child process in the place of its engine core.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fake_vllm import make_environment
from tests.running_processes import gone

pytestmark = [pytest.mark.slow, pytest.mark.long]  # a dozen processes load a model each

CASES = 24
STORED = "select count(*) from cells where payload is not null"
SUITE = """\
name = "everyday"
cases = "cases.jsonl"

[generation]
max_new_tokens = 4

[[metrics]]
use = "exact_match"

[[gates]]
metric = "exact_match"
tolerance = 0.5
"""


@dataclass(frozen=True)
class GateRun:
    """A gate in a folder of its own, with a scripted vLLM."""

    folder: Path
    options: tuple[str, ...]

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command of tunegate there."""
        command = [sys.executable, "-m", "tunegate.harness.cli", *words]
        environment = {**os.environ, "TUNEGATE_VLLM": str(self.folder / "env" / "bin" / "python")}
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def gate(self) -> subprocess.Popen[str]:
        """Start the gate."""
        return self.start("gate", "suite", *self.options)

    def pids(self) -> list[int]:
        """Return the API process and its core, of the latest start."""
        return [int(word) for word in (self.folder / "env" / "pids").read_text().split()]

    def posts(self) -> int:
        """Return how many requests the latest start was sent."""
        return int((self.folder / "env" / "posts").read_text())

    def answers(self) -> int:
        """Return how many answers are in the store."""
        try:
            with sqlite3.connect(f"file:{self.folder}/store.sqlite?mode=ro", uri=True) as db:
                return int(db.execute(STORED).fetchone()[0])
        except sqlite3.Error:
            return 0

    def wait_for_answers(self, count: int) -> None:
        """Wait until this many answers are in the store."""
        end = time.monotonic() + 600
        while time.monotonic() < end:
            if self.answers() >= count:
                return
            time.sleep(0.02)
        raise AssertionError("the run has not come that far")

    def verdict(self) -> bytes:
        """Return the bytes of the verdict."""
        return (self.folder / "run" / "verdict.json").read_bytes()


@pytest.fixture(scope="module")
def whole(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> GateRun:
    """A run that nobody disturbed."""
    run = prepared(tmp_path_factory.mktemp("whole"), tiny)
    out, _ = (running := run.gate()).communicate(timeout=900)
    assert running.returncode in (0, 1, 10), out
    return run


def prepared(folder: Path, tiny: Any, **script: Any) -> GateRun:
    """Write suite and environment."""
    (folder / "suite").mkdir()
    (folder / "suite" / "suite.toml").write_text(SUITE)
    cases = [{"id": f"c{i}", "prompt": f"Parcel {i}?", "expected": "-"} for i in range(CASES)]
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    (folder / "suite" / "cases.jsonl").write_text(lines)
    make_environment(folder / "env", **script)
    arms = ("--base", str(tiny.base()), "--tuned", str(tiny.adapter()), "--engine", "vllm")
    places = ("--run-dir", "run", "--store", "store.sqlite", "--concurrency", "2")
    return GateRun(folder, (*arms, *places))


def answers_of(run: GateRun) -> dict[str, Any]:
    """Return the stored answers by cell, without times."""
    found = {}
    for line in (run.folder / "run" / "cells.jsonl").read_text().splitlines():
        stored = json.loads(line)
        found[f"{stored['cell']['arm']} {stored['cell']['case']}"] = stored["completion"]["text"]
    return found


VICTIMS: Mapping[str, int | None] = {"API process": 0, "engine core": 1, "tunegate": None}


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_kill_in_mid_run_loses_nothing(
    whole: GateRun, tiny: Any, tmp_path: Path, victim: str
) -> None:
    """After SIGKILL no process is left; a dead server is ERROR 13; `resume` asks what is missing,
    and its verdict is byte for byte that of a run which nobody disturbed.
    """
    run = prepared(tmp_path, tiny, latency_s=0.1)
    gate = run.gate()
    run.wait_for_answers(CASES // 2)
    pids = run.pids()
    index = VICTIMS[victim]
    os.kill(gate.pid if index is None else pids[index], signal.SIGKILL)
    out, _ = gate.communicate(timeout=900)

    assert gate.returncode == (-signal.SIGKILL if index is None else 13), out
    assert "Traceback" not in out
    assert gone(pids, 120.0)
    kept = run.answers()
    resumed = run.start("resume", "run", "suite", *run.options)
    out, _ = resumed.communicate(timeout=900)
    assert resumed.returncode in (0, 1, 10), out
    assert gone(run.pids(), 120.0)
    assert answers_of(run) == answers_of(whole)
    assert run.verdict() == whole.verdict()
    # Of the 48 answers those that were stored are not asked for again; the count is 20 ms old.
    assert CASES // 2 <= kept < 2 * CASES
    assert run.posts() <= whole.posts() - kept + 3


def test_a_server_without_the_adapter_is_refused(tiny: Any, tmp_path: Path) -> None:
    run = prepared(tmp_path, tiny, lost=["tuned"])
    out, _ = (gate := run.gate()).communicate(timeout=900)

    assert gate.returncode == 2
    assert "the server has no model 'tuned'; there are: base" in out
    assert "Traceback" not in out
    assert gone(run.pids(), 120.0)
    assert not (tmp_path / "run" / "cells.jsonl").exists()
