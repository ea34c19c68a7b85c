"""Draft-verified greedy decoding: base's answer is the tuned arm's draft.

Prompt and draft go through the model in one forward; the longest prefix on which the model's own
argmax agrees is accepted, and the token after it comes for free. What is left is decoded as usual.
The result is the plain greedy answer token for token (exact in float32); on prompts that a
fine-tune hardly changes it costs a prefill instead of a decode.

Source: speculative decoding (Leviathan, Kalman and Matias 2023) in its greedy form, with a stored
answer in place of a draft model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.engine.decode import decode
from harness.engine.prefix import prefill, shared_length
from harness.engine.row import Row, advance, start
from harness.model import LocalArm, Request
from harness.records import Completion

_LOGIT_BYTES = 256_000_000
"""Memory for the logits of one verification: rows × draft positions × vocabulary × 4 bytes."""
_WORTH_IT = 0.2
"""Share of accepted draft tokens below which drafting costs more than it saves."""


@dataclass
class Watch:
    """How well an arm's drafts are accepted, by suite; it ends drafting where they are not."""

    drafted: dict[str, int] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)

    def count(self, suite: str, drafted: int, accepted: int) -> None:
        """Add the tokens of one row."""
        self.drafted[suite] = self.drafted.get(suite, 0) + drafted
        self.accepted[suite] = self.accepted.get(suite, 0) + accepted

    def share(self, suite: str) -> float | None:
        """Return the accepted share; None before the first draft."""
        drafted = self.drafted.get(suite)
        return self.accepted[suite] / drafted if drafted else None

    def pays(self, suite: str) -> bool:
        """Return whether drafting is still worth it."""
        share = self.share(suite)
        return share is None or share >= _WORTH_IT


def draft_ids(arm: LocalArm, completion: Completion) -> tuple[int, ...]:
    """Return a stored answer as tokens, with the stop token where it ended by itself."""
    ids = tuple(arm.tokenizer(completion.text or "", add_special_tokens=False)["input_ids"])
    ends = completion.finish_reason == "stop" and arm.stop_ids
    return (*ids, min(arm.stop_ids)) if ends else ids


def decode_drafted(
    arm: LocalArm,
    model: Any,
    requests: Sequence[Request],
    drafts: Mapping[str, tuple[int, ...]],
    watch: Watch,
) -> Iterator[Row]:
    """Yield each request's finished row: verified where the draft held, decoded from there on.

    Args:
        arm: Gives tokenizer and stop ids.
        model: The torch model, switched to the arm.
        requests: Greedy generation requests.
        drafts: Request key → draft tokens, for some or all of them.
        watch: Counts what was accepted.
    """
    rows = [start(request) for request in requests]
    drafted = [row for row in rows if drafts.get(row.request.key)]
    _verify(arm, model, drafted, drafts, watch)
    yield from (row for row in rows if row.finish_reason is not None)
    yield from decode(arm, model, [row for row in rows if row.finish_reason is None])


def _verify(
    arm: LocalArm,
    model: Any,
    rows: Sequence[Row],
    drafts: Mapping[str, tuple[int, ...]],
    watch: Watch,
) -> None:
    """Advance each row as far as its draft agrees with the model, and one token further."""
    import torch

    vocabulary = int(model.get_input_embeddings().weight.shape[0])
    for chunk in _chunks(rows, drafts, vocabulary):
        prompts = [row.request.prompt.token_ids or () for row in chunk]
        guesses = [_within(row, drafts) for row in chunk]
        keep = max(map(len, guesses)) + 1
        with torch.inference_mode():
            ready = prefill(
                arm,
                model,
                [(*p, *g) for p, g in zip(prompts, guesses, strict=True)],
                room=0,
                keep=keep,
                shared=shared_length(prompts),
            )
            own = ready.tail.argmax(dim=-1).tolist()
        for row, guess, tokens in zip(chunk, guesses, own, strict=True):
            accepted = _accept(row, guess, tokens[-len(guess) - 1 :], arm)
            watch.count(row.request.suite, len(guess), accepted)


def _within(row: Row, drafts: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return a row's draft, cut where the row's token limit makes the rest useless."""
    return drafts[row.request.key][: row.request.generation.max_new_tokens - 1]


def _accept(row: Row, guess: Sequence[int], own: Sequence[int], arm: LocalArm) -> int:
    """Take the model's own tokens while they are the guessed ones, and the next; count the hits."""
    for i, token in enumerate(own):
        hit = i < len(guess) and token == guess[i]
        if advance(row, token, arm) or not hit:
            return i + hit
    return len(guess)


def _chunks(
    rows: Sequence[Row], drafts: Mapping[str, tuple[int, ...]], vocabulary: int
) -> Iterator[list[Row]]:
    """Split rows so that the logits of one verification stay within the memory bound."""
    chunk: list[Row] = []
    longest = 0
    for row in rows:
        longest = max(longest, len(_within(row, drafts)) + 1)
        if chunk and (len(chunk) + 1) * longest * vocabulary * 4 > _LOGIT_BYTES:
            yield chunk
            chunk, longest = [], len(_within(row, drafts)) + 1
        chunk.append(row)
    if chunk:
        yield chunk
