"""Losses of TRL's trainers on fake tensors: the same forwards in the same order.

| trainer | a row is | what a step goes through |
|---|---|---|
| `sft` | a prompt with its answer | one forward, logits of 256 tokens at a time |
| `dpo` | a pair of them | one forward of both, one of the reference, all logits at once |
| `kto` | an answer | mismatched answers, the answers, and both again by the reference |
| `grpo` | an answer that is written first | generation with its cache, then one forward |

What is held while the loss is made is what TRL 1.12 holds: the reference's logits until the step's
statistics are made, for instance. Log-probabilities and entropies are made by TRL's own functions.
Where all weights are trained, the reference was asked before the first step
(`trainers/dpo.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_CHUNK = 256
"""Tokens of which SFT computes logits at once (`_CHUNKED_LM_HEAD_CHUNK_SIZE`)."""


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """One step of a training."""

    model: Any
    """What is trained: the causal model, or PEFT's around it."""
    causal: Any
    ids: Any
    """Token ids, rows × tokens."""
    written: int
    """Tokens at the end of each row that GRPO writes."""

    @property
    def adapted(self) -> bool:
        """Whether an adapter is trained: the reference is the model without it."""
        return self.model is not self.causal


def sft(step: TrainingStep) -> Any:
    """Compute TRL's `chunked_nll`: logits of 256 tokens at a time, made again backwards."""
    from torch.utils.checkpoint import checkpoint

    ids, causal = step.ids, step.causal
    hidden = causal.base_model(input_ids=ids, attention_mask=_full_mask(ids), use_cache=False)[0]
    hidden = hidden[..., :-1, :].reshape(-1, hidden.size(-1))
    labels = ids[..., 1:].reshape(-1)
    order = labels.argsort()
    hidden, labels = hidden[order], labels[order]
    head = causal.get_output_embeddings()
    loss = hidden.new_zeros(())
    for start in range(0, len(hidden), _CHUNK):
        part = slice(start, start + _CHUNK)
        loss = loss + checkpoint(_chunk, hidden[part], head, labels[part], use_reentrant=False)
    return loss


def _chunk(hidden: Any, head: Any, labels: Any) -> Any:
    import torch

    logits = hidden.float() @ head.weight.float().t()
    log_p = torch.nn.functional.log_softmax(logits, dim=-1)
    (log_p.exp() * log_p).sum(dim=-1)  # the entropy that TRL logs
    return torch.nn.functional.nll_loss(log_p, labels, reduction="sum")


def dpo(step: TrainingStep) -> Any:
    """Compute DPO's loss of as many pairs as there are rows."""
    import torch

    both = torch.cat([step.ids, step.ids])
    outputs = step.model(input_ids=both, attention_mask=_full_mask(both), use_cache=False)
    logits = outputs.logits[..., :-1, :]
    log_p = _log_p(logits, both).sum(dim=1)
    if step.adapted:
        with torch.no_grad(), step.model.disable_adapter():
            reference = step.model(input_ids=both, attention_mask=_full_mask(both), use_cache=False)
        log_p = log_p - _log_p(reference.logits[..., :-1, :], both).sum(dim=1)
    chosen, rejected = log_p.chunk(2)
    _entropy(logits)
    better, _ = logits.detach().chunk(2)
    better.clone().mean(-1)  # of the tokens that count
    return -torch.nn.functional.logsigmoid(chosen - rejected).mean()


def kto(step: TrainingStep) -> Any:
    """Compute KTO's loss."""
    import torch

    ids = step.ids
    with torch.no_grad():
        _answers(step.model, ids)
    outputs = step.model(input_ids=ids, attention_mask=_full_mask(ids))
    logits = outputs.logits[:, :-1, :]
    log_p = _log_p(logits, ids).sum(-1)
    if step.adapted:
        with torch.no_grad(), step.model.disable_adapter():
            _answers(step.model, ids)
            reference = step.model(input_ids=ids, attention_mask=_full_mask(ids))
        log_p = log_p - _log_p(reference.logits[:, :-1, :], ids).sum(-1)
    _entropy(logits)
    good, bad = (part.clone() for part in logits.detach().tensor_split(2))
    good.clone().mean(-1), bad.clone().mean(-1)
    return torch.sigmoid(log_p).mean()


def grpo(step: TrainingStep) -> Any:
    """Write the answers, then compute GRPO's loss of them."""
    ids, written = step.ids, step.written
    generate_answers(step.causal, ids[:, :-written], written)
    keep = {"logits_to_keep": written + 1}
    outputs = step.model(input_ids=ids, attention_mask=_full_mask(ids), use_cache=False, **keep)
    logits = outputs.logits[:, :-1, :][:, -written:, :] / 1.0  # by the temperature, into a copy
    log_p = _selected_logprobs(logits, ids[:, -written:])
    _entropy(logits)
    return -log_p.mean()


LOSSES: dict[str, Callable[[TrainingStep], Any]] = {
    "sft": sft,
    "dpo": dpo,
    "kto": kto,
    "grpo": grpo,
}
"""Name of `tunegate train` → its way to a loss."""


def generate_answers(causal: Any, prompt: Any, written: int) -> None:
    """Read the prompts and write the last token of answers whose cache is full by then."""
    import torch

    with torch.no_grad():
        mask = _full_mask(prompt)
        asked = causal(input_ids=prompt, attention_mask=mask, use_cache=True, logits_to_keep=1)
        cache = asked.past_key_values
        for layer in cache.layers:
            token = (layer.keys[..., :1, :], layer.values[..., :1, :])
            layer.update(*(torch.cat([held] * (written - 1), -2) for held in token))
        mask = prompt.new_ones(len(prompt), prompt.size(1) + written)
        last = causal(input_ids=prompt[:, :1], attention_mask=mask, cache=cache, use_cache=True)
        scores = last.logits[:, -1, :].float()
        scores.sort(descending=True)[0].softmax(-1).cumsum(-1)  # the warpers
        scores.softmax(-1)


def _answers(model: Any, ids: Any) -> None:
    """Ask for the log-probability of answers, of which nothing is kept."""
    logits = model(input_ids=ids, attention_mask=_full_mask(ids)).logits
    _log_p(logits[:, :-1, :], ids)


def _log_p(logits: Any, ids: Any) -> Any:
    return _selected_logprobs(logits, ids[..., 1:])


def _selected_logprobs(logits: Any, ids: Any) -> Any:
    from trl.trainer.utils import selective_log_softmax

    return selective_log_softmax(logits, ids)


def _entropy(logits: Any) -> None:
    """Compute the entropy that TRL logs."""
    import torch
    from trl.trainer.utils import entropy_from_logits

    with torch.no_grad():
        entropy_from_logits(logits.detach())


def _full_mask(ids: Any) -> Any:
    """Return the mask of rows that are full."""
    return ids.new_ones(ids.shape)
