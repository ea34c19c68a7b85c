"""Write cases.jsonl; the same seed gives the same bytes.

    python -m tunegate.suites.order_desk.make

The tasks for training (`examples/order_desk`) have other sentences and other order numbers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from tunegate.suites.order_desk.desk import STATES

HERE = Path(__file__).parent
SEED = 20261128
TASKS = 96
TRANSCRIPTS = 160

HELD_OUT = {
    "money": [
        "Order {o}: I would like my money back.",
        "Please refund {o}, I no longer want to wait.",
        "I am not happy with {o}. Can I be paid back?",
        "About {o}, what I paid should come back to my card.",
    ],
    "goods": [
        "Order {o}: I would like another one instead.",
        "Please ship {o} once more.",
        "I am not happy with {o}. Can you send a new one?",
        "About {o}, I still need the thing, so post it again.",
    ],
    "news": [
        "Order {o}: what is happening with it?",
        "Any news about {o}?",
        "Can you tell me where {o} is?",
        "About {o}, I only want to know how it stands.",
    ],
}
TRAINING = {
    "money": [
        "I want a refund for {o}.",
        "Give me back the money for {o}, please.",
        "{o} was a mistake, return my payment.",
        "Could you reimburse me for order number {o}?",
        "Hello, {o} did not work out and I want my money.",
        "My payment for {o} should be returned.",
    ],
    "goods": [
        "I want {o} sent again.",
        "Send me {o} a second time, please.",
        "{o} did not work out, I need a replacement.",
        "Could you resend order number {o}?",
        "Hello, please replace {o} with a new one.",
        "A fresh parcel for {o} would be good.",
    ],
    "news": [
        "Where is {o}?",
        "What is the status of {o}?",
        "Has {o} been delivered yet?",
        "Could you check order number {o} for me?",
        "Hello, I am curious about {o}.",
        "Tell me how {o} is doing.",
    ],
}
"""What the customer wishes → sentences."""


def _draw(
    sentences: dict[str, list[str]], count: int, rng: random.Random, used: set[str]
) -> Iterator[dict[str, Any]]:
    """Yield tasks: every wish with every state equally often, each with an order of its own."""
    combinations = list(product(sentences, STATES))
    for number in range(count):
        wish, state = combinations[number % len(combinations)]
        order = ""
        while not order or order in used:
            letters = "".join(rng.choices("ABCDEFGHKLMNPRSTUVWXYZ", k=2))
            order = f"{letters}-{rng.randrange(1000, 10000)}"
        used.add(order)
        row = {"order": order, "state": state, "wish": wish}
        prompt = rng.choice(sentences[wish]).format(o=order)
        yield {"prompt": prompt, "row": row, "tags": [wish, state.replace(" ", "_")]}


def draw_tasks() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the held-out tasks and those for training."""
    rng, used = random.Random(SEED), set[str]()
    held = list(_draw(HELD_OUT, TASKS, rng, used))
    named = [{"id": f"{t['row']['wish']}-{n:03d}", **t} for n, t in enumerate(held, start=1)]
    return named, list(_draw(TRAINING, TRANSCRIPTS, rng, used))


def main() -> None:
    """Write the file."""
    rows = draw_tasks()[0]
    text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    (HERE / "cases.jsonl").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
