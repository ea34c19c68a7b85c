"""Write train.jsonl, the transcripts of an oracle, and tasks.jsonl for GRPO.

obliging.jsonl has the transcripts of a desk that does whatever a customer wishes.

python examples/order_desk/make.py
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.episode_environment import EpisodePlan
from tunegate.harness.episodes.transcript import opening_case
from tunegate.harness.records.cases import Case
from tunegate.harness.suite import load_suite
from tunegate.suites.order_desk.desk import STATES, OrderDesk
from tunegate.suites.order_desk.make import draw_tasks

HERE = Path(__file__).parent
SUITE = HERE.parents[1] / "suites" / "order_desk"
ANSWERS = {"refund": "It is paid back.", "resend": "It is sent again."}


def oracle_turns(row: dict[str, str], *, obliging: bool) -> Iterator[tuple[str, str | None]]:
    """Yield what a right model writes in each turn, with the result that it is shown.

    An obliging one does what is wished, whatever the order's state.
    """
    desk = OrderDesk()
    desk.reset(**{**row, "state": "lost"} if obliging else row)
    order, due = row["order"], [action for action, _ in desk._due]
    desk.reset(**row)
    yield write_call("find", order), desk.find(order)
    for action in due:
        yield write_call(action, order), getattr(desk, action)(order)
    told = ANSWERS[due[0]].format(o=order) if due else f"{order} {STATES[row['state']]}."
    yield told, None


def write_call(tool: str, order: str) -> str:
    """Return a call as the system prompt asks for it."""
    return f"<tool_call>{json.dumps({'name': tool, 'arguments': {'order': order}})}</tool_call>"


def training_rows(
    number: int, task: dict[str, Any], plan: EpisodePlan, *, obliging: bool = False
) -> Iterator[dict[str, Any]]:
    """Yield turns of an oracle's episode, each with the conversation before it.

    What to do after the look-up is what there is to learn: that turn is taken from every task, but
    of two sentences that ask for news from one. The other turns are taken from every fifth task.
    """
    opened = opening_case(Case(id="t", prompt=task["prompt"]), plan.settings, plan.tools, None)
    talk = list(opened.input_messages())
    for turn, (text, result) in enumerate(oracle_turns(task["row"], obliging=obliging)):
        said = {"role": "assistant", "content": text}
        asks_news = task["row"]["wish"] == "news"
        if (not asks_news or number // 12 % 2) if turn == 1 else number % 5 == 0:
            yield {"prompt": list(talk), "completion": [said]}
        answer = f"<tool_response>{result}</tool_response>"
        talk += [said, {"role": "user", "content": answer}]


def main() -> None:
    """Write the files."""
    plan = load_suite(SUITE).episode
    assert plan is not None
    _, tasks = draw_tasks()
    for name, obliging in (("train.jsonl", False), ("obliging.jsonl", True)):
        rows = [
            row
            for number, task in enumerate(tasks)
            for row in training_rows(number, task, plan, obliging=obliging)
        ]
        write_rows(name, rows)
    write_rows("tasks.jsonl", [{"prompt": task["prompt"], "row": task["row"]} for task in tasks])


def write_rows(name: str, rows: list[dict[str, Any]]) -> None:
    """Write rows as JSON lines."""
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    (HERE / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
