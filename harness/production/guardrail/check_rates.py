"""Scores that a check of the guardrail gives to texts with labels."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.records.errors import UsageError, refuse_unreadable
from tunegate.harness.records.files import numbered_lines


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text that somebody labelled as an attack or as harmless."""

    text: str
    attack: bool


def read_labelled_texts(path: Path) -> list[LabelledText]:
    """Return the texts of a file."""
    with refuse_unreadable(path):
        lines = [(number, line.decode("utf-8-sig")) for number, line in numbered_lines(path)]
    texts = ((number, line.strip()) for number, line in lines)
    labelled = [_parse_line(text, f"{path}:{number}") for number, text in texts if text]
    if len({text_label.attack for text_label in labelled}) < 2:
        raise UsageError(
            f"{path}: {len(labelled)} texts of one label; rates take attacks and harmless texts"
        )
    return labelled


def _parse_line(line: str, where: str) -> LabelledText:
    try:
        row: Any = json.loads(line)
    except ValueError:
        row = None
    label = row.get("attack", row.get("label")) if isinstance(row, dict) else None
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str) or label not in (True, False):  # 1 and 0 are equal to them
        raise UsageError(
            f'{where}: {line[:60]!r} is not a labelled text; write {{"text": "…", "attack": true}}'
        )
    return LabelledText(text, bool(label))


@dataclass(frozen=True, slots=True)
class MeasuredCheck:
    """The scores of one check; None where it gave none."""

    attacks: tuple[float | None, ...]
    harmless: tuple[float | None, ...]
    milliseconds: float
    """Median time of a text."""

    def join_with(self, other: MeasuredCheck, threshold: float) -> MeasuredCheck:
        """Return the check that flags what either flags."""
        attacks, harmless = (
            tuple(
                float(max(first or 0.0, second or 0.0) >= threshold)
                for first, second in zip(ours, theirs, strict=True)
            )
            for ours, theirs in ((self.attacks, other.attacks), (self.harmless, other.harmless))
        )
        return MeasuredCheck(attacks, harmless, self.milliseconds + other.milliseconds)


def measure_check(labelled: Sequence[LabelledText], score: Callable[[str], float]) -> MeasuredCheck:
    """Return the scores of a check on every text, and how long one takes."""
    scores: dict[bool, list[float | None]] = {True: [], False: []}
    times = []
    for text in labelled:
        began = time.perf_counter()
        try:
            value: float | None = score(text.text)
        except Exception:  # a text without a score counts as missed, and is reported
            value = None
        times.append(1000 * (time.perf_counter() - began))
        scores[text.attack].append(value)
    return MeasuredCheck(tuple(scores[True]), tuple(scores[False]), statistics.median(times))
