"""Did something stop working that any chat model can do? Prompts counted for base and tuned.

The alarm is a smoke detector, no measurement: it goes off where tuned loses more prompts than
chance would take. That is a one-sided sign test on the prompts on which the arms differ, at 5 % for
each question asked: five lost and none gained is the least that counts. Two prompts prove nothing
and never raise it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PROMPTS = Path(__file__).with_name("everyday")
"""Suite of a dozen everyday prompts with short answers, and two that ask for JSON."""
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Tally:
    """On which prompts base and tuned did one thing, in the same order."""

    what: str
    """What they did, in the past tense: `ended by itself`."""
    base: Sequence[bool]
    tuned: Sequence[bool]

    @property
    def alarming(self) -> bool:
        """Whether tuned lost more prompts than chance would take."""
        return lost_by_chance(self.base, self.tuned) <= LEVEL

    @property
    def sentence(self) -> str:
        """What was counted, in words."""
        return (
            f"tuned {self.what} on {sum(self.tuned)} of {len(self.tuned)} prompts, "
            f"base on {sum(self.base)}"
        )


def lost_by_chance(base: Sequence[bool], tuned: Sequence[bool]) -> float:
    """Return how often so many prompts or more would be lost if losing were as likely as gaining.

    Args:
        base: Whether base did it, prompt by prompt.
        tuned: The same of tuned.
    """
    from scipy.stats import binom  # type: ignore[import-untyped]  # ships no types

    pairs = list(zip(base, tuned, strict=True))
    lost = sum(b and not t for b, t in pairs)
    differ = sum(b != t for b, t in pairs)
    return float(binom.sf(lost - 1, differ, 0.5))
