"""Workers through Ray: one verdict with one process, a lost worker costs its batch, no traces."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness import suite as suites
from tunegate.harness.contracts.model import Arm, Request
from tunegate.harness.engine import ray_backend
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.plan import make_plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.ray_backend import ray_workers
from tunegate.harness.engine.runner import Runner, collect_answers
from tunegate.harness.engine.sharding import ShardedRunner, WorkerSetup
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.models.scripted import ScriptedArm
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.errors import BackendError, MissingExtra, UsageError
from tunegate.harness.records.jsonl import JsonlRecords
from tunegate.harness.run.evaluate import evaluate
from tunegate.harness.run.options import RunOptions
from tunegate.harness.run.workers import HERE, ExecutionBackend

TOML = """
name = "s"
cases = "cases.jsonl"
[generation]
max_new_tokens = 12
[[metrics]]
use = "exact_match"
[[metrics]]
use = "answer_logprob"
[[gates]]
metric = "exact_match"
tolerance = 0.5
[[gates]]
metric = "answer_logprob"
tolerance = 0.5
"""
CASES = 200
# Pickled by value, this module sets fields of a context that Ray has deprecated itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")


@dataclass(frozen=True)
class Mortal(ScriptedArm):
    """An arm that kills its process the first times it is asked."""

    marks: str = ""
    """Folder with one file a death."""
    deaths: int = 1

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Die, or answer."""
        marks = Path(self.marks)
        if len(list(marks.iterdir())) < self.deaths:
            (marks / f"{os.getpid()}-{time.monotonic_ns()}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().complete(requests)


@dataclass(frozen=True)
class MortalSetup(WorkerSetup):
    """Opens base as it is, and tuned as an arm that dies."""

    marks: str = ""
    deaths: int = 1

    def arms(self) -> dict[str, Arm]:
        """Open the arms."""
        arms = open_arms(self.specs)
        tuned: Any = arms["tuned"]
        mortal = Mortal(tuned.spec, tuned.script, marks=self.marks, deaths=self.deaths)
        return {**arms, "tuned": mortal}


@pytest.fixture(name="specs")
def _specs(tmp_path: Path) -> dict[str, str | None]:
    for arm, every in (("base", 3), ("tuned", 4)):
        script = {
            "completions": {f"c{i}": "yes" if i % every else "no" for i in range(CASES)},
            "answer_logprob": {f"c{i}": -0.5 - i % every for i in range(CASES)},
            "fail": {"c9": "HTTP 500"},
        }
        (tmp_path / f"{arm}.json").write_text(json.dumps(script), encoding="utf-8")
    return {arm: f"scripted:{tmp_path}/{arm}.json" for arm in ("base", "tuned")}


@pytest.fixture(name="suite")
def _suite(suite_folder: Callable[..., Path]) -> suites.Suite:
    rows = [{"id": f"c{i}", "prompt": f"q{i}", "expected": "yes"} for i in range(CASES)]
    return suites.load_suite(suite_folder(TOML, rows))


@pytest.fixture(name="ray", scope="module")
def _ray() -> Iterator[Any]:
    """Start one Ray for the tests that join one, as in a notebook; leave nothing of it."""
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(importlib.import_module(__name__))
    with ray_workers(2):
        yield ray


def judged(
    folder: Path, suite: suites.Suite, specs: dict[str, str | None], place: ExecutionBackend
) -> bytes:
    """Judge with an empty store; return verdict.json, which names the run folder alike."""
    evaluate(
        RunOptions(
            suites=[suite],
            specs=specs,
            folder=folder / "run",
            store=folder / "store.sqlite",
            stream=io.StringIO(),
            early_stop=folder.name.endswith("early"),
            backend=place,
        )
    )
    return (folder / "run" / "verdict.json").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["whole", "early"])
def test_the_verdict_is_that_of_one_process(
    ray: Any, suite: suites.Suite, specs: dict[str, str | None], tmp_path: Path, kind: str
) -> None:
    """Byte for byte, with looks and without; failed cells are the same ones."""
    one = judged(tmp_path / f"one-{kind}", suite, specs, HERE)
    two = judged(tmp_path / f"two-{kind}", suite, specs, ExecutionBackend("ray", 2))

    assert one == two
    assert ray.is_initialized()  # what was running before is left running


@pytest.mark.slow
@pytest.mark.long
def test_real_models_answer_the_same(
    ray: Any, tiny: Any, suite_folder: Callable[..., Path], tmp_path: Path
) -> None:
    """In float32 two workers write and score what one process does, drafts on."""
    rows = [
        {"id": f"c{i}", "prompt": f"word {i} " * (1 + i % 5), "expected": "yes"} for i in range(60)
    ]
    suite = suites.load_suite(suite_folder(TOML, rows))
    specs: dict[str, str | None] = {"base": str(tiny.base()), "tuned": str(tiny.adapter())}
    one = judged(tmp_path / "one", suite, specs, HERE)
    two = judged(tmp_path / "two", suite, specs, ExecutionBackend("ray", 2))

    assert one == two
    assert _answers(tmp_path / "one") == _answers(tmp_path / "two")


def _answers(folder: Path) -> list[Any]:
    """Return what every cell of a run holds, without times."""
    cells = JsonlRecords(folder / "run" / "cells.jsonl", StoredAnswer)
    return [
        (c.cell.key, c.completion and c.completion.model_copy(update={"latency_s": None}))
        for c in cells
    ]


def _runner(
    suite: suites.Suite, specs: dict[str, str | None], folder: Path, **mortal: Any
) -> tuple[ShardedRunner, AnswerCache]:
    arms, store = open_arms(specs), AnswerCache(folder / "store.sqlite")
    plan = make_plan([suite], arms, seed=0)
    marks = folder / "marks"
    marks.mkdir()
    prints = {name: arm.fingerprint for name, arm in arms.items()}
    setup = MortalSetup(specs, "auto", str(folder), prints, marks=str(marks), **mortal)
    with ray_workers(2) as pool:
        return ShardedRunner.of(
            Runner(plan, arms, store, ProgressReporter(1.0)), pool, setup
        ), store


@pytest.mark.slow
def test_a_killed_worker_costs_its_batch_and_nothing_else(
    ray: Any, suite: suites.Suite, specs: dict[str, str | None], tmp_path: Path
) -> None:
    runner, store = _runner(suite, specs, tmp_path, deaths=2)
    runner.run()

    assert len(list((tmp_path / "marks").iterdir())) == 2
    cells = list(collect_answers(runner.plan, store, set()))
    assert {c.status for c in cells} == {"ok", "error"}
    assert {c.cell.case for c in cells if c.status == "error"} == {"c9"}
    attempts = store._db.execute("SELECT DISTINCT attempts FROM cells").fetchall()
    assert attempts == [(1,)]


@pytest.mark.slow
def test_a_batch_that_kills_every_worker_ends_the_run(
    ray: Any, suite: suites.Suite, specs: dict[str, str | None], tmp_path: Path
) -> None:
    runner, _ = _runner(suite, specs, tmp_path, deaths=10_000)
    with pytest.raises(BackendError, match="Ray lost a worker 3 times on one batch") as caught:
        runner.run()

    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_too_many_workers_are_refused(ray: Any) -> None:
    with pytest.raises(UsageError, match=r"--gate-workers=10000: Ray has \d+ (cores|GPUs); ask"):
        ray_workers(10_000).__enter__()


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any case is spent; workers without an engine that has any are refused as well."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else found(name)
    )
    with pytest.raises(MissingExtra, match=r"--gate-engine ray.*tunegate\[ray\]"):
        ExecutionBackend("ray").refuse_impossible()
    with pytest.raises(UsageError, match="--gate-workers are Ray's processes: add --gate-engine"):
        ExecutionBackend(count=2).refuse_impossible()
    HERE.refuse_impossible()


def test_a_worker_gets_a_gpu_or_its_share_of_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """One a GPU by default; on a cluster of others one core each."""
    monkeypatch.setattr(os, "cpu_count", lambda: 8)

    def sized(workers: int | None, *, theirs: bool = False, **there: float) -> tuple[int, int, int]:
        made = ray_backend._size_pool(there, workers, theirs=theirs)
        return made.workers, made.cpus, made.gpus

    assert sized(None, CPU=9) == (2, 4, 0)
    assert sized(3, CPU=9) == (3, 2, 0)
    assert sized(None, CPU=9, GPU=4) == (4, 2, 1)
    assert sized(16, CPU=64, theirs=True) == (16, 1, 0)
    with pytest.raises(UsageError, match="--gate-workers=5: Ray has 4 GPUs; ask for at most 4"):
        sized(5, CPU=9, GPU=4)
