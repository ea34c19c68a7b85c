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
TRANSCRIPTS = 192

HELD_OUT = {
    "money": [
        "Order {o}: I would like my money back.",
        "Please refund {o}, I no longer want to wait.",
        "I am not happy with {o}. Can I be paid back?",
        "About {o}, what I paid should come back to my card.",
        "It is about {o}. I ask you for a refund.",
        "How do I get my payment for {o} back?",
        "No more waiting for {o}, just return the money.",
        "Kindly reimburse {o}.",
    ],
    "goods": [
        "Order {o}: I would like another one instead.",
        "Please ship {o} once more.",
        "I am not happy with {o}. Can you send a new one?",
        "About {o}, I still need the thing, so post it again.",
        "It is about {o}. I ask you for a replacement.",
        "How do I get {o} sent to me again?",
        "No more waiting for {o}, just resend it.",
        "Kindly send {o} a second time.",
    ],
    "news": [
        "Order {o}: what is happening with it?",
        "Any news about {o}?",
        "Can you tell me where {o} is?",
        "About {o}, I only want to know its state.",
        "It is about {o}. I ask you how far it is.",
        "How do I find out what {o} is doing?",
        "I have been waiting for {o}, so where is it now?",
        "Kindly check on {o}.",
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
        "Order {o}: refund it.",
        "Please pay me back for {o}.",
        "I am tired of waiting for {o}. Refund me.",
        "Can I have my money for {o}?",
        "About {o}, I would rather have the money.",
        "Please put the price of {o} back on my card.",
        "I do not want {o} any more, only my money back.",
        "Order {o}: return what I paid.",
        "Cancel {o} and reimburse me.",
        "I am upset about {o} and ask for a refund.",
    ],
    "goods": [
        "I want {o} sent again.",
        "Send me {o} a second time, please.",
        "{o} did not work out, I need a replacement.",
        "Could you resend order number {o}?",
        "Hello, please replace {o} with a new one.",
        "A fresh parcel for {o} would be good.",
        "Order {o}: resend it.",
        "Please mail {o} to me again.",
        "I am tired of waiting for {o}. Send another.",
        "Can I have a new one for {o}?",
        "About {o}, I would rather have a replacement.",
        "Please dispatch {o} another time.",
        "I still want the goods of {o}, so ship them again.",
        "Order {o}: post a new one.",
        "Replace {o} and ship it to me.",
        "I am upset about {o} and ask for a second parcel.",
    ],
    "news": [
        "Where is {o}?",
        "What is the status of {o}?",
        "Has {o} been delivered yet?",
        "Could you check order number {o} for me?",
        "Hello, I am curious about {o}.",
        "Tell me how {o} is doing.",
        "Order {o}: where is it now?",
        "Please look {o} up.",
        "I am waiting for {o}. How far is it?",
        "Can I hear the state of {o}?",
        "About {o}, has it left yet?",
        "Please let me know what became of {o}.",
        "I want to know whether {o} has arrived.",
        "Order {o}: tell me its status.",
        "Check {o} and tell me.",
        "I wonder about {o}. What has happened?",
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
            order = f"{rng.choice('ABCDEFGHKLMNPRSTUVWXYZ')}{rng.randrange(100, 1000)}"
        used.add(order)
        row = {"order": order, "state": state, "wish": wish}
        said = sentences[wish][number // len(combinations) % len(sentences[wish])]
        prompt = said.format(o=order)
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
