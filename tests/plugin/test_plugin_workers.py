"""pytest-xdist: one worker makes the completions, the controller has the verdict."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("xdist")


def test_completions_are_made_once(project: Any) -> None:
    """Four gates over two workers ask each model once a case; reports are written once."""
    project.suite("first", n=30)
    project.suite("second", n=30)

    result = project.gate(*project.models(base=10), "-n", "2", "-v")

    assert result.ret == 0
    assert "[gw0]" in result.stdout.str()
    assert "[gw1]" in result.stdout.str()
    assert result.stderr.str().count("answers planned") == 1
    assert len(project.stored()) == 120
    assert set(project.stored().values()) == {1}
    assert result.stdout.str().count("report: run/report.html") == 1
    manifest = json.loads((project.run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["command"][-3:] == ["-n", "2", "-v"]  # the session's, not a worker's own


def _worker_holding(run: Path, seconds: float = 60) -> int:
    """Return the process id of the worker that makes the run."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            return int(json.loads((run / "holder.json").read_text(encoding="utf-8"))["pid"])
        except (OSError, ValueError):
            time.sleep(0.02)
    raise AssertionError("no worker took the run folder")


def test_a_killed_worker_loses_nothing(project: Any) -> None:
    """SIGKILL in mid-run: another worker finishes; stored is planned, the exit code no success."""
    project.suite(n=60)
    options = project.models(tuned=60, delay_s=0.02)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "suites",
        f"--gate-run-dir={project.run}",
        *options,
        "-n",
        "2",
    ]
    process = subprocess.Popen(
        command, cwd=project.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    pid = _worker_holding(project.run)
    while not project.stored():
        time.sleep(0.02)
    before = set(project.stored())
    os.kill(pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=90)

    assert process.returncode == 13, output
    assert before <= set(project.stored())
    verdict = project.verdict()
    assert verdict["verdict"] == "SHIP"
    assert verdict["suites"][0]["n_scored"] == 60
    assert len(project.stored()) == 120
    assert not (project.run / "holder.json").exists()
