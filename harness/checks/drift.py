"""How far a fine-tune moves the model: the KL divergence from base.

The measure is KL(base‖tuned) of the next-token distributions, in nats, averaged over the tokens
with which base begins its answers to fixed prompts. It is compared with that of null adapters,
which learned nothing (`tunegate.harness.models.adapters.null_adapter.randomise_adapter`).

Example: base gives two tokens 1/2 each, tuned 1/4 and 3/4. Then KL = 1/2·ln 2 + 1/2·ln 2/3 = 0.144.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.contracts.model import LocalArm

_ROUNDING = 1e-6
"""Probability that sums of float32 are off by."""
OPENING = 16
"""Tokens of an answer that count; later ones depend more and more on the first."""


@dataclass(frozen=True, slots=True)
class ProbePassage:
    """A prompt and the beginning of base's answer to it."""

    token_ids: tuple[int, ...]
    places: int
    """Distributions that count, one for each token of the answer."""


@dataclass(frozen=True, slots=True)
class ModelDrift:
    """How far tuned is from base, compared with null adapters."""

    divergence: float
    """Mean KL(base‖tuned) in nats a token."""
    null: tuple[float, ...] = ()
    """That of each null adapter."""
    changed: int = 0
    """Places where tuned's likeliest token differs from base's."""
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
        """Standard deviations between tuned and the null's mean; None without any."""
        if len(self.null) < 2 or not 0 < self.sd < math.inf:
            return None
        return (self.divergence - self.mean) / self.sd


def make_passage(prompt: Sequence[int], answer: Sequence[int]) -> ProbePassage:
    """Return the prompt with the opening of an answer, which may be empty."""
    # The last token is predicted and never read.
    read = tuple(answer[:OPENING])[:-1]
    return ProbePassage((*prompt, *read), len(read) + 1)


def token_distributions(arm: LocalArm, passages: Sequence[ProbePassage]) -> list[Any]:
    """Return each passage's log-probabilities [places, vocabulary], computed alone.

    In float64: a weak adapter diverges by 1e-8, which is noise in float32.
    """
    import torch

    rows = []
    with arm.active() as model, torch.inference_mode():
        for passage in passages:
            ids = torch.tensor([passage.token_ids], device=model.device)
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=passage.places).logits
            rows.append(logits[0].cpu().double().log_softmax(dim=-1))
    return rows


def mean_divergence(base: Sequence[Any], other: Sequence[Any]) -> float | None:
    """Return the mean KL(base‖other) over all places; None if the vocabularies differ in size.

    Both hold log-probabilities [places, vocabulary] for each passage.
    """
    if base[0].shape[-1] != other[0].shape[-1]:
        return None
    sums = [
        # A token that is impossible for base adds 0, where -∞ - -∞ would be NaN.
        float((p.exp() * (p - q)).masked_fill(p.isneginf(), 0.0).sum())
        for p, q in zip(base, other, strict=True)
    ]
    return sum(sums) / sum(len(p) for p in base)


def count_changed_tokens(base: Sequence[Any], other: Sequence[Any]) -> int:
    """Return at how many places the likeliest token differs."""
    pairs = zip(base, other, strict=True)
    return sum(int((p.argmax(dim=-1) != q.argmax(dim=-1)).sum()) for p, q in pairs)


def least_divergence(base: Any, reported: Mapping[int, float]) -> float:
    """Return KL(base‖other) over the tokens that other reports and all remaining ones as one.

    It is at most the KL over all tokens (the data processing inequality), and close to it where the
    likeliest tokens are reported.

    Args:
        base: Log-probabilities of all tokens, [vocabulary].
        reported: Token id → its log-probability in the other model.
    """
    ids = sorted(reported)
    pairs = [(math.exp(float(base[token])), math.exp(reported[token])) for token in ids]
    rest = tuple(max(0.0, 1 - math.fsum(side)) for side in zip(*pairs, strict=True))
    # Rounding can leave either rest at 0, or beside 0.
    kept = [*pairs, *([rest] if min(rest) > _ROUNDING else [])]
    divergence = math.fsum(p * math.log(p / q) for p, q in kept if p and q)
    return 0.0 if divergence < 0 else divergence  # NaN stays
