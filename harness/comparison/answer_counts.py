"""Counts over the written answers of a suite: equal ones, cut ones, and episodes that failed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple

from tunegate.harness.records.cases import WRITTEN, Completion, StoredAnswer


class AnswerCounts(NamedTuple):
    """What is told of a suite's written answers as a whole."""

    same: int = 0
    """How many are equal in base and tuned …"""
    compared: int = 0
    """… of how many that both wrote."""
    cut: Mapping[str, tuple[int, int]] = MappingProxyType({})
    """Base and tuned → answers that the token limit cut, of how many written."""
    failed: Mapping[str, int] = MappingProxyType({})
    """Base and tuned → how many failed in this arm and not in the other; the reasons are left out.
    """
    pairs: int = 0
    """How many answers were asked of both arms."""

    @property
    def same_share(self) -> float | None:
        """Which share of the answers that both arms wrote is equal; None without any."""
        return self.same / self.compared if self.compared else None


def count_answers(cells: Iterable[StoredAnswer]) -> dict[str, AnswerCounts]:
    """Return suite → counts of its written answers; the cells of a case must come together."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for (suite, _), group in cells_by_case(cells):
        texts: dict[int, dict[str, str | None]] = {}
        failed: dict[int, dict[str, bool]] = {}
        for stored in group:
            arm, done = stored.cell.arm, stored.completion
            if stored.cell.kind not in WRITTEN:
                continue
            failed.setdefault(stored.cell.sample, {})[arm] = done is None
            if done is not None:
                texts.setdefault(stored.cell.sample, {})[arm] = _whole_text(done)
                counts[suite][f"written {arm}"] += 1
                counts[suite][f"cut {arm}"] += done.finish_reason == "length"
        pairs = [found for found in texts.values() if {"base", "tuned"} <= found.keys()]
        same = sum(found["base"] == found["tuned"] for found in pairs)
        counts[suite].update(compared=len(pairs), same=same)
        for found in (found for found in failed.values() if {"base", "tuned"} <= found.keys()):
            counts[suite]["pairs"] += 1
            counts[suite]["failed base"] += found["base"] and not found["tuned"]
            counts[suite]["failed tuned"] += found["tuned"] and not found["base"]
    return {suite: _answer_counts(own) for suite, own in counts.items()}


def _whole_text(done: Completion) -> str | None:
    """Return what the model wrote, in all turns of an episode."""
    if done.episode is None:
        return done.text
    return "\0".join(turn.text for turn in done.episode.turns)


def cells_by_case(
    cells: Iterable[StoredAnswer],
) -> Iterator[tuple[tuple[str, str], Iterator[StoredAnswer]]]:
    """Yield (suite, case) with its cells, as they come together in a plan."""
    return groupby(cells, key=lambda stored: (stored.cell.suite, stored.cell.case))


def _answer_counts(own: Counter[str]) -> AnswerCounts:
    arms = [arm for arm in ("base", "tuned") if own[f"written {arm}"]]
    cut = {arm: (own[f"cut {arm}"], own[f"written {arm}"]) for arm in arms}
    failed = {arm: own[f"failed {arm}"] for arm in ("base", "tuned") if own[f"failed {arm}"]}
    return AnswerCounts(own["same"], own["compared"], cut, failed, own["pairs"])
