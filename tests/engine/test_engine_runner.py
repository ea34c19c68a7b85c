"""The runner: asks what is missing, stores at once, stops when asked, times in its own pass."""

from __future__ import annotations

import io
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness import suite as suites
from tunegate.harness.contracts.model import Prompt, Request
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.interrupts import stop_on_signal
from tunegate.harness.engine.optimizations import Optimizations
from tunegate.harness.engine.plan import Plan, make_plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.runner import Runner, collect_answers
from tunegate.harness.engine.scheduling import estimate_effort
from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import BackendError, RunInterrupted
from tunegate.harness.records.generation import GenerationSettings

TOML = """
name = "s"
cases = "cases.jsonl"
[generation]
template = "none"
max_new_tokens = 8
[[metrics]]
use = "{use}"
[[gates]]
metric = "{use}"
tolerance = 0.5
"""
Act = Callable[[Request, int], None]


@dataclass
class Recorder:
    """An arm that answers by name and notes what it was asked; `act` runs before each answer."""

    name: str
    log: list[tuple[str, str]]
    act: Act = lambda request, n: None
    identity: dict[str, Any] = field(default_factory=dict)
    kinds: frozenset[CellKind] = frozenset(CellKind)

    @property
    def fingerprint(self) -> str:
        """Its name."""
        return self.name

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """The prompt as it is."""
        return Prompt(case.prompt or "")

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Answer with the arm's name and a number that never repeats."""
        for request in requests:
            self.act(request, len(self.log))
            self.log.append((self.name, request.case.id))
            text = f"{self.name} {len(self.log)}"
            yield StoredAnswer.of(request.cell, Completion(text=text, latency_s=0.1), None, 1.0)


@dataclass
class Bench:
    """A plan of a few cases, two recording arms and a store."""

    folder: Path
    store: AnswerCache
    log: list[tuple[str, str]] = field(default_factory=list)
    act: Act = lambda request, n: None
    stream: io.StringIO = field(default_factory=io.StringIO)

    def runner(self, arms: dict[str, Any] | None = None) -> Runner:
        """A runner, by default of the recording arms."""
        arms = arms or {n: Recorder(n, self.log, self.act) for n in ("base", "tuned")}
        return Runner(self.plan(arms), arms, self.store, ProgressReporter(1.0, stream=self.stream))

    def plan(self, arms: dict[str, Any]) -> Plan:
        """The plan of the bench's suite."""
        return make_plan([suites.load_suite(self.folder)], arms, seed=0)

    def texts(self, runner: Runner) -> dict[tuple[str, str], str]:
        """(arm, case) → stored answer."""
        return {
            (c.cell.arm, c.cell.case): c.completion.text or ""
            for c in collect_answers(runner.plan, self.store, set())
            if c.completion
        }


@pytest.fixture(name="bench")
def _bench(suite_folder: Callable[..., Path], tmp_path: Path) -> Callable[..., Bench]:
    def make(n: int = 4, use: str = "exact_match") -> Bench:
        cases = [{"id": f"c{i}", "prompt": "Q" * (n - i), "expected": "yes"} for i in range(n)]
        folder = suite_folder(TOML.format(use=use), cases)
        return Bench(folder, AnswerCache(tmp_path / "store.sqlite"))

    return make


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """After every test the signal handlers are those from before."""
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    yield
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_every_cell_is_answered_once(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.runner().run()
    assert b.log == [(arm, f"c{i}") for arm in ("base", "tuned") for i in range(4)]
    assert len(b.texts(b.runner())) == 8


def test_a_second_run_asks_nothing(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.runner().run()
    asked = len(b.log)
    b.runner().run()
    assert len(b.log) == asked


def test_only_the_arm_that_lacks_answers_is_asked(bench: Callable[..., Bench]) -> None:
    b = bench()
    b.runner().run()
    b.log.clear()
    b.runner({"base": Recorder("base", b.log), "tuned": Recorder("tuned2", b.log)}).run()
    assert {arm for arm, _ in b.log} == {"tuned2"}


def test_errors_are_asked_again_and_nothing_else(bench: Callable[..., Bench]) -> None:
    b = bench()
    runner = b.runner()
    runner.run()
    cell = next(c for c in runner.plan.cells if (c.case, c.arm) == ("c2", "tuned"))
    b.store.put(StoredAnswer.of(cell, None, "HTTP 500", 0.0), replace=True)
    b.log.clear()
    b.runner().run()
    assert b.log == [("tuned", "c2")]


def test_a_failing_backend_keeps_what_was_finished(bench: Callable[..., Bench]) -> None:
    """A backend that goes away leaves its finished answers; the next run asks for the rest."""
    b = bench()

    def gone(request: Request, n: int) -> None:
        if n == 5:
            raise BackendError("the server is gone")

    b.act = gone
    with pytest.raises(BackendError, match="the server is gone"):
        b.runner().run()
    assert len(b.texts(b.runner())) == 5
    b.act = lambda request, n: None
    b.runner().run()
    assert sorted(b.log) == sorted((a, f"c{i}") for a in ("base", "tuned") for i in range(4))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_finishes_the_batch(bench: Callable[..., Bench], number: int) -> None:
    b = bench(n=60)  # a batch has 48 rows at most
    b.act = lambda request, n: signal.raise_signal(number) if n == 3 else None
    with pytest.raises(RunInterrupted, match=f"stopped by signal {number}$"):
        b.runner().run()
    assert len(b.log) == 96
    b.act = lambda request, n: None
    b.runner().run()
    assert len(b.log) == len(set(b.log)) == 120


def test_the_second_signal_stops_at_once(bench: Callable[..., Bench]) -> None:
    """Two Ctrl-C stop in mid-batch; what was answered before is stored and not asked again."""
    b = bench()
    b.act = lambda request, n: signal.raise_signal(signal.SIGINT) if n in (2, 4) else None
    with pytest.raises(RunInterrupted, match="stopped at once"):
        b.runner().run()
    assert len(b.log) == len(b.texts(b.runner())) == 4
    b.act = lambda request, n: None
    b.runner().run()
    assert len(b.log) == len(set(b.log)) == 8


def test_another_thread_leaves_signals_alone() -> None:
    seen: list[object] = []

    def work() -> None:
        before = signal.getsignal(signal.SIGINT)
        with stop_on_signal() as stop:
            seen.append(signal.getsignal(signal.SIGINT) is before and not stop.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert seen == [True]


def test_progress_ends_when_the_run_fails(bench: Callable[..., Bench]) -> None:
    b = bench()

    class RecordingTerminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    b.stream = RecordingTerminal()
    runner = b.runner()
    runner.progress.interval_s = 0.0

    def gone(request: Request, n: int) -> None:
        if n == 2:
            raise BackendError("gone")

    for arm in runner.arms.values():
        arm.act = gone
    with pytest.raises(BackendError):
        runner.run()
    assert b.stream.getvalue().endswith("\r\x1b[2K")


def test_what_was_never_answered_is_missing(bench: Callable[..., Bench]) -> None:
    """collect() names every cell: answered, failed, unrendered or never asked; and cache hits."""
    b = bench(n=3)
    runner = b.runner()
    first, second, third, *rest = runner.plan.cells
    b.store.put(StoredAnswer.of(first, Completion(text="yes"), None, 7.0))
    b.store.put(StoredAnswer.of(second, None, "HTTP 500", 8.0))
    plan = Plan(runner.plan.cells, (), {}, {}, {third.key: "no such role"})
    cells = list(collect_answers(plan, b.store, {first.key}))
    assert [(c.status, c.error, c.cache_hit) for c in cells[:3]] == [
        ("ok", None, True),
        ("error", "HTTP 500", False),
        ("error", "no such role", False),
    ]
    assert cells[0].started_s == 7.0
    assert {(c.status, c.error) for c in cells[3:]} == {("missing", "it was never answered")}
    assert len(cells) == 3 + len(rest)


def test_latency_has_a_pass_of_its_own(bench: Callable[..., Bench]) -> None:
    """One case at a time, arms in turn, each first every other time; warmed up before it counts."""
    b = bench(n=3, use="latency")
    runner = b.runner()
    runner.run()
    arms = ("base", "tuned")
    warm = [(arm, "c0") for arm in arms]
    turns = (arms, arms[::-1], arms)
    assert b.log == warm + [(arm, f"c{i}") for i, turn in enumerate(turns) for arm in turn]
    texts = b.texts(runner)
    assert texts["base", "c0"] == "base 3"
    assert texts["tuned", "c0"] == "tuned 4"


def test_times_are_compared_within_one_sitting(bench: Callable[..., Bench]) -> None:
    """A new candidate times base again; a finished run times nothing again."""
    b = bench(n=2, use="latency")
    b.runner().run()
    asked = len(b.log)
    b.runner().run()
    assert len(b.log) == asked
    b.log.clear()
    arms = {"base": Recorder("base", b.log), "tuned": Recorder("tuned2", b.log)}
    runner = b.runner(arms)
    runner.run()
    assert [arm for arm, _ in b.log] == ["base", "tuned2"] * 2 + ["tuned2", "base"]
    assert b.texts(runner)["base", "c0"] == "base 3"


class Tight:
    """A local arm whose memory holds few rows, and which notes the batches it computes."""

    def __init__(self, arm: Any, rows: int, log: list[tuple[str, int]], name: str) -> None:
        """Keep the arm and its limit."""
        self.arm, self.rows, self.log, self.name = arm, rows, log, name

    def __getattr__(self, name: str) -> Any:
        """Be the arm in everything else."""
        return getattr(self.arm, name)

    @contextmanager
    def active(self) -> Iterator[Any]:
        """Yield the model behind a check of its batch."""
        with self.arm.active() as model:
            yield Limited(model, self)


class Limited:
    """A model that runs out of memory on batches that are too wide."""

    def __init__(self, model: Any, arm: Tight) -> None:
        """Keep the model."""
        self.model, self.arm = model, arm

    def __getattr__(self, name: str) -> Any:
        """Be the model in everything else."""
        return getattr(self.model, name)

    def __call__(self, **inputs: Any) -> Any:
        """Compute, or raise as torch does."""
        rows = len(inputs["input_ids"])
        if rows > self.arm.rows:
            raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
        if inputs["input_ids"].shape[1] > 1:
            self.arm.log.append((self.arm.name, rows))
        return self.model(**inputs)


def _tight(tiny: Any, base: int, tuned: int) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    log: list[tuple[str, int]] = []
    pair = tiny.pair("llama")
    return {
        "base": Tight(pair["base"], base, log, "base"),
        "tuned": Tight(pair["tuned"], tuned, log, "tuned"),
    }, log


@pytest.mark.parametrize(("base", "tuned"), [(2, 99), (99, 2), (2, 2)])
def test_a_lack_of_memory_halves_the_batch_for_both_arms(
    tiny: Any, bench: Callable[..., Bench], base: int, tuned: int
) -> None:
    arms, log = _tight(tiny, base, tuned)
    b = bench(n=8)
    runner = b.runner(arms)
    runner = Runner(
        runner.plan, arms, b.store, runner.progress, optimizations=Optimizations(drafts=False)
    )
    puts: list[tuple[str, int]] = []
    put = b.store.put

    def noting(answer: StoredAnswer, *, replace: bool = False) -> None:
        puts.append((answer.key, log[-1][1]))
        put(answer, replace=replace)

    b.store.put = noting  # type: ignore[method-assign]  # to see the batch of each answer
    runner.run()
    last = dict(puts)
    assert {last[c.key] for c in runner.plan.cells} == {2}
    assert runner.halved == [8, 4, 4]
    assert len(b.texts(runner)) == 16


def test_halves_give_the_same_answers(tiny: Any, bench: Callable[..., Bench]) -> None:
    pair = tiny.pair("llama")
    b = bench(n=8)
    whole = b.runner(pair)
    whole.run()
    expected = b.texts(whole)
    b.store.close()
    b.store = AnswerCache(b.folder / "other.sqlite")
    arms, _ = _tight(tiny, 3, 3)
    halved = b.runner(arms)
    halved.run()
    assert b.texts(halved) == expected


def test_halves_leave_what_an_earlier_run_stored(tiny: Any, bench: Callable[..., Bench]) -> None:
    arms, _ = _tight(tiny, 3, 3)
    b = bench(n=8)
    runner = b.runner(arms)
    keys = {c.case: c for c in runner.plan.cells if c.arm == "base"}
    before = [keys["c0"], keys["c5"]]
    for cell in before:
        b.store.put(StoredAnswer.of(cell, Completion(text="stored before"), None, 0.0))

    runner.run()

    assert runner.halved
    texts = b.texts(runner)
    assert [texts["base", case] for case in ("c0", "c5")] == ["stored before"] * 2
    assert sum(text == "stored before" for text in texts.values()) == 2


def test_a_case_that_fits_no_memory(tiny: Any, bench: Callable[..., Bench]) -> None:
    arms, _ = _tight(tiny, 99, 0)
    b = bench(n=2)
    runner = b.runner(arms)
    runner.run()
    cells = list(collect_answers(runner.plan, b.store, set()))
    assert [c.status for c in cells] == ["ok", "error"] * 2
    assert all("out of memory on this case alone" in (c.error or "ok") for c in cells[1::2])


def test_a_resumed_batch_is_computed_as_planned(tiny: Any, bench: Callable[..., Bench]) -> None:
    """A batch with some stored answers runs whole; the stored ones stay as they are."""
    arms, log = _tight(tiny, 99, 99)
    b = bench(n=4)
    runner = b.runner(arms)
    cell = next(c for c in runner.plan.cells if (c.case, c.arm) == ("c0", "base"))
    b.store.put(StoredAnswer.of(cell, Completion(text="stored before"), None, 0.0))
    runner.run()
    assert log[0] == ("base", 4)
    assert b.texts(runner)["base", "c0"] == "stored before"


def test_drafting_changes_no_answer(tiny: Any, bench: Callable[..., Bench]) -> None:
    pair = tiny.pair("qwen2")
    b = bench(n=6)
    drafted = b.runner(pair)
    drafted.progress.interval_s = 0.0
    drafted.run()
    expected = b.texts(drafted)
    assert re.search(r"s · tuned · \d+% of drafts kept", b.stream.getvalue())
    acceptance = drafted.acceptance["tuned", "base"]
    assert acceptance.drafted["s"] > 0
    # a token that was taken over is read, at a quarter of what writing one takes
    kept = acceptance.accepted["s"] / acceptance.drafted["s"]
    work = [estimate_effort(request) for request in drafted.plan.requests.values()]
    assert drafted.progress.done == pytest.approx(drafted.progress.total)
    assert sum(work) * (1 - 0.75 * kept / 2) <= drafted.progress.done + 1e-9 <= sum(work) + 1e-6
    b.store.close()
    b.store = AnswerCache(b.folder / "other.sqlite")
    plain = b.runner(pair)
    plain = Runner(
        plain.plan, pair, b.store, plain.progress, optimizations=Optimizations(drafts=False)
    )
    plain.run()
    assert b.texts(plain) == expected
    assert plain.acceptance == {}


def test_the_candidate_before_is_a_draft_too(tiny: Any, bench: Callable[..., Bench]) -> None:
    pair = tiny.pair("qwen2")
    b = bench(n=6)
    earlier = b.runner({"base": pair["base"], "tuned": pair["tuned"]})
    earlier.run()
    expected = b.texts(earlier)
    again = Renamed(pair["tuned"])
    arms = {"base": pair["base"], "tuned": again}
    plan = make_plan(
        [suites.load_suite(b.folder)],
        arms,
        seed=0,
        before={"plan": "-", "s": pair["tuned"].fingerprint},
    )
    runner = Runner(plan, arms, b.store, ProgressReporter(1.0, stream=b.stream))
    runner.run()

    assert b.texts(runner) == expected
    # Random tokens seldom survive their way through text, so not all of them hold.
    assert runner.acceptance["tuned", "candidate before"].accepted["s"] > 0
    assert ("tuned", "base") not in runner.acceptance


class Renamed:
    """An arm with the same weights and another fingerprint."""

    fingerprint = "another candidate"

    def __init__(self, arm: Any) -> None:
        self.arm = arm

    def __getattr__(self, name: str) -> Any:
        return getattr(self.arm, name)


@pytest.mark.parametrize(
    ("use", "least", "most"), [("exact_match", 8.0, 9.0), ("choice_accuracy", 1.0, 2.0)]
)
def test_effort_is_counted_in_tokens_to_write(
    bench: Callable[..., Bench], use: str, least: float, most: float
) -> None:
    """8 new tokens are the work of 8; what is only read, as choices are, costs a quarter."""
    b = bench()
    runner = b.runner()
    (request, *_) = runner.plan.requests.values()
    if use == "choice_accuracy":
        request = replace(request, cell=replace(request.cell, kind=CellKind.CHOICES))

    assert least <= estimate_effort(request) < most


@pytest.mark.parametrize("recorded", [True, False])
def test_answers_are_written_one_by_one_unless_they_were_recorded(
    bench: Callable[..., Bench], recorded: bool
) -> None:
    """Another process sees an answer when the next one is asked for; recorded ones by the batch."""
    b = bench(n=3)
    seen: list[int] = []

    def look(request: Request, n: int) -> None:
        if request.case.id and len(seen) < 3:
            store = AnswerCache(b.store.path)
            seen.append(len(store.answered(c.key for c in runner.plan.cells)))
            store.close()

    arms = {name: Recorder(name, [], act=look) for name in ("base", "tuned")}
    for arm in arms.values():
        if recorded:
            arm.recorded = arm.recorded_request = True  # type: ignore[attr-defined]  # a RecordedArm
    runner = b.runner(arms)
    runner.run()

    assert seen == ([0, 0, 0] if recorded else [0, 1, 2])
    assert len(b.store.answered(c.key for c in runner.plan.cells)) == 6


def test_recorded_batches_are_written_together(bench: Callable[..., Bench]) -> None:
    """Where both arms are recorded, many batches wait for the disk once; if only one is, each."""
    written: dict[bool, int] = {}
    for both in (True, False):
        b = bench(n=300)
        arms = {name: Recorder(name, []) for name in ("base", "tuned")}
        arms["base"].recorded = arms["base"].recorded_request = True  # type: ignore[attr-defined]
        if both:
            arms["tuned"].recorded = arms["tuned"].recorded_request = True  # type: ignore[attr-defined]
        b.store = AnswerCache(b.store.path.with_name(f"{both}.sqlite"))
        statements: list[str] = []
        b.store._db.set_trace_callback(statements.append)
        runner = b.runner(arms)
        runner.run()
        assert len(b.store.answered(c.key for c in runner.plan.cells)) == 600
        written[both] = statements.count("COMMIT")
        batches = len(runner.plan.batches)

    assert batches > 5
    assert written[True] == 1
    assert written[False] == batches + 300


def test_recorded_batches_before_a_stop_are_stored(bench: Callable[..., Bench]) -> None:
    b = bench(n=300)
    arms = {name: Recorder(name, []) for name in ("base", "tuned")}
    for arm in arms.values():
        arm.recorded = arm.recorded_request = True  # type: ignore[attr-defined]
    runner = b.runner(arms)
    batches = runner.plan.batches
    done = runner.batches_done(batches, set())
    next(done)
    done.close()

    stored = b.store.answered(c.key for c in runner.plan.cells)
    assert len(stored) == 2 * len(batches[0].questions)
    assert len(batches) > 1
