"""Sanity checks without a suite: basic chat behaviour, and the KL divergence from base.

The alarm is a smoke detector, no measurement: it goes off where tuned loses more prompts than
chance would take. That is a one-sided sign test on the prompts on which the arms differ, at 5 % for
each question asked: five lost and none gained is the least that counts. Two prompts prove nothing
and never raise it.

How far does a fine-tune move the model, and is that further than chance would? The measure is the
divergence KL(base‖tuned) of the next-token distributions, in nats, averaged over the places where
base begins its own answers to fixed prompts: what the user would notice first. What it is to be
compared with, an adapter that learned nothing, is the caller's to make
(`tunegate.harness.models.adapters.null_adapter.randomise_adapter`).

Example: base gives two tokens 1/2 each, tuned 1/4 and 3/4. Then KL = 1/2·ln 2 + 1/2·ln 2/3 = 0.144.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.model import LocalArm

PROMPTS = Path(__file__).with_name("everyday")
"""Suite of a dozen everyday prompts with short answers, and two that ask for JSON."""
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class BehaviourCount:
    """On which prompts base and tuned did one thing, in the same order."""

    what: str
    """Their action, in the past tense: `ended by itself`."""
    base: Sequence[bool]
    tuned: Sequence[bool]

    @property
    def alarming(self) -> bool:
        """Whether tuned lost more prompts than chance would take."""
        return lost_by_chance(self.base, self.tuned) <= LEVEL

    @property
    def sentence(self) -> str:
        """The counted event, in words."""
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


OPENING = 16
"""Tokens of an answer whose prediction counts; later ones depend ever more on the first."""


@dataclass(frozen=True, slots=True)
class ProbePassage:
    """A prompt and the beginning of base's answer to it."""

    token_ids: tuple[int, ...]
    places: int
    """Distributions that count: those of the answer's tokens, the first one after the prompt."""


@dataclass(frozen=True, slots=True)
class ModelDrift:
    """How far tuned is from base, compared with null adapters."""

    divergence: float
    """Mean KL(base‖tuned) in nats a token."""
    null: tuple[float, ...] = ()
    """The same of each null adapter; empty where there are none."""
    changed: int = 0
    """Places at which tuned's likeliest token is another than base's."""
    places: int = 0

    @property
    def mean(self) -> float:
        """Mean of the null adapters."""
        return statistics.fmean(self.null)

    @property
    def sd(self) -> float:
        """Standard deviation of the null adapters."""
        # statistics.stdev raises where a null adapter overflowed.
        squares = sum((d - self.mean) ** 2 for d in self.null)
        return math.sqrt(squares / (len(self.null) - 1))

    @property
    def z(self) -> float | None:
        """Distance of tuned from the null's mean in its standard deviations; None without any."""
        if len(self.null) < 2 or not 0 < self.sd < math.inf:
            return None
        return (self.divergence - self.mean) / self.sd


def make_passage(prompt: Sequence[int], answer: Sequence[int]) -> ProbePassage:
    """Return the prompt with the opening of an answer; an empty answer leaves its first place."""
    # The last token is predicted and never read.
    read = tuple(answer[:OPENING])[:-1]
    return ProbePassage((*prompt, *read), len(read) + 1)


def token_distributions(arm: LocalArm, passages: Sequence[ProbePassage]) -> list[Any]:
    """Return each passage's log-probabilities [places, vocabulary], computed alone.

    They are float64: of a weak adapter, whose divergence is near 1e-8, float32 leaves only noise.
    """
    import torch

    rows = []
    with arm.active() as model, torch.inference_mode():
        for one in passages:
            ids = torch.tensor([one.token_ids], device=model.device)
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=one.places).logits
            rows.append(logits[0].cpu().double().log_softmax(dim=-1))
    return rows


def mean_divergence(base: Sequence[Any], other: Sequence[Any]) -> float | None:
    """Return the mean KL(base‖other) over all places; None where the vocabularies differ in size.

    Args:
        base: Log-probabilities of base, [places, vocabulary] a passage.
        other: The same of the other arm.
    """
    if base[0].shape[-1] != other[0].shape[-1]:
        return None
    sums = [
        # What base holds for impossible adds nothing, though -∞ - -∞ is no number.
        float((p.exp() * (p - q)).masked_fill(p.isneginf(), 0.0).sum())
        for p, q in zip(base, other, strict=True)
    ]
    return sum(sums) / sum(len(p) for p in base)


def count_changed_tokens(base: Sequence[Any], other: Sequence[Any]) -> int:
    """Return at how many places the likeliest token is another one."""
    pairs = zip(base, other, strict=True)
    return sum(int((p.argmax(dim=-1) != q.argmax(dim=-1)).sum()) for p, q in pairs)
