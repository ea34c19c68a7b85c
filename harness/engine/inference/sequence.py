"""A sequence being decoded: tokens, sampling and stopping."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tunegate.harness.contracts.model import LocalArm, Request
from tunegate.harness.models._thought_tracker import ThoughtTracker

if TYPE_CHECKING:
    from tunegate.harness.engine.inference.speculative import AnswerDraft


_BLOCK = 256
"""Most words among which a maximum is searched at a time."""
_SMALLEST_BLOCK = 32
"""Words of a block from which searching in blocks pays."""


@dataclass(slots=True)
class DecodingSequence:
    """A completion in progress."""

    request: Request
    token_ids: list[int] = field(default_factory=list)
    written_at: list[float] = field(default_factory=list)
    """The clock at each of these tokens."""
    finish_reason: str | None = None
    random: Any = None
    """torch.Generator of this row; None for greedy decoding."""
    draft: AnswerDraft | None = None
    """A guess at the answer; none for sampled rows."""
    thoughts: ThoughtTracker | None = None
    """Where its thoughts end; None where nothing depends on it."""

    @property
    def left(self) -> int:
        """Most tokens that may still be written."""
        return self.request.generation.most_tokens - len(self.token_ids)


def start_sequence(request: Request, draft: AnswerDraft | None = None) -> DecodingSequence:
    """Return an empty row for a request, with a random generator of its own if it samples."""
    import torch

    row = DecodingSequence(
        request, thoughts=ThoughtTracker.of(request.generation, request.prompt.text)
    )
    if request.generation.temperature == 0:
        row.draft = draft
    else:
        row.random = torch.Generator().manual_seed(request.seed)
    return row


def all_token_ids(row: DecodingSequence) -> list[int]:
    """Return the prompt's tokens and those written since."""
    return [*(row.request.prompt.token_ids or ()), *row.token_ids]


def longest_length(rows: Sequence[DecodingSequence]) -> int:
    """Return how many tokens the longest row may come to."""
    return max(len(all_token_ids(row)) + row.left for row in rows)


def choose_tokens(
    rows: Sequence[DecodingSequence], logits: Any, *, drawn_at: int = -1
) -> list[list[int]]:
    """Return each row's tokens at each position of its logits.

    Args:
        rows: The rows.
        logits: [rows, positions, vocabulary].
        drawn_at: Position from which a row that samples draws its next token, its only one.
    """
    chosen: list[list[int]] = likeliest_words(logits).tolist()
    return [
        tokens if row.random is None else [_draw(row, logits[i, drawn_at])]
        for i, (row, tokens) in enumerate(zip(rows, chosen, strict=True))
    ]


def likeliest_words(logits: Any) -> Any:
    """Return `logits.argmax(dim=-1)`, in less than half its time on a processor.

    PyTorch's kernel for the index of a maximum uses no vector instructions, the one for its value
    does: so the value is searched everywhere, and its index in one block only.
    """
    import torch

    size = math.gcd(logits.shape[-1], _BLOCK)
    if logits.device.type != "cpu" or size < _SMALLEST_BLOCK:
        return logits.argmax(dim=-1)
    blocks = logits.unflatten(-1, (-1, size))
    block = blocks.amax(dim=-1).argmax(dim=-1, keepdim=True)
    within = torch.take_along_dim(blocks, block[..., None], dim=-2)[..., 0, :].argmax(dim=-1)
    return block[..., 0] * size + within


def _draw(row: DecodingSequence, logits: Any) -> int:
    import torch

    settings = row.request.generation
    probabilities = torch.softmax(logits.float().cpu() / settings.temperature, dim=-1)
    if settings.top_p < 1:
        ordered, index = probabilities.sort(descending=True)
        # Nucleus sampling (Holtzman et al. 2020): drop what is beyond top_p, keep the first.
        ordered[ordered.cumsum(0) - ordered >= settings.top_p] = 0
        probabilities = torch.zeros_like(probabilities).scatter(0, index, ordered)
    return int(torch.multinomial(probabilities, 1, generator=row.random))


def append_token(row: DecodingSequence, token: int, arm: LocalArm) -> bool:
    """Append a token; return whether the row is finished."""
    thoughts = row.thoughts
    if token in arm.stop_ids:
        row.finish_reason = "stop"
        return True
    row.token_ids.append(token)
    row.written_at.append(time.perf_counter())
    if row.draft is not None:
        row.draft.follow(row.token_ids)
    if thoughts is not None:
        thoughts.follow(arm.tokenizer, row.token_ids)
    count = len(row.token_ids)
    if thoughts is not None and thoughts.stops(arm.tokenizer, row.token_ids):
        row.finish_reason = "stop"
    elif row.left <= 0 if thoughts is None else thoughts.is_full(count):
        row.finish_reason = "length"
    return row.finish_reason is not None
