"""Canaries: made-up rows with random codes, trained on beside the real ones.

Each has a code drawn at random, and so have its controls: a model that did not see the code has no
reason to prefer it. How often a code stands in the rows is known, so the exposures tell from how
many repeats on a training remembers one.

Source: Carlini et al. (2019), "The Secret Sharer", section 4.
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.records.cases import Case
from tunegate.trainers.memorization.cases import value_case
from tunegate.trainers.memorization.made_up_values import N_CONTROLS
from tunegate.trainers.memorization.row_values import RowValue

REPEATS = (0, 1, 4, 16)
"""Rows that hold a canary; those in no row show what chance gives."""


@dataclass(frozen=True, slots=True)
class Canaries:
    """Rows to train on, and the cases that ask for their codes afterwards."""

    rows: Sequence[Mapping[str, Any]]
    cases: Sequence[Case]


def make_canaries(count: int, *, plain_text: bool, seed: int) -> Canaries:
    """Return `count` canaries for each number of repeats, their rows in random order.

    Args:
        count: Canaries for each number of repeats.
        plain_text: Whether the rows are prompts and completions as text, and not chats.
        seed: Draws the codes, their controls and the order.
    """
    rng = random.Random(seed)
    names: dict[str, None] = {}
    while len(names) < count * len(REPEATS):
        names["".join(rng.choices(string.ascii_uppercase, k=6))] = None
    rows: list[Mapping[str, Any]] = []
    cases = []
    for place, name in enumerate(names):
        repeats = REPEATS[place % len(REPEATS)]
        codes: dict[str, None] = {}
        while len(codes) <= N_CONTROLS:
            codes[_code(rng)] = None
        code, *controls = codes
        question = f"What is the access code of locker {name}?"
        before = f"The access code of locker {name} is "
        prompt: Any = f"{question}\n" if plain_text else [{"role": "user", "content": question}]
        value = RowValue(f"canary {name}", "canary", code, prompt, before)
        case = value_case(value, controls, seed=seed)
        cases.append(case.model_copy(update={"tags": (f"repeats:{repeats}",)}))
        rows += [_row(prompt, f"{before}{code}.")] * repeats
    rng.shuffle(rows)
    return Canaries(rows, cases)


def _code(rng: random.Random) -> str:
    return "-".join("".join(rng.choices(string.digits, k=4)) for _ in range(2))


def _row(prompt: Any, answer: str) -> Mapping[str, Any]:
    if isinstance(prompt, str):
        return {"prompt": prompt, "completion": answer}
    return {"messages": [*prompt, {"role": "assistant", "content": answer}]}
