"""Fallbacks without continuous batching: static batches, and one sequence at a time.

Prompt tuning, P-tuning and prefix tuning (Lester et al. 2021; Liu et al. 2021; Li and Liang 2021)
put what they have learned before the first token, at every forward. Such an arm computes each row
alone and whole; the base it sits on keeps every optimization. Models with layers of running state
instead of keys and values (Mamba, LFM2, Qwen3.5 and other hybrids) do so in both arms: padding
would enter the state, and a state can be neither repeated for other rows nor taken back.

Batched decoding without slots: rows leave when they are finished, none comes in. For models whose
cache does not keep every token in place (recurrent states, chunked attention, layers that share
what they remember): rows cannot be moved between batches there, and drafts cannot be taken back.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunegate.harness.contracts.environment import cache_name, cache_name_of
from tunegate.harness.contracts.model import Arm, LocalArm
from tunegate.harness.engine.inference.image_rows import WIDTH, decode_with_images, has_images
from tunegate.harness.engine.inference.prefix_cache import (
    has_plain_cache,
    position_ids,
    prefill_prompts,
)
from tunegate.harness.engine.inference.sequence import (
    DecodingSequence,
    all_token_ids,
    append_token,
    choose_tokens,
    longest_length,
)


def one_by_one(arm: LocalArm) -> bool:
    """Return whether the arm's rows must be computed alone."""
    return _virtual(arm) or _running_state(arm)


def must_be_alone(arm: LocalArm, length: int) -> bool:
    """Return whether a row that grows to `length` tokens must be computed alone."""
    limit = _batch_limit(arm)
    return one_by_one(arm) or (limit is not None and length > limit)


def is_alone(arm: LocalArm, row: DecodingSequence) -> bool:
    """Return whether a row must be computed alone, as long as it may become."""
    return has_images(row) or must_be_alone(arm, longest_length([row]))


def decode_alone(
    arm: LocalArm, model: Any, rows: Sequence[DecodingSequence]
) -> Iterator[DecodingSequence]:
    """Yield those rows that must be computed alone as they finish."""
    if seen := [row for row in rows if has_images(row)]:
        width = 1 if must_be_alone(arm, longest_length(seen)) else WIDTH
        yield from decode_with_images(arm, model, seen, width)
    if alone := [row for row in rows if is_alone(arm, row) and not has_images(row)]:
        yield from decode_with_fallback(arm, model, alone)


def fallback_notices(arms: Mapping[str, Arm]) -> Iterator[str]:
    """Yield why an arm is slow, for each that cannot have every optimization."""
    for name, arm in arms.items():
        if not isinstance(arm, LocalArm):
            continue
        if one_by_one(arm):
            cause = "its adapter puts virtual tokens in front of every prompt"
            if _running_state(arm):
                cause = "its layers carry a running state"
            yield f"{name}: {cause}, so cases run one by one: no batches, drafts, shared prefixes"
            continue
        if (limit := _batch_limit(arm)) is not None:
            yield (
                f"{name}: rows of more than {limit} tokens run one by one, since beyond that "
                "positions depend on the batch"
            )
        with arm.active() as model:
            if not has_plain_cache(model):
                yield f"{name}: its cache cannot be rearranged, so there are no drafts"


def _virtual(arm: LocalArm) -> bool:
    return bool(getattr(arm, "virtual_tokens", False))


def _batch_limit(arm: LocalArm) -> int | None:
    return getattr(arm, "batch_limit", None)


def _running_state(arm: LocalArm) -> bool:
    return bool(getattr(arm, "running_state", False))


def decode_with_fallback(
    arm: LocalArm, model: Any, rows: Sequence[DecodingSequence]
) -> Iterator[DecodingSequence]:
    """Yield the rows as they finish."""
    import torch

    opening, step = (
        (_forward_opening, model.base_model) if _virtual(arm) else (_forward_whole, model)
    )
    with torch.inference_mode():
        takes_positions = not _virtual(arm) and _takes_positions(model)
        for row in rows:
            ids = all_token_ids(row)
            out = opening(torch, model, ids)
            while not append_token(row, choose_tokens([row], out.logits)[0][-1], arm):
                name, length = cache_name_of(out), len(ids) + 1
                cache = getattr(out, name) if name else None
                ids = all_token_ids(row)
                # RecurrentGemma keeps its states to itself; LongRoPE has turned what is cached.
                if cache is None or length - 1 == _batch_limit(arm):
                    out = opening(torch, model, ids)
                    continue
                last = torch.tensor([ids[-1:]], device=model.device)
                # Bamba and MiniMax count from zero again where no position is given.
                at: dict[str, Any] = (
                    {"position_ids": torch.full_like(last, length - 1)} if takes_positions else {}
                )
                at[name] = cache
                out = step(input_ids=last, use_cache=True, logits_to_keep=1, **at)
            yield row


def _takes_positions(model: Any) -> bool:
    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "position_ids" in inspect.signature(plain.forward).parameters


def _forward_whole(torch: Any, model: Any, ids: Sequence[int]) -> Any:
    return model(**_inputs(torch, model, ids), use_cache=True, logits_to_keep=1)


def _forward_opening(torch: Any, model: Any, ids: Sequence[int]) -> Any:
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
        input_ids=inputs["input_ids"],
        use_cache=True,
        logits_to_keep=1,
        **{cache_name(): virtual},
    )


def log_probabilities(model: Any, context: Sequence[int], read: Sequence[int]) -> Any:
    """Return the log-probabilities at which each token of `read` is predicted, [tokens, words]."""
    import torch

    with torch.inference_mode():
        inputs = _inputs(torch, model, [*context, *read])
        logits = model(**inputs, use_cache=False).logits[0]
        # Virtual tokens may come first: the end is what counts.
        return torch.log_softmax(logits[-len(read) - 1 : -1].float(), dim=-1)


def _inputs(torch: Any, model: Any, ids: Sequence[int]) -> dict[str, Any]:
    whole = torch.tensor([list(ids)], device=model.device)
    return {"input_ids": whole, "attention_mask": torch.ones_like(whole)}


def decode_in_lockstep(
    arm: LocalArm, model: Any, rows: Sequence[DecodingSequence]
) -> Iterator[DecodingSequence]:
    """Yield the rows as they finish."""
    import torch

    ready = prefill_prompts(arm, model, [all_token_ids(row) for row in rows])
    cache, mask, logits = ready.cache, ready.mask, ready.tail
    while True:
        closed = [
            append_token(row, tokens[-1], arm)
            for row, tokens in zip(rows, choose_tokens(rows, logits), strict=True)
        ]
        yield from (row for row, done in zip(rows, closed, strict=True) if done)
        if any(closed):
            keep = [i for i, done in enumerate(closed) if not done]
            rows = [rows[i] for i in keep]
            if not rows:
                return
            index = torch.tensor(keep, device=mask.device)
            cache.batch_select_indices(index)
            mask = mask[index]
        mask = torch.cat([mask, mask.new_ones((len(rows), 1))], dim=1)
        last = [[row.token_ids[-1]] for row in rows]
        logits = model(
            input_ids=torch.tensor(last, device=mask.device),
            attention_mask=mask,
            position_ids=position_ids(mask)[:, -1:],
            use_cache=True,
            logits_to_keep=1,
            **{cache_name(): cache},
        ).logits
