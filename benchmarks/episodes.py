"""Episodes: how often an A/A run ships, and how many forwards concurrent episodes save.

    python -m benchmarks.episodes                  # the A/A rate alone; no model
    python -m benchmarks.episodes BASE ADAPTER     # forwards as well, on tasks of order_desk

An environment that flips a coin pays both arms alike, so that every SHIP is wrong: the one-sided
error of a gain is 5 %. A model's forwards are counted while the same tasks are played together and
one after the other; the transcripts must be equal.
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
PLAYED = 6
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


def count_forwards(arms: Mapping[str, Arm], suite: Suite) -> tuple[int, float, list[str]]:
    """Return forwards, seconds and transcripts of tuned on the suite's tasks."""
    model = arms["tuned"].loaded.torch_model  # type: ignore[attr-defined]  # a local arm
    seen, clock = [0], time.perf_counter()
    hook = model.register_forward_pre_hook(lambda *_: seen.__setitem__(0, seen[0] + 1))
    with prepare([suite], arms, None) as run:
        run.answer(io.StringIO(), arms={"tuned": arms["tuned"]})
        cells = [cell for cell in run.cells() if cell.cell.arm == "tuned" and cell.completion]
    hook.remove()
    texts = [
        "\n".join(turn.text for turn in cell.completion.episode.turns)
        for cell in cells
        if cell.completion and cell.completion.episode
    ]
    return seen[0], time.perf_counter() - clock, texts


def main(arguments: Sequence[str]) -> None:
    """Print both tables."""
    if arguments:
        whole = load_suite(SUITE)
        suite = replace(whole, cases=whole.cases[:PLAYED])
        arms = open_arms({"base": arguments[0], "tuned": arguments[1]})
        together = count_forwards(arms, suite)
        singles = [count_forwards(arms, replace(suite, cases=(case,))) for case in suite.cases]
        alone = sum(one[0] for one in singles)
        equal = together[2] == [text for one in singles for text in one[2]]
        print(f"{len(suite.cases)} tasks together: {together[0]} forwards, {together[1]:.1f} s")
        print(f"one by one: {alone} forwards, {sum(one[1] for one in singles):.1f} s")
        print(f"{alone / together[0]:.1f} times fewer; transcripts equal: {equal}")
    with tempfile.TemporaryDirectory() as folder:
        ships = count_false_ships(Path(folder))
    print(f"A/A: {ships} of {RUNS} runs ship ({ships / RUNS:.1%}; the error of a gain is 5 %)")


if __name__ == "__main__":
    main(sys.argv[1:])
