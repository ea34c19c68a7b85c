"""One row at a time, for adapters that put virtual tokens in front of every prompt.

Prompt tuning, P-tuning and prefix tuning (Lester et al. 2021; Liu et al. 2021; Li and Liang 2021)
put what they have learned before the first token, at every forward: neither padding nor a cache of
ours may stand between. Such an arm computes each row alone and whole; the base it sits on keeps
every lever.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness.engine.row import Row, advance, choose, so_far
from harness.model import LocalArm


def one_by_one(arm: LocalArm) -> bool:
    """Return whether the arm's rows must be computed alone."""
    return bool(getattr(arm, "virtual_tokens", False))


def written(arm: LocalArm, model: Any, rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the rows as they finish."""
    import torch

    with torch.inference_mode():
        for row in rows:
            out = _opening(torch, model, so_far(row))
            while not advance(row, choose([row], out.logits)[0][-1], arm):
                last = torch.tensor([[row.token_ids[-1]]], device=model.device)
                out = model.base_model(
                    input_ids=last, cache=out.cache, use_cache=True, logits_to_keep=1
                )
            yield row


def _opening(torch: Any, model: Any, ids: Sequence[int]) -> Any:
    """Return the forward of the virtual tokens and what follows, with its cache.

    PEFT's `generate` is not asked: with the caches of Transformers 5.24 it puts the virtual tokens
    in front of every further token as well.
    """
    inputs = _inputs(torch, model, ids)
    virtual = model.get_prompt(batch_size=1)
    if isinstance(virtual, torch.Tensor):
        words = model.word_embeddings(inputs["input_ids"])
        whole = torch.cat([virtual.to(words.dtype), words], dim=1)
        return model.base_model(inputs_embeds=whole, use_cache=True, logits_to_keep=1)
    return model.base_model(
        input_ids=inputs["input_ids"], cache=virtual, use_cache=True, logits_to_keep=1
    )


def log_probabilities(model: Any, context: Sequence[int], read: Sequence[int]) -> Any:
    """Return the log-probabilities at which each token of `read` is predicted, [tokens, words]."""
    import torch

    with torch.inference_mode():
        inputs = _inputs(torch, model, [*context, *read])
        logits = model(**inputs, use_cache=False).logits[0]
        # Virtual tokens may stand in front: the end is what counts.
        return torch.log_softmax(logits[-len(read) - 1 : -1].float(), dim=-1)


def _inputs(torch: Any, model: Any, ids: Sequence[int]) -> dict[str, Any]:
    whole = torch.tensor([list(ids)], device=model.device)
    return {"input_ids": whole, "attention_mask": torch.ones_like(whole)}
