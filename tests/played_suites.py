"""Suites of episodes on disk, and arms that follow a policy: for the tests of several rooms."""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.model import Prompt, Request
from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.generation import GenerationSettings
from tunegate.harness.records.hashing import sha256

DESK = '''
class Desk:
    """An order desk: find an order before it is paid back."""

    orders = {"A1": "lost", "A2": "late"}

    def reset(self, order: str, wants: str = "refund") -> str | None:
        self.order, self.wants, self.seen, self.paid = order, wants, set(), None
        return None

    def find(self, order: str) -> str:
        """Look an order up.

        Args:
            order: Number of the order.
        """
        self.seen.add(order)
        return f"{order} is {self.orders[order]}"

    def refund(self, order: str) -> str:
        """Pay an order back.

        Args:
            order: Number of the order.
        """
        if order not in self.seen:
            raise ValueError("find it first")
        self.paid = order
        return "paid"

    def get_reward(self) -> float:
        return float(self.paid == self.order)
'''
"""The environment of most tests."""

TOML = """\
name = "desk"
cases = "tasks.jsonl"
episode = "desk.py:Desk"
[[metrics]]
use = "episode_pass"
[[gates]]
metric = "episode_pass"
gain = 0.10
"""


def call(tool: str, **arguments: Any) -> str:
    """Return a call as Hermes' template writes it."""
    return f"<tool_call>{json.dumps({'name': tool, 'arguments': arguments})}</tool_call>"


def look_up(request: Request) -> str:
    """Find the order, and tell what was returned with the seed of the turn."""
    first, last = request.case.input_messages()[0], request.case.input_messages()[-1]
    if last["role"] == "tool":
        return f"It is {last['content']} ({request.seed})."
    return call("find", order=str(first["content"])[-3:-1])


def write_desk(
    folder: Path, *, toml: str = TOML, code: str = DESK, tasks: Sequence[Mapping[str, Any]] = ()
) -> Path:
    """Write a suite of episodes and return its folder; one task about order A1 by default."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = tasks or [{"id": "t1", "prompt": "Pay A1 back.", "row": {"order": "A1"}}]
    (folder / "suite.toml").write_text(toml)
    (folder / "desk.py").write_text(textwrap.dedent(code))
    (folder / "tasks.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


Policy = Callable[[Request], str]
"""From the request of a turn to what is written."""


def solve(request: Request) -> str:
    """Find the order that the task is about, pay it back, and say so."""
    order = (request.case.row or {})["order"]
    steps = [call("find", order=order), call("refund", order=order), "It is paid back."]
    return steps[request.turn or 0]


@dataclass(frozen=True)
class PolicyArm:
    """An arm whose turns a Python function writes; it counts what it was asked."""

    name: str
    policy: Policy = field(repr=False)
    asked: list[Request] = field(default_factory=list, repr=False, compare=False)
    kinds: frozenset[CellKind] = frozenset({CellKind.GENERATE})

    @property
    def identity(self) -> Mapping[str, Any]:
        """Its name."""
        return {"spec": self.name, "backend": "policy"}

    @property
    def fingerprint(self) -> str:
        """Hash of its name."""
        return sha256(self.name)

    def cannot(self, kind: CellKind) -> str:
        """Return a sentence."""
        return f"{self.name} has no {kind.value}"

    def prompt(self, case: Case, generation: GenerationSettings) -> Prompt:
        """Return the conversation as JSON."""
        return Prompt(json.dumps(list(case.input_messages(generation.system))))

    def complete(self, requests: Sequence[Request]) -> Iterator[StoredAnswer]:
        """Ask the policy."""
        for request in requests:
            self.asked.append(request)
            text = self.policy(request)
            done = Completion(
                text=text,
                finish_reason="stop",
                input_tokens=len(request.prompt.text),
                output_tokens=len(text.split()),
                latency_s=0.5,
            )
            yield StoredAnswer.of(request.cell, done, None, time.time())
