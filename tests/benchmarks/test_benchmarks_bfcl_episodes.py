"""BFCL's tasks as episodes: what a policy is made of, and how its calls come out again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.bfcl_episodes import POLICIES, Plan, made_calls, read_call, written_turns
from tests.episodes.test_episodes_play import played
from tests.played_suites import write_desk
from tunegate.harness.model import Request

TWO_MESSAGES = """
class Desk:
    def reset(self):
        self.left = 1

    def find(self, order: str, fast: bool = False) -> str:
        \"\"\"Look an order up.

        Args:
            order: Number of the order.
            fast: Whether to hurry.
        \"\"\"
        return order

    def _next(self, answer):
        self.left -= 1
        return "And?" if self.left == 0 else None

    def get_reward(self) -> float:
        return 1.0
"""


class Signature:
    """A tool's parameters."""

    def find(self, order: str, fast: bool = False) -> None:
        """Take them."""


def _call(order: str) -> dict[str, object]:
    return {"name": "find", "arguments": {"order": order}}


PLAN: Plan = [[[_call("A")], [_call("B")]], [[_call("C")]]]


def test_arguments_get_their_names() -> None:
    assert read_call("find('A', fast=True)", Signature) == {
        "name": "find",
        "arguments": {"order": "A", "fast": True},
    }


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("right, a call a step", [[["A"], ["B"]], [["C"]]]),
        ("right, a turn a step", [[["A", "B"]], [["C"]]]),
        ("silent", [[], []]),
        ("last message not answered", [[["A"], ["B"]], []]),
    ],
)
def test_calls_come_out_as_the_leaderboard_writes_them(
    tmp_path: Path, policy: str, expected: list[list[list[str]]]
) -> None:
    said = written_turns(POLICIES[policy](PLAN, random.Random(0)))

    def write(request: Request) -> str:
        return said[request.turn or 0]

    tasks = [{"id": "t", "prompt": "?", "row": {}}]
    cells, _ = played(write_desk(tmp_path, code=TWO_MESSAGES, tasks=tasks), write)
    assert cells[0].completion is not None
    shown = [[[f"find(order='{o}')" for o in step] for step in turn] for turn in expected]

    assert made_calls(cells[0].completion) == shown


@pytest.mark.parametrize(
    ("policy", "calls"),
    [("one call left out", 2), ("one argument wrong", 3), ("one call made twice", 4)],
)
def test_policies_plant_one_mistake(policy: str, calls: int) -> None:
    changed = POLICIES[policy](PLAN, random.Random(1))

    assert sum(len(step) for turn in changed for step in turn) == calls
    assert changed != PLAN
    assert [len(turn) for turn in PLAN] == [2, 1]
