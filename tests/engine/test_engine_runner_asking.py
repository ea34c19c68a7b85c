"""Arms behind a network get all questions of a stage at once, and stop when asked."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from tunegate.harness import suite as suites
from tunegate.harness.contracts.model import Prompt, Request
from tunegate.harness.engine.answer_cache import AnswerCache
from tunegate.harness.engine.interrupts import StopRequest
from tunegate.harness.engine.plan import make_plan
from tunegate.harness.engine.progress import ProgressReporter
from tunegate.harness.engine.runner import InterruptibleRequests, Runner
from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import BackendError, RunInterrupted
from tunegate.harness.records.generation import GenerationSettings

TOML = """
name = "s"
cases = "cases.jsonl"
[generation]
max_new_tokens = 256
[[metrics]]
use = "exact_match"
[[gates]]
metric = "exact_match"
tolerance = 0.5
"""


@dataclass
class Far:
    """An arm behind a network that notes what it is given at once."""

    name: str
    during: Callable[[int], None] = lambda count: None
    given: list[int] = field(default_factory=list)
    together: list[set[str]] = field(default_factory=list)
    """The kinds of each call."""
    asked: list[str] = field(default_factory=list)
    identity: dict[str, Any] = field(default_factory=dict)
    kinds: frozenset[CellKind] = frozenset(CellKind)
    remote: Literal[True] = True

    @property
    def fingerprint(self) -> str:
        """Its name."""
        return self.name

    def cannot(self, kind: CellKind) -> str:
        """Never asked."""
        return ""

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """The prompt as it is."""
        return Prompt(case.prompt or "")

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Answer in the opposite order, as a network may."""
        self.given.append(len(requests))
        self.together.append({request.kind.value for request in requests})
        for request in list(requests)[::-1] if self.name == "tuned" else requests:
            self.during(len(self.asked))
            self.asked.append(request.case.id)
            yield StoredAnswer.of(request.cell, Completion(text=self.name), None, 1.0)


def runner(
    suite_folder: Any, tmp_path: Path, arms: dict[str, Any], n: int = 120, toml: str = TOML
) -> Runner:
    """Return a runner of a suite of n cases."""
    folder = suite_folder(toml, [{"prompt": f"q{i}", "expected": "a"} for i in range(n)])
    plan = make_plan([suites.load_suite(folder / "suite.toml")], arms, seed=0)
    store = AnswerCache(tmp_path / "store.sqlite")
    return Runner(plan, arms, store, ProgressReporter(1.0, stream=io.StringIO()))


def test_a_stage_is_given_at_once(suite_folder: Any, tmp_path: Path) -> None:
    """120 questions, which a machine would compute in many batches, are one call an arm."""
    base, tuned = Far("base"), Far("tuned")
    run = runner(suite_folder, tmp_path, {"base": base, "tuned": tuned})
    run.run()
    stored = len(run.store.answered(c.key for c in run.plan.cells))
    run.store.close()

    assert len(run.plan.batches) > 3
    assert (base.given, tuned.given) == ([120], [120])
    assert stored == 240


def test_what_is_asked_alone_comes_after_what_is_given_at_once(
    suite_folder: Any, tmp_path: Path
) -> None:
    """40 answers in one call; their drafts are counted in another, not at the same time."""
    toml = f'{TOML}\n[[metrics]]\nuse = "draft_acceptance"\n'
    base, tuned = Far("base"), Far("tuned")
    run = runner(suite_folder, tmp_path, {"base": base, "tuned": tuned}, n=40, toml=toml)
    run.run()
    run.store.close()

    assert (base.given[0], sum(base.given)) == (40, 80)
    assert all(kinds in ({"generate"}, {"drafts"}) for kinds in base.together)


def test_only_what_is_missing_is_asked_again(suite_folder: Any, tmp_path: Path) -> None:
    def break_off(count: int) -> None:
        if count == 50:
            raise BackendError("gone")

    base, tuned = Far("base", break_off), Far("tuned")
    run = runner(suite_folder, tmp_path, {"base": base, "tuned": tuned})
    with pytest.raises(BackendError, match="gone"):
        run.run()
    base.during = lambda count: None
    run.run()
    run.store.close()

    assert base.given == [120, 70]
    assert len(base.asked) == len(set(base.asked)) == 120


def test_a_stop_ends_the_questions_and_keeps_the_answers(suite_folder: Any, tmp_path: Path) -> None:
    import os
    import signal

    base, tuned = Far("base"), Far("tuned")
    base.during = lambda count: os.kill(os.getpid(), signal.SIGINT) if count == 9 else None
    run = runner(suite_folder, tmp_path, {"base": base, "tuned": tuned})
    with pytest.raises(RunInterrupted):
        run.run()
    stored = len(run.store.answered(c.key for c in run.plan.cells))
    run.store.close()

    assert len(base.asked) == stored == 10
    assert tuned.asked == []


def test_requests_end_early_once_it_is_enough() -> None:
    stop = StopRequest()
    requests: Any = InterruptibleRequests([1, 2, 3], stop)  # type: ignore[list-item]  # any will do
    found = []
    for request in requests:
        found.append(request)
        stop.requested = request == 2

    assert found == [1, 2]
    assert len(requests) == 3
