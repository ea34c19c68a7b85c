"""How far the texts of tuned and shipped agree."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, zip_longest

from tunegate.harness.comparison.estimator import exact_mean
from tunegate.harness.contracts.further_arm import SHIPPED
from tunegate.harness.records.answers import CellKind, StoredAnswer
from tunegate.harness.records.parity import AnswerAgreement


def answer_agreement(cells: Iterable[StoredAnswer]) -> dict[str, AnswerAgreement]:
    """Return suite → how far the texts of tuned and shipped agree."""
    shares_of: dict[str, list[float]] = {}
    for (suite, _), group in groupby(cells, key=lambda c: (c.cell.suite, c.cell.case)):
        texts: dict[int, dict[str, str]] = {}
        for stored in group:
            if stored.cell.kind is CellKind.GENERATE and stored.completion is not None:
                written = texts.setdefault(stored.cell.sample, {})
                written[stored.cell.arm] = stored.completion.text or ""
        for by_arm in texts.values():
            if {"tuned", SHIPPED} <= by_arm.keys():
                shares_of.setdefault(suite, []).append(_until(by_arm["tuned"], by_arm[SHIPPED]))
    return {
        suite: AnswerAgreement(
            answers=len(shares),
            same=sum(share == EQUAL for share in shares),
            until=exact_mean(shares),
        )
        for suite, shares in shares_of.items()
    }


EQUAL = 1.0
"""Share of equal texts; a text that merely goes on longer has less."""


def _until(tuned: str, shipped: str) -> float:
    """Return the share of the longer text's characters before the first difference."""
    if tuned == shipped:
        return EQUAL
    first = next(i for i, (t, s) in enumerate(zip_longest(tuned, shipped)) if t != s)
    return first / max(len(tuned), len(shipped))
