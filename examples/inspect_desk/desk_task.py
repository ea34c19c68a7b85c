"""The order desk of the bundled suite as a task of Inspect; `docs/guides/inspect.md` plays it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from desk import OrderDesk
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolDef, ToolError

CASES = Path(__file__).parents[2] / "suites" / "order_desk" / "cases.jsonl"
DESKS: dict[str, OrderDesk] = {}
"""A sample's own id → its desk."""


def tool_of(method: Callable[[str], str]) -> ToolDef:
    """Return a method of a desk as a tool; its ValueError is shown to the model."""

    async def call(order: str) -> str:
        try:
            return method(order)
        except ValueError as error:
            raise ToolError(str(error)) from error

    said = (method.__doc__ or "").split("\n")[0]
    shown: Callable[[str], Awaitable[str]] = call
    return ToolDef(shown, method.__name__, said, {"order": "Order number."})


@solver
def customer() -> Solver:
    """Let the model serve one customer."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        desk = DESKS[state.uuid] = OrderDesk()
        desk.reset(**state.metadata)
        state.tools = [tool_of(one).as_tool() for one in (desk.find, desk.refund, desk.resend)]
        return await generate(state)

    return solve


@scorer(metrics=[accuracy()])
def reward() -> Scorer:
    """Score the desk's reward, from -1 to 1."""

    async def score(state: TaskState, target: Target) -> Score:
        return Score(value=DESKS.pop(state.uuid).get_reward())

    return score


@task
def desk(tasks: int = 96) -> Task:
    """Return the first tasks of the suite."""
    rows = [json.loads(line) for line in CASES.read_text().splitlines()[:tasks]]
    samples = [Sample(id=row["id"], input=row["prompt"], metadata=row["row"]) for row in rows]
    return Task(dataset=samples, solver=customer(), scorer=reward(), message_limit=8)
