"""How far the answers of tuned and shipped are the same text, whatever the metrics make of it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, zip_longest

from harness.manifest import SHIPPED
from harness.records import CellKind, StoredCell
from harness.verdict.pairs import mean
from harness.verdict.parity_record import Agreement


def agreement(cells: Iterable[StoredCell]) -> dict[str, Agreement]:
    """Return suite → how far what tuned and shipped wrote agrees; without suites that write none.

    Args:
        cells: The cells of a run, those of a case together.
    """
    found: dict[str, list[float]] = {}
    for (suite, _), group in groupby(cells, key=lambda c: (c.cell.suite, c.cell.case)):
        texts: dict[int, dict[str, str]] = {}
        for stored in group:
            if stored.cell.kind is CellKind.GENERATE and stored.completion is not None:
                written = texts.setdefault(stored.cell.sample, {})
                written[stored.cell.arm] = stored.completion.text or ""
        for both in texts.values():
            if {"tuned", SHIPPED} <= both.keys():
                found.setdefault(suite, []).append(_until(both["tuned"], both[SHIPPED]))
    return {suite: _of(shares) for suite, shares in found.items()}


def _of(shares: list[float]) -> Agreement:
    return Agreement(
        answers=len(shares), same=sum(share == EQUAL for share in shares), until=mean(shares)
    )


EQUAL = 1.0
"""Share of a text that is equal to another; of one that goes on longer it is less."""


def _until(tuned: str, shipped: str) -> float:
    """Return the share of the longer text's characters before the first difference."""
    if tuned == shipped:
        return EQUAL
    first = next(i for i, (t, s) in enumerate(zip_longest(tuned, shipped)) if t != s)
    return first / max(len(tuned), len(shipped))
