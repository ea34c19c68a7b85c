"""Rows with images, in static batches that `model.generate` of Transformers drives.

Families place and mask what they see in ways of their own: M-RoPE in Qwen-VL, two-way attention
within an image in Gemma 3, cross-attention in Llama 3.2 Vision. `generate` knows them; which token
comes next and when a row ends is decided here, as for other rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tunegate.harness.engine.inference.sequence import (
    DecodingSequence,
    append_token,
    choose_tokens,
)
from tunegate.harness.records.errors import ModelError

WIDTH = 8
"""Most rows that are written at a time."""


def has_images(row: DecodingSequence) -> bool:
    """Return whether a row's prompt has images."""
    return bool(row.request.prompt.images)


def decode_with_images(
    arm: Any, model: Any, rows: Sequence[DecodingSequence], width: int
) -> Iterator[DecodingSequence]:
    """Yield the rows, `width` of them at a time, when the longest of these is finished."""
    for at in range(0, len(rows), width):
        group = rows[at : at + width]
        try:
            inputs = arm.image_inputs([row.request for row in group])
        except ValueError as error:
            raise ModelError(str(error)) from error
        _write(arm, model, group, inputs)
        yield from group


def _write(arm: Any, model: Any, rows: Sequence[DecodingSequence], inputs: Any) -> None:
    """Write all rows to their ends."""
    import torch
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    def choose(ids: Any, scores: Any) -> Any:
        tokens = [row[-1] for row in choose_tokens(rows, scores[:, None])]
        for row, token in zip(rows, tokens, strict=True):
            if row.finish_reason is None:
                append_token(row, token, arm)
        chosen = torch.tensor(tokens, device=scores.device)[:, None]
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen, 0)

    def finished(ids: Any, scores: Any) -> Any:
        return torch.tensor([row.finish_reason is not None for row in rows], device=ids.device)

    plain = model.get_base_model() if hasattr(model, "get_base_model") else model
    configured = plain.generation_config
    kind: Any = GenerationConfig
    # Without its penalties, as for other rows.
    plain.generation_config = kind(eos_token_id=sorted(arm.stop_ids) or None)
    try:
        plain.generate(
            **inputs.to(plain.device, plain.dtype),
            do_sample=False,
            max_new_tokens=max(row.left for row in rows),
            logits_processor=LogitsProcessorList([choose]),
            stopping_criteria=StoppingCriteriaList([finished]),
        )
    finally:
        plain.generation_config = configured
