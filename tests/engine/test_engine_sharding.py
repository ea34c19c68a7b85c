"""A batch in another process: the same answers, and failures there are reported here."""

from __future__ import annotations

import json
import pickle
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness import suite as suites
from tunegate.harness.contracts.model import Arm
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.plan import Plan, make_plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.runner import Runner, collect_answers
from tunegate.harness.engine.sharding import (
    InMemoryAnswers,
    Shard,
    ShardedRunner,
    ShardResult,
    ShardWorker,
    WorkerSetup,
)
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.errors import BackendError, RunInterrupted

TOML = """
name = "s"
cases = "cases.jsonl"
[generation]
max_new_tokens = 8
[[metrics]]
use = "exact_match"
[[metrics]]
use = "latency"
[[gates]]
metric = "exact_match"
tolerance = 0.5
"""
CASES = 100
"""More than two batches of 48 rows."""


@dataclass
class ShardBench:
    """A plan with scripted arms."""

    specs: dict[str, str | None]
    arms: dict[str, Arm]
    plan: Plan
    folder: Path

    def setup(self, **changes: str) -> WorkerSetup:
        """How a worker opens these arms; `changes` are fingerprints that it expects instead."""
        prints = {name: arm.fingerprint for name, arm in self.arms.items()} | changes
        return WorkerSetup(self.specs, "auto", str(self.folder), prints)

    def runner(self, name: str) -> Runner:
        """A runner of one process with an empty store."""
        return Runner(self.plan, self.arms, self.store(name), ProgressReporter(1.0))

    def store(self, name: str) -> AnswerCache:
        """The store of that name."""
        return AnswerCache(self.folder / f"{name}.sqlite")

    def answers(self, name: str) -> dict[str, Any]:
        """Key → what a store holds, without times."""
        cells = collect_answers(self.plan, self.store(name), set())
        return {c.cell.key: (c.status, c.error, c.completion and c.completion.text) for c in cells}


@dataclass
class InProcessPool:
    """Workers of this process; what goes in and out is pickled, as it is on a real way."""

    workers: int = 2
    seen: list[Shard] = field(default_factory=list)
    before: Callable[[int], None] = lambda n: None

    def answer(
        self, shards: Sequence[Shard], setup: WorkerSetup
    ) -> Generator[ShardResult, None, None]:
        """Answer the shards, the last one first, by turns."""
        workers = [ShardWorker(pickle.loads(pickle.dumps(setup))) for _ in range(self.workers)]
        self.seen += shards
        for number, shard in enumerate(reversed(shards)):
            worker = workers[number % self.workers]
            answered = pickle.loads(pickle.dumps(worker.answer(pickle.loads(pickle.dumps(shard)))))
            self.before(number)
            yield answered


@pytest.fixture(name="bench")
def _bench(suite_folder: Callable[..., Path], tmp_path: Path) -> ShardBench:
    rows = [{"id": f"c{i}", "prompt": f"q{i}", "expected": "yes"} for i in range(CASES)]
    suite = suites.load_suite(suite_folder(TOML, rows))
    for arm, word in (("base", "no"), ("tuned", "yes")):
        script = {"completions": {f"c{i}": f"{word} {i}" for i in range(CASES)}}
        script |= {"fail": {"c7": "HTTP 500"}, "prefix": ""}
        (tmp_path / f"{arm}.json").write_text(json.dumps(script), encoding="utf-8")
    specs: dict[str, str | None] = {a: f"scripted:{tmp_path}/{a}.json" for a in ("base", "tuned")}
    arms = open_arms(specs)
    return ShardBench(specs, arms, make_plan([suite], arms, seed=0), tmp_path)


def sharded(bench: ShardBench, name: str, pool: InProcessPool, **changes: str) -> ShardedRunner:
    """Return the runner of the bench with a pool of workers."""
    return ShardedRunner.of(bench.runner(name), pool, bench.setup(**changes))


def test_workers_answer_as_one_process_does(bench: ShardBench) -> None:
    """Every cell has the same completion or error; each batch went out once, both arms with it."""
    bench.runner("one").run()
    pool = InProcessPool()
    sharded(bench, "pool", pool).run()

    assert bench.answers("pool") == bench.answers("one")
    assert len(bench.answers("one")) == 2 * CASES + 2 * 30
    assert [len(shard.batch.questions) for shard in pool.seen] == [48, 48, 4]
    assert all(len(s.requests) == 2 * len(s.batch.questions) for s in pool.seen)


def test_timed_questions_stay_here(bench: ShardBench) -> None:
    """Beside each other they would time each other."""
    pool = InProcessPool()
    sharded(bench, "pool", pool).run()

    assert {shard.batch.kind for shard in pool.seen} == {CellKind.GENERATE}


def test_what_is_stored_is_not_asked_again(bench: ShardBench) -> None:
    """A batch that is whole in the store stays here; of another one what is stored goes along."""
    whole, begun, _ = (b for b in bench.plan.batches if b.kind is CellKind.GENERATE)
    store, known = bench.store("pool"), Completion(text="stored before")
    cells = [
        bench.plan.requests[question, arm].cell
        for batch, arms in ((whole, ("base", "tuned")), (begun, ("base",)))
        for question in batch.questions
        for arm in arms
    ]
    keys = {cell.key for cell in cells}
    for cell in cells:
        store.put(StoredAnswer.of(cell, known, None, 1.0))
    pool = InProcessPool()
    sharded(bench, "pool", pool).run()

    assert len(pool.seen) == 2
    assert pool.seen[0].batch == begun
    assert len(pool.seen[0].stored) == 48
    assert {k for k, row in bench.answers("pool").items() if row[2] == "stored before"} == keys


def test_drafts_of_the_candidate_before_go_along(bench: ShardBench) -> None:
    tuned = [r.key for (q, a), r in bench.plan.requests.items() if a == "tuned"]
    earlier = {key: f"before {key}" for key in tuned}
    bench.plan = Plan(
        bench.plan.cells, bench.plan.batches, bench.plan.requests, {}, {}, earlier=earlier
    )
    bench.store("pool").put(_answer(earlier[tuned[0]], "yes"))
    pool = InProcessPool()
    sharded(bench, "pool", pool).run()

    assert sum(len(shard.earlier) for shard in pool.seen) == CASES
    assert [set(s.stored) for s in pool.seen if s.stored] == [{earlier[tuned[0]]}]


def test_another_model_in_a_worker_ends_the_run(bench: ShardBench) -> None:
    pool = InProcessPool()
    with pytest.raises(BackendError, match="tuned is another model in a worker"):
        sharded(bench, "pool", pool, tuned="0" * 64).run()

    assert {row[0] for row in bench.answers("pool").values()} == {"missing"}


def test_a_spec_that_a_worker_cannot_open_is_reported(bench: ShardBench) -> None:
    """The worker lives on; the run ends with what its machine lacks."""
    (shard, *_) = _shards(bench)
    (bench.folder / "base.json").unlink()
    answered = ShardWorker(bench.setup()).answer(shard)

    assert answered.answers == ()
    assert "base.json: cannot be read" in str(answered.error)


def _shards(bench: ShardBench) -> list[Shard]:
    pool = InProcessPool()
    sharded(bench, "other", pool).run()
    return pool.seen


def test_a_backend_that_fails_keeps_what_it_answered(
    bench: ShardBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tunegate.harness.models.scripted import ScriptedArm

    (shard, *_) = _shards(bench)
    complete = ScriptedArm.complete

    def gone(self: ScriptedArm, requests: Any) -> Iterator[Any]:
        for number, answer in enumerate(complete(self, requests)):
            if number == 5:
                raise BackendError("the server is gone")
            yield answer

    monkeypatch.setattr(ScriptedArm, "complete", gone)
    answered = ShardWorker(bench.setup()).answer(shard)

    assert answered.error == "the server is gone"
    assert len(answered.answers) == 5


def test_a_stop_ends_between_two_batches(bench: ShardBench) -> None:
    pool = InProcessPool(before=lambda number: signal.raise_signal(signal.SIGINT))
    with pytest.raises(RunInterrupted):
        sharded(bench, "pool", pool).run()

    # The batch of four that came back first, both arms.
    assert sum(status != "missing" for status, _, _ in bench.answers("pool").values()) == 8

    sharded(bench, "pool", InProcessPool()).run()
    bench.runner("one").run()
    assert bench.answers("pool") == bench.answers("one")


def _answer(key: str, text: str | None) -> StoredAnswer:
    cell = Cell(suite="s", case="c", arm="tuned", kind=CellKind.GENERATE, key=key)
    if text is None:
        return StoredAnswer.of(cell, None, "HTTP 500", 1.0)
    return StoredAnswer.of(cell, Completion(text=text), None, 1.0)


def test_answers_in_memory_are_a_store() -> None:
    """A completion stays unless it is to be replaced; an error gives way."""
    old, failed, again = Completion(text="a"), _answer("failed", "a"), _answer("new", "b")
    store = InMemoryAnswers({"old": old})
    with store.together():
        store.put(_answer("old", "b"))
        store.put(_answer("failed", None))
        store.put(failed)
        store.put(_answer("new", "a"))
        store.put(again, replace=True)

    assert store.completions(["old", "none"]) == {"old": old}
    assert store.answered(["old", "failed", "new", "none"]) == {"old", "failed", "new"}
    assert store.written == {"failed": failed, "new": again}
