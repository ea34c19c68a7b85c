"""Episodes with a model of this process: turns share its batch, and nothing depends on it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from tests.played_suites import write_desk
from tunegate.harness.engine.inference import continuous_batching, local_engine
from tunegate.harness.engine.optimizations import Optimizations
from tunegate.harness.episodes.play import EpisodePlayer
from tunegate.harness.models.open_arms import open_arms
from tunegate.harness.records.answers import Completion
from tunegate.harness.run.prepare import prepare
from tunegate.harness.suite import Suite, load_suite

TALK = '''
class Talk:
    """A user who asks three things, the later ones about the answer before."""

    def reset(self, n: int) -> str:
        self.n, self.asked, self.heard = n, 0, 0
        return f" Number {n}."

    def _next(self, answer):
        self.asked += 1
        self.heard += len(answer)
        return None if self.asked == 3 else f"And {answer[:3]} {self.n}?"

    def get_reward(self) -> float:
        return float(self.heard)
'''
TOML = """
name = "talk"
cases = "tasks.jsonl"
episode = "desk.py:Talk"
[generation]
max_new_tokens = 20
temperature = {temperature}
[[metrics]]
use = "episode_reward"
"""
TASKS = 12
Transcripts = dict[tuple[str, str], tuple[str, ...]]


def _suite(folder: Path, temperature: float = 0.0) -> Suite:
    tasks = [{"id": f"t{n}", "prompt": "a" * (n % 4 + 1), "row": {"n": n}} for n in range(TASKS)]
    toml = TOML.format(temperature=temperature)
    return load_suite(write_desk(folder, toml=toml, code=TALK, tasks=tasks))


def _play(suite: Suite, arms: Mapping[str, Any], optimizations: str = "all") -> Transcripts:
    with prepare([suite], arms, None) as run:
        run.answer(io.StringIO(), optimizations=Optimizations.parse(optimizations))
        return {
            (cell.cell.case, cell.cell.arm): tuple(
                turn.text for turn in cell.completion.episode.turns
            )
            for cell in run.answers()
            if cell.completion and cell.completion.episode
        }


def _count(arms: Mapping[str, Any], suite: Suite) -> tuple[int, Transcripts]:
    seen = [0]
    model = arms["base"].loaded.torch_model
    hook = model.register_forward_pre_hook(lambda *_: seen.__setitem__(0, seen[0] + 1))
    try:
        found = _play(suite, arms)
    finally:
        hook.remove()
    return seen[0], found


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_transcripts_are_the_same_alone_and_together(
    tiny: Any, tmp_path: Path, temperature: float
) -> None:
    suite, arms = _suite(tmp_path, temperature), tiny.pair()
    forwards, together = _count(arms, suite)
    with mock.patch.object(EpisodePlayer, "_later_turns", return_value=()):
        waves, wave_by_wave = _count(arms, suite)
    singles = [_count(arms, replace(suite, cases=(case,))) for case in suite.cases]

    assert len(together) == 2 * TASKS
    assert max(len(turns) for turns in together.values()) == 3
    assert together == {place: turns for _, one in singles for place, turns in one.items()}
    assert together == wave_by_wave
    assert forwards <= 1.2 * waves
    assert 4 * forwards <= sum(count for count, _ in singles)


@pytest.mark.slow
def test_bases_turns_are_drafts_of_tuneds(tiny: Any, tmp_path: Path) -> None:
    """Tuned writes what base wrote, in all three turns: it is read, in a third of the forwards.

    The text of a model with random weights cannot be split into the same tokens again, so the
    tokens are kept here.
    """
    written: dict[str, tuple[int, ...]] = {}
    decode = local_engine.decode_completion

    def kept(tokenizer: Any, ids: Any, *rest: Any, **more: Any) -> dict[str, Any]:
        fields = decode(tokenizer, ids, *rest, **more)
        written[fields["text"]] = tuple(ids)
        return fields

    def draft(arm: Any, done: Completion) -> tuple[int, ...]:
        ends = (min(arm.stop_ids),) if done.finish_reason == "stop" else ()
        return (*written[done.text or ""], *ends)

    specs = {"base": str(tiny.base()), "tuned": str(tiny.adapter(dead=True))}
    suite, arms = _suite(tmp_path), open_arms(specs)
    seen: dict[str, int] = {}
    for optimizations in ("slots,prefixes", "all"):
        with (
            mock.patch.object(local_engine, "decode_completion", kept),
            mock.patch.object(local_engine, "draft_ids", draft),
            prepare([suite], arms, None) as run,
        ):
            chosen = Optimizations.parse(optimizations)
            run.answer(io.StringIO(), arms={"base": arms["base"]}, optimizations=chosen)
            model, count = arms["base"].loaded.torch_model, [0]  # type: ignore[attr-defined]
            hook = model.register_forward_pre_hook(
                lambda *_, count=count: count.__setitem__(0, count[0] + 1)
            )
            run.answer(io.StringIO(), arms={"tuned": arms["tuned"]}, optimizations=chosen)
            hook.remove()
            seen[optimizations] = count[0]

    assert 3 * seen["all"] <= seen["slots,prefixes"]


@pytest.mark.slow
def test_memory_that_runs_out_in_a_turn_loses_nothing(tiny: Any, tmp_path: Path) -> None:
    suite, arms = _suite(tmp_path), tiny.pair()
    expected = _play(suite, arms)
    failures = [5]
    forward = continuous_batching.DecodingSlots.forward

    def full(self: Any, model: Any, tokens: Any) -> Any:
        failures[0] -= 1
        if failures[0] == 0:
            raise MemoryError
        return forward(self, model, tokens)

    with mock.patch.object(continuous_batching.DecodingSlots, "forward", full):
        found = _play(suite, arms)

    assert failures[0] < 0
    assert found == expected


@pytest.mark.slow
def test_optimisations_change_no_turn(tiny: Any, tmp_path: Path) -> None:
    suite, arms = _suite(tmp_path), tiny.pair()

    assert _play(suite, arms) == _play(suite, arms, "none")
