"""Scores: what a metric says of one completion, and the lines of `scores.jsonl`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from tunegate.harness.records.record import STRICT, Record, Text

LARGEST = 1e100
"""Largest |score|: the squares of larger ones overflow."""


class Score(Record):
    """One metric's value for one completion, or why it is missing."""

    value: float | None = Field(default=None, ge=-LARGEST, le=LARGEST)
    """The value; None if unscored."""
    reason: Text | None = None
    """Why it is unscored, or what the metric found (`'urgency' is a required property`)."""
    parts: dict[str, float] | None = None
    """Named sub-scores that explain the value, without effect on gates."""
    counts: tuple[float, ...] | None = None
    """Statistics of a corpus metric that are summed over the cases, such as BLEU's matches."""

    @classmethod
    def of(
        cls,
        value: float,
        reason: str | None = None,
        *,
        parts: Mapping[str, float] | None = None,
        counts: Sequence[float] | None = None,
    ) -> Score:
        """Return a score, unscored if `value` is not finite or too large to be one."""
        if not math.isfinite(value):
            return cls.unscored(f"the metric returned {value!r}, which is not a number")
        if abs(value) > LARGEST:
            return cls.unscored(f"the metric returned {value:g}, too large to be a measurement")
        return cls(
            value=float(value),
            reason=reason,
            parts=None if parts is None else dict(parts),
            counts=None if counts is None else tuple(counts),
        )

    @classmethod
    def unscored(cls, reason: str) -> Score:
        """Return a score without a value, for `reason`."""
        return cls(value=None, reason=reason)

    @model_validator(mode="after")
    def _unscored_says_why(self) -> Score:
        if self.value is None and not self.reason:
            raise ValueError("an unscored Score needs a reason: Score.unscored(reason)")
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ScoreRow:
    """The score of one metric, case and arm; one line of `scores.jsonl`."""

    suite: str
    metric: str
    case: str
    arm: str
    value: float | None = Field(default=None, ge=-LARGEST, le=LARGEST)
    """Mean over the case's samples; None if one is unscored (of episodes, more than half)."""
    reason: Text | None = None
    """Why it is unscored, or what the metric found in the first sample."""
    parts: dict[str, float] | None = None
    """Named sub-scores, each the mean over the samples that have it."""
    counts: tuple[float, ...] | None = None
    """Statistics that a corpus metric sums over the cases, summed over the samples."""
    unscored: tuple[int, int] | None = None
    """Number of unscored and of all episodes of the case; None if all are scored."""
    bounds: tuple[float, float] | None = None
    """Smallest and largest value that the case could have with its unscored episodes; None if all
    are scored, no value is known, or the metric has no range."""
