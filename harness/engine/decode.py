"""Batched decoding: one prefill, then one token a step for the rows that are still open.

A finished row leaves the batch at once, so the last long answer does not pay for the short ones.
Greedy decoding equals `model.generate(do_sample=False)` token for token in float32; sampling draws
from a generator of each row's own seed, so an answer does not depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.engine.prefix import positions, prefill
from harness.model import LocalArm, Request


@dataclass(slots=True)
class Row:
    """A completion in the making."""

    request: Request
    token_ids: list[int] = field(default_factory=list)
    finish_reason: str | None = None
    random: Any = None
    """torch.Generator of this row; None for greedy decoding."""


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
    with torch.inference_mode():
        room = max(row.request.generation.max_new_tokens - len(row.token_ids) for row in rows)
        ready = prefill(arm, model, [_so_far(row) for row in rows], room=room)
        cache, mask, logits = ready.cache, ready.mask, ready.logits
        while True:
            tokens = _next_tokens(torch, rows, logits)
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


def start(request: Request) -> Row:
    """Return an empty row for a request, with a random generator of its own if it samples."""
    import torch

    if request.generation.temperature == 0:
        return Row(request)
    return Row(request, random=torch.Generator().manual_seed(request.seed))


def _so_far(row: Row) -> list[int]:
    return [*(row.request.prompt.token_ids or ()), *row.token_ids]


def _next_tokens(torch: Any, rows: Sequence[Row], logits: Any) -> list[int]:
    """Choose each row's next token from its logits [rows, vocabulary]."""
    if all(row.random is None for row in rows):
        greedy: list[int] = logits.argmax(dim=-1).tolist()
        return greedy
    return [_draw(torch, row, logits[i]) for i, row in enumerate(rows)]


def _draw(torch: Any, row: Row, logits: Any) -> int:
    if row.random is None:
        return int(logits.argmax())
    settings = row.request.generation
    probabilities = torch.softmax(logits.float().cpu() / settings.temperature, dim=-1)
    if settings.top_p < 1:
        ordered, index = probabilities.sort(descending=True)
        # Nucleus sampling (Holtzman et al. 2020): drop what lies beyond top_p, keep the first.
        ordered[ordered.cumsum(0) - ordered >= settings.top_p] = 0
        probabilities = torch.zeros_like(probabilities).scatter(0, index, ordered)
    return int(torch.multinomial(probabilities, 1, generator=row.random))


def advance(row: Row, token: int, arm: LocalArm) -> bool:
    """Append a token; return whether the row is finished."""
    settings = row.request.generation
    if token in arm.stop_ids:
        row.finish_reason = "stop"
        return True
    row.token_ids.append(token)
    if settings.stop and _stops(row, arm):
        row.finish_reason = "stop"
    elif len(row.token_ids) >= settings.max_new_tokens:
        row.finish_reason = "length"
    return row.finish_reason is not None


def _stops(row: Row, arm: LocalArm) -> bool:
    text = arm.tokenizer.decode(row.token_ids, skip_special_tokens=True)
    return any(stop in text for stop in row.request.generation.stop)
