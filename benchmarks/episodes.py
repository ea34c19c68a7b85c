"""Episodes: how often an A/A run ships, and how many forwards concurrent episodes save.

    python -m benchmarks.episodes                  # the A/A rate alone; no model
    python -m benchmarks.episodes BASE ADAPTER     # forwards as well, on tasks of order_desk

An environment that flips a coin pays both arms alike, so that every SHIP is wrong: the one-sided
error of a gain is 5 %. A model's forwards are counted while the same tasks are played together and
wave by wave and one after the other; the transcripts must be equal. In a wave no turn begins before
every turn of the wave before has ended.
"""

from __future__ import annotations

import io
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks._forwards import watched
from tunegate.harness.engine.scheduling import Optimizations
from tunegate.harness.episodes.play import EpisodePlayer
from tunegate.harness.model import Arm, Prompt, Request
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.pipeline.steps import PlanOptions, RunPurpose, prepare
from tunegate.harness.records.cases import (
    Case,
    CellKind,
    Completion,
    GenerationSettings,
    StoredAnswer,
    sha256,
)
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.suite import Suite, load_suite

SUITE = Path(__file__).parents[1] / "suites" / "order_desk"
RUNS, TASKS, SAMPLES, COIN = 200, 20, 2, 0.5
PLAYED = 12
COIN_DESK = f"""
import random

class Coin:
    def reset(self): ...

    def flip(self) -> str:
        \"\"\"Flip a coin.\"\"\"
        return "done"

    def get_reward(self) -> float:
        return float(random.random() < {COIN})
"""
COIN_SUITE = f"""
name = "coin"
cases = "tasks.jsonl"
episode = {{ environment = "coin.py:Coin", deterministic = false }}
[generation]
temperature = 1.0
samples = {SAMPLES}
[[metrics]]
use = "episode_pass"
[[gates]]
metric = "episode_pass"
gain = 0.0
"""


@dataclass(frozen=True)
class SilentPolicy:
    """An arm that ends every episode at once."""

    name: str
    kinds: frozenset[CellKind] = frozenset({CellKind.GENERATE})

    @property
    def identity(self) -> Mapping[str, Any]:
        """Its name."""
        return {"spec": self.name}

    @property
    def fingerprint(self) -> str:
        """Hash of its name."""
        return sha256(self.name)

    def cannot(self, kind: CellKind) -> str:
        """Return a sentence."""
        return f"no {kind.value}"

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Return the task's id."""
        return Prompt(case.id)

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Yield an answer without a call."""
        for request in requests:
            yield StoredAnswer.of(request.cell, Completion(text="done"), None, time.time())


def count_false_ships(folder: Path) -> int:
    """Return how many of the A/A runs ship."""
    (folder / "suite.toml").write_text(COIN_SUITE)
    (folder / "coin.py").write_text(COIN_DESK)
    lines = [f'{{"id": "t{n}", "prompt": "{n}", "row": {{}}}}\n' for n in range(TASKS)]
    (folder / "tasks.jsonl").write_text("".join(lines))
    suite, ships = load_suite(folder), 0
    arms = {name: SilentPolicy(name) for name in ("base", "tuned")}
    options = PlanOptions(purpose=RunPurpose.AA_TEST)
    for _ in range(RUNS):
        with prepare([suite], arms, None, options) as run:
            run.answer(io.StringIO())
            cells = list(run.cells())
            scores = list(run.score(cells))
            verdict = run.decide(run.with_scores(run.manifest("aa"), scores, cells=cells))
        ships += verdict.verdict is Verdict.SHIP
    return ships


@dataclass(frozen=True)
class PlayedTasks:
    """What it took to play tasks, and the transcripts."""

    forwards: int
    seconds: float
    """Of a processor."""
    transcripts: tuple[str, ...]

    def __add__(self, other: PlayedTasks) -> PlayedTasks:
        """Return both together."""
        return PlayedTasks(
            self.forwards + other.forwards,
            self.seconds + other.seconds,
            (*self.transcripts, *other.transcripts),
        )


def play_tasks(
    arms: Mapping[str, Arm], suite: Suite, *, after_base: bool = False, levers: str = "slots"
) -> PlayedTasks:
    """Play the suite's tasks with tuned, its forwards counted.

    Args:
        arms: Base and tuned, on one load.
        suite: The tasks.
        after_base: Whether base has played them before, so that its turns are drafts.
        levers: The engine's levers.
    """
    with prepare([suite], arms, None) as run:
        chosen = Optimizations.named(levers)
        if after_base:
            run.answer(io.StringIO(), arms={"base": arms["base"]}, levers=chosen)
        before = resource.getrusage(resource.RUSAGE_SELF)
        with watched(arms["tuned"].loaded.torch_model) as watch:  # type: ignore[attr-defined]  # local
            run.answer(io.StringIO(), arms={"tuned": arms["tuned"]}, levers=chosen)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cells = [cell for cell in run.cells() if cell.cell.arm == "tuned" and cell.completion]
    texts = tuple(
        "\n".join(turn.text for turn in cell.completion.episode.turns)
        for cell in cells
        if cell.completion and cell.completion.episode
    )
    spent = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return PlayedTasks(len(watch.seen), spent, texts)


def compare_ways(base: str, tuned: str) -> None:
    """Print a line for each way to play the tasks."""
    whole = load_suite(SUITE)
    cases = whole.cases[:: len(whole.cases) // PLAYED]
    suite, arms = replace(whole, cases=cases), open_arms({"base": base, "tuned": tuned})

    def wave_by_wave() -> PlayedTasks:
        with mock.patch.object(EpisodePlayer, "_later_turns", return_value=()):
            return play_tasks(arms, suite)

    def one_by_one() -> PlayedTasks:
        singles = [play_tasks(arms, replace(suite, cases=(case,))) for case in cases]
        return sum(singles[1:], singles[0])

    ways: dict[str, Callable[[], PlayedTasks]] = {
        "in the running batch": lambda: play_tasks(arms, suite),
        "wave by wave": wave_by_wave,
        "one by one": one_by_one,
        "and the shared prefix once": lambda: play_tasks(arms, suite, levers="slots,prefixes"),
        "and base's turns as drafts": lambda: play_tasks(
            arms, suite, levers="all", after_base=True
        ),
    }
    first: PlayedTasks | None = None
    for name, play in ways.items():
        done = play()
        first = first or done
        equal = done.transcripts == first.transcripts
        print(
            f"{name}: {done.forwards} forwards, {done.forwards / first.forwards:.2f} ×; "
            f"{done.seconds:.1f} processor s; transcripts equal: {equal}"
        )


def main(arguments: Sequence[str]) -> None:
    """Print both tables."""
    if arguments:
        compare_ways(*arguments)
    with tempfile.TemporaryDirectory() as folder:
        ships = count_false_ships(Path(folder))
    print(f"A/A: {ships} of {RUNS} runs ship ({ships / RUNS:.1%}; the error of a gain is 5 %)")


if __name__ == "__main__":
    main(sys.argv[1:])
