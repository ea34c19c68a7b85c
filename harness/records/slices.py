"""Slice losses: tags on which tuned is worse although the run ships."""

from __future__ import annotations

import operator

from pydantic import Field

from tunegate.harness.records.record import Number, Record, Text


class LostSlice(Record):
    """A metric on which tuned is worse for the cases of one tag. Differences are tuned − base."""

    suite: str
    """Name of the suite."""
    metric: str
    """Name of the metric within it."""
    tag: Text
    """Tag of the cases."""
    higher_is_better: bool
    """Whether a positive delta is an improvement."""
    rate: bool = Field(default=False, exclude_if=operator.not_)
    """Whether scores are between 0 and 1, so that texts show percent and points."""
    base: Number
    """Base's level over the complete pairs."""
    tuned: Number
    """Tuned's level, likewise."""
    delta: Number
    """tuned − base."""
    low: Number
    """Lower end of the delta's interval; None if the data bound neither end."""
    high: Number
    """Upper end, likewise."""
    confidence: float
    """Two-sided confidence of this one interval, taken by itself."""
    n: int
    """Complete pairs."""
    q_value: Number
    """Two-sided p-value of "no difference", by Benjamini and Hochberg over the slices tested."""
    stands_out: bool
    """Whether that is at most 0.10; otherwise only its own interval shows a loss."""


class SliceLosses(Record):
    """Slices on which tuned lost in a run that ships; without effect on the verdict."""

    tested: int
    """Slices tested: gated metrics on tags that have enough cases and no comparing gate."""
    sentence: str
    """How many lost, the worst of them with their numbers, and how to gate on one."""
    lost: tuple[LostSlice, ...]
    """The ones that stand out first, then by size of the loss."""
