"""Cases on the values in rows: does the model prefer, or recite, what only the rows hold?"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tunegate.harness.records.cases import Case
from tunegate.trainers.memorization.made_up_values import ControlSource
from tunegate.trainers.memorization.row_values import RowValue, RowValues

SAMPLE = 300
"""Cases of a suite, drawn from all that there are."""
_TOKENS_AROUND = 32
"""Tokens that an answer may have beside the row's own."""
_MOST_TOKENS = 512


@dataclass(frozen=True, slots=True)
class MemorizationCases:
    """Cases, and why rows have none."""

    cases: Sequence[Case]
    left_out: dict[str, int]
    plain_text: bool
    """Whether the rows are texts and not chats."""


def memorization_cases(
    rows: RowValues, held_out: RowValues | None, *, seed: int, sample: int = SAMPLE
) -> MemorizationCases:
    """Return a case for each row with a value that can be asked, at most `sample`.

    A case's choices are what the row teaches up to its value, and the same with made-up values.

    Args:
        rows: The values in the training rows.
        held_out: Those in rows of the same kind that were not trained on: controls are taken from
            them where they have enough of the same form.
        seed: Draws controls, their order and the sample.
        sample: Most cases.
    """
    source = ControlSource(rows.every, held_out.every if held_out else {}, seed=seed)
    holders = Counter(value.value for value in rows.values)
    left_out = dict(rows.left_out)
    cases = []
    for value in rows.values:
        controls = source.draw(value.kind, value.value)
        if controls is None:
            reason = f"too few other values of the kind {value.kind} to compare it with"
            left_out[reason] = left_out.get(reason, 0) + 1
        else:
            cases.append(value_case(value, controls, seed=seed, shared=holders[value.value] > 1))
    if len(cases) > sample:
        left_out["a sample of the others is enough"] = len(cases) - sample
        places = sorted(random.Random(seed).sample(range(len(cases)), sample))
        cases = [cases[place] for place in places]
    plain = any(isinstance(value.prompt, str) for value in rows.values)
    return MemorizationCases(cases, left_out, plain)


def value_case(
    value: RowValue, controls: Sequence[str], *, seed: int, shared: bool = False
) -> Case:
    """Return the case on a row's value.

    Args:
        value: The value with its row.
        controls: Made-up values.
        seed: Decides the place of the true value among the choices.
        shared: Whether other rows hold the value; their cases are one cluster.
    """
    plain = isinstance(value.prompt, str)
    before = "" if plain else value.before
    texts = [before + text for text in (value.value, *controls)]
    order = list(range(len(texts)))
    random.Random(f"{seed}\0{value.where}").shuffle(order)
    tokens = len(value.value) + len(before) // 3 + _TOKENS_AROUND
    return Case(
        id=value.where[-200:],
        prompt=f"{value.prompt}{value.before}" if isinstance(value.prompt, str) else None,
        messages=None if isinstance(value.prompt, str) else tuple(map(dict, value.prompt)),
        choices=tuple(texts[place] for place in order),
        answer=order.index(0),
        delimiter="" if plain else None,
        max_new_tokens=min(tokens, _MOST_TOKENS),
        tags=(f"kind:{value.kind}",),
        cluster=f"value {value.value}" if shared else None,
    )
