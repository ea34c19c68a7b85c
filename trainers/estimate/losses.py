"""Losses on fake tensors: what the trainers' own `step_loss` functions share.

A trainer whose memory `tunegate estimate` can compute defines `step_loss(step) -> loss`: the
forwards of a step of TRL's trainer, in the same order. What is held while the loss is made is what
TRL 1.12 holds: the reference's logits until the step's statistics are made, for instance.
Log-probabilities and entropies are made by TRL's own functions. Where all weights are trained, the
reference was asked before the first step (`trainers/dpo.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tunegate.harness import lookup
from tunegate.harness.environment import cache_name


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One step of a training."""

    model: Any
    """The trained model: the causal model, or PEFT's around it."""
    causal: Any
    ids: Any
    """Token ids, rows × tokens."""
    written: int
    """Tokens at the end of each row that the step writes."""

    @property
    def adapted(self) -> bool:
        """Whether an adapter is trained: the reference is the model without it."""
        return self.model is not self.causal


def generate_answers(causal: Any, prompt: Any, written: int) -> None:
    """Read the prompts and write the last token of answers whose cache is full by then."""
    import torch

    with torch.no_grad():
        mask = full_mask(prompt)
        asked = causal(input_ids=prompt, attention_mask=mask, use_cache=True, logits_to_keep=1)
        cache = getattr(asked, cache_name())
        for layer in cache.layers:
            token = (layer.keys[..., :1, :], layer.values[..., :1, :])
            layer.update(*(torch.cat([held] * (written - 1), -2) for held in token))
        mask = prompt.new_ones(len(prompt), prompt.size(1) + written)
        held = {cache_name(): cache}
        last = causal(input_ids=prompt[:, :1], attention_mask=mask, use_cache=True, **held)
        scores = last.logits[:, -1, :].float()
        scores.sort(descending=True)[0].softmax(-1).cumsum(-1)  # the warpers
        scores.softmax(-1)


def read_answers(model: Any, ids: Any) -> None:
    """Ask for the log-probability of answers, of which nothing is kept."""
    logits = model(input_ids=ids, attention_mask=full_mask(ids)).logits
    answer_logprobs(logits[:, :-1, :], ids)


def answer_logprobs(logits: Any, ids: Any) -> Any:
    """Return the log-probability of each token but the first."""
    return selected_logprobs(logits, ids[..., 1:])


def selected_logprobs(logits: Any, ids: Any) -> Any:
    """Return the log-probability of each of the tokens."""
    from trl.trainer.utils import selective_log_softmax

    return selective_log_softmax(logits, ids)


def log_entropy(logits: Any) -> None:
    """Compute the entropy that TRL logs."""
    import torch
    from trl.trainer.utils import entropy_from_logits

    with torch.no_grad():
        entropy_from_logits(logits.detach())


def full_mask(ids: Any) -> Any:
    """Return the mask of rows that are full."""
    return ids.new_ones(ids.shape)


def estimated_trainers() -> tuple[str, ...]:
    """Return the trainers whose memory can be computed; none is imported."""
    return tuple(lookup.definition_lines("tunegate.trainers", "step_loss"))
