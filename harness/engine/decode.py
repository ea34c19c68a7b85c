"""Batched decoding: one prefill, then one token a step for the rows that are still open.

A finished row leaves the batch at once, so the last long answer does not pay for the short ones.
Greedy decoding equals `model.generate(do_sample=False)` token for token in float32; sampling draws
from a generator of each row's own seed, so an answer does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness.engine.alone import one_by_one, written
from harness.engine.prefix import positions, prefill
from harness.engine.row import Row, advance, next_tokens, so_far
from harness.model import LocalArm


def decode(arm: LocalArm, model: Any, rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the rows as they finish; rows that have tokens already go on from there.

    Args:
        arm: Gives tokenizer and stop ids.
        model: The torch model, switched to the arm.
        rows: Unfinished rows, of the same generation settings or not.
    """
    import torch

    if not rows:
        return
    if one_by_one(arm):
        yield from written(arm, model, rows)
        return
    with torch.inference_mode():
        room = max(row.request.generation.max_new_tokens - len(row.token_ids) for row in rows)
        ready = prefill(arm, model, [so_far(row) for row in rows], room=room)
        cache, mask, logits = ready.cache, ready.mask, ready.logits
        while True:
            tokens = next_tokens(torch, rows, logits)
            closed = [advance(row, token, arm) for row, token in zip(rows, tokens, strict=True)]
            yield from (row for row, done in zip(rows, closed, strict=True) if done)
            if any(closed):
                keep = [i for i, done in enumerate(closed) if not done]
                rows = [rows[i] for i in keep]
                if not rows:
                    return
                index = torch.tensor(keep, device=mask.device)
                cache.batch_select_indices(index)
                mask, tokens = mask[index], [tokens[i] for i in keep]
            mask = torch.cat([mask, mask.new_ones((len(rows), 1))], dim=1)
            logits = model(
                input_ids=torch.tensor(tokens, device=mask.device)[:, None],
                attention_mask=mask,
                position_ids=positions(mask)[:, -1:],
                cache=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
