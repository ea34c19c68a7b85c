"""Batched decoding without slots: rows leave when they are finished, none comes in.

For models whose cache does not keep every token in place (recurrent states, chunked attention,
layers that share what they remember): rows cannot be moved between batches there, and drafts cannot
be taken back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness.engine.prefix import positions, prefill
from harness.engine.row import Row, advance, choose, so_far
from harness.model import LocalArm


def in_lockstep(arm: LocalArm, model: Any, rows: Sequence[Row]) -> Iterator[Row]:
    """Yield the rows as they finish.

    Args:
        arm: Gives tokenizer and stop ids.
        model: The torch model, switched to the arm.
        rows: Unfinished rows.
    """
    import torch

    ready = prefill(arm, model, [so_far(row) for row in rows])
    cache, mask, logits = ready.cache, ready.mask, ready.tail
    while True:
        closed = [
            advance(row, tokens[-1], arm)
            for row, tokens in zip(rows, choose(rows, logits), strict=True)
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
            position_ids=positions(mask)[:, -1:],
            cache=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
