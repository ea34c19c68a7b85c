"""Sanity checks of basic chat behaviour, without a suite.

The alarm is a smoke detector, not a measurement: it goes off if tuned loses more prompts than
chance would explain. It is a one-sided sign test, at 5 % for each question, on the prompts on which
the arms differ: at least five lost and none gained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROMPTS = Path(__file__).with_name("everyday")
"""Suite of a dozen everyday prompts with short answers, and two that ask for JSON."""
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class BehaviourCount:
    """The prompts on which base and tuned did one thing, in the same order."""

    what: str
    """Their action, in the past tense: `ended by itself`."""
    base: Sequence[bool]
    tuned: Sequence[bool]

    @property
    def alarming(self) -> bool:
        """Whether tuned lost more prompts than chance would explain."""
        return lost_by_chance(self.base, self.tuned) <= LEVEL

    @property
    def sentence(self) -> str:
        """What was counted, in words."""
        return (
            f"tuned {self.what} on {sum(self.tuned)} of {len(self.tuned)} prompts, "
            f"base on {sum(self.base)}"
        )


def lost_by_chance(base: Sequence[bool], tuned: Sequence[bool]) -> float:
    """Return the probability of losing at least so many prompts if gaining were as likely."""
    from scipy.stats import binom  # type: ignore[import-untyped]  # ships no types

    pairs = list(zip(base, tuned, strict=True))
    lost = sum(b and not t for b, t in pairs)
    differ = sum(b != t for b, t in pairs)
    return float(binom.sf(lost - 1, differ, 0.5))
