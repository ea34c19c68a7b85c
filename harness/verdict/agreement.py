"""How far the answers of tuned and shipped are the same text, whatever the metrics make of it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest

from harness.manifest import SHIPPED
from harness.records import CellKind, StoredCell
from harness.verdict.pairs import mean
from harness.verdict.parity_record import Agreement


def agreement(cells: Iterable[StoredCell]) -> dict[str, Agreement]:
    """Return suite → how far what tuned and shipped wrote agrees; without the suites that don't."""
    texts: dict[tuple[str, str, int], dict[str, str]] = {}
    for stored in cells:
        cell, completion = stored.cell, stored.completion
        if cell.kind is CellKind.GENERATE and completion is not None:
            found = texts.setdefault((cell.suite, cell.case, cell.sample), {})
            found[cell.arm] = completion.text or ""
    pairs: dict[str, list[tuple[str, str]]] = {}
    for (suite, _, _), found in texts.items():
        if {"tuned", SHIPPED} <= found.keys():
            pairs.setdefault(suite, []).append((found["tuned"], found[SHIPPED]))
    return {suite: _of(both) for suite, both in pairs.items()}


def _of(pairs: list[tuple[str, str]]) -> Agreement:
    return Agreement(
        answers=len(pairs),
        same=sum(tuned == shipped for tuned, shipped in pairs),
        until=mean([_until(tuned, shipped) for tuned, shipped in pairs]),
    )


def _until(tuned: str, shipped: str) -> float:
    """Return the share of tuned's characters before the first difference; 1 for equal texts."""
    if tuned == shipped:
        return 1.0
    both = enumerate(zip_longest(tuned, shipped))
    first = next(i for i, (t, s) in both if t != s)
    return first / len(tuned) if tuned else 0.0
