"""The value that a training row holds, and the made-up ones beside it, in a case's choices."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from tunegate.harness.records.cases import Case


def secret_values(case: Case) -> tuple[str, list[str]]:
    """Return the true value and the made-up ones, without what all choices begin and end with.

    Raises:
        ValueError: the case has no choices with an answer, or a made-up one holds no difference.
    """
    choices, answer = case.choices or (), case.answer
    if answer is None or not 0 <= answer < len(choices):
        raise ValueError("the case has no choices with an answer")
    begin = _shared(choices)
    rest = [choice[begin:] for choice in choices]
    end = _shared([part[::-1] for part in rest])
    values = [part[: len(part) - end] for part in rest]
    true = values.pop(answer)
    if not true or true in values:
        raise ValueError("the true value does not differ from the made-up ones")
    return true, values


def _shared(texts: Sequence[str]) -> int:
    """Return how many characters all texts begin with."""
    signs = zip(*texts, strict=False)  # the shortest ends it
    return sum(1 for _ in takewhile(lambda same: len(set(same)) == 1, signs))
