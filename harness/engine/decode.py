"""Decoding many rows at once: waiting rows enter as finished ones leave.

A group of rows is prefilled, with its drafts where there are any; what is not finished by that goes
into the slots and is written one token a step, or more where a row follows its draft again. As soon
as enough slots are free the next group comes in, so that the batch stays wide: decoding is bound by
what a step costs beside its rows.

Greedy decoding equals `model.generate(do_sample=False)` token for token in float32; sampling draws
from a generator of each row's own seed, so an answer does not depend on its neighbours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.engine import prefix
from harness.engine.alone import one_by_one, written
from harness.engine.drafts import Watch
from harness.engine.levers import ALL, Levers
from harness.engine.lockstep import in_lockstep
from harness.engine.row import Row, advance, choose, so_far
from harness.engine.slots import Slots
from harness.model import LocalArm

WIDTH = 96
"""Most rows that are written at a time."""
CACHE_BYTES = 1_500_000_000
"""Memory for their cache, which fewer rows share where they are long."""
PREFILL = 8192
"""Tokens of one prefill."""
LOGIT_BYTES = 256_000_000
"""Memory for the logits of one forward: rows × positions × vocabulary × 4 bytes."""
STEP = {"cpu": 60.0}
"""What a forward costs beside its tokens, counted in tokens. The linear layers of SmolLM2-135M take
35 ms for 8 rows and 178 ms for 256 on two cores: 0.58 ms a row and 30 ms beside them, 53 rows'."""
STEP_ELSEWHERE = 1000.0
"""The same on an accelerator, where a few hundred tokens are computed in the time of one."""
PROBE = 8
"""Rows whose drafts are tried before it is known whether drafts hold."""
AHEAD = (16, 8, 4)
"""How many tokens to guess at once when a row is back on its draft."""


def decode(arm: LocalArm, model: Any, rows: Sequence[Row], levers: Levers = ALL) -> Iterator[Row]:
    """Yield the rows as they finish; rows that have tokens already go on from there.

    Args:
        arm: Gives tokenizer and stop ids.
        model: The torch model, switched to the arm.
        rows: Unfinished rows, of the same generation settings or not, with drafts or without.
        levers: Which levers are on.
    """
    import torch

    if not rows:
        return
    if one_by_one(arm):
        yield from written(arm, model, rows)
        return
    with torch.inference_mode():
        if levers.slots and prefix.plain(model):
            yield from _Decoding.of(arm, model, rows, levers).run()
            return
        width = _width(model, _longest(rows))
        for at in range(0, len(rows), width):
            yield from in_lockstep(arm, model, rows[at : at + width])


@dataclass
class _Decoding:
    """Rows on their way from waiting through the slots to finished."""

    arm: LocalArm
    model: Any
    waiting: deque[Row]
    slots: Slots
    shared: prefix.Prefix
    step: float
    """What a forward costs beside its tokens."""
    strict: bool
    """Whether no column may lie between a row's tokens: a sliding window counts them."""
    back: Watch = field(default_factory=Watch)
    """How well guesses are accepted where rows came back to their drafts."""

    @classmethod
    def of(cls, arm: LocalArm, model: Any, rows: Sequence[Row], levers: Levers) -> _Decoding:
        longest = _longest(rows)
        room = max(row.request.generation.max_new_tokens for row in rows)
        ids = [so_far(row) for row in rows]
        return cls(
            arm,
            model,
            deque(rows),
            Slots(min(_width(model, longest), len(rows)), longest),
            prefix.shared(model, ids, room=room) if levers.prefixes else prefix.NOTHING,
            STEP.get(model.device.type, STEP_ELSEWHERE),
            prefix.window(model) < longest,
        )

    def run(self) -> Iterator[Row]:
        """Yield every row as it finishes."""
        while self.waiting or self.slots.rows:
            if self._enough_room():
                yield from self._open()
            else:
                yield from self._write()

    def _enough_room(self) -> bool:
        wanted = min(len(self.waiting), max(1, self.slots.width // 8))
        return bool(self.waiting) and (not self.slots.rows or self.slots.free >= wanted)

    def _open(self) -> Iterator[Row]:
        """Prefill the next rows, each with its guess; yield those that are finished by that."""
        group = self._group()
        ids = [[*so_far(row), *guess] for row, guess in group]
        keep = max(len(guess) for _, guess in group) + 1
        ready = prefix.prefill(self.arm, self.model, ids, prefix=self.shared, keep=keep)
        chosen = choose([row for row, _ in group], ready.tail)
        end = ready.mask.shape[1]
        for i, (row, guess) in enumerate(group):
            taken = self._take(row, guess, chosen[i][-len(guess) - 1 :])
            if row.draft is not None and guess:
                row.draft.watch.count(row.request.suite, len(guess), taken)
            if row.finish_reason is not None:
                yield row
            else:
                head = self.shared.length
                own = slice(end - len(ids[i]) + head, end - len(guess) + taken)
                self.slots.enter(row, ready.cache, i, prefix=head, own=own)

    def _group(self) -> list[tuple[Row, tuple[int, ...]]]:
        """Take the rows that are prefilled next with their guesses, as many as memory holds."""
        group: list[tuple[Row, tuple[int, ...]]] = []
        tokens = keep = 0
        words = int(self.model.get_input_embeddings().weight.shape[0])
        while self.waiting and len(group) < self.slots.free:
            row, more = self.waiting[0], len(group) + 1
            guess = self._guess(row)
            tokens = max(tokens, len(so_far(row)) - self.shared.length + len(guess))
            keep = max(keep, len(guess) + 1)
            full = more * tokens > PREFILL or more * keep * words * 4 > LOGIT_BYTES
            if group and (full or (more > PROBE and guess and self._untried(row))):
                break
            group.append((self.waiting.popleft(), guess))
        return group

    def _untried(self, row: Row) -> bool:
        return row.draft is not None and row.draft.watch.share(row.request.suite) is None

    def _guess(self, row: Row) -> tuple[int, ...]:
        """Return how a row that is not begun should go on, if guessing pays."""
        if row.draft is None:
            return ()
        rows = min(self.slots.width, len(self.slots.rows) + len(self.waiting))
        if not row.draft.watch.pays(row.request.suite, rows=rows, step=self.step):
            return ()
        return row.draft.ahead(row.request.generation.max_new_tokens - len(row.token_ids) - 1)

    def _write(self) -> Iterator[Row]:
        """Write the next token of every row, or several; yield the finished rows."""
        rows = self.slots.rows
        most = self._most_ahead()
        guesses = [self._ahead(row, most) for row in rows]
        fed = [[row.token_ids[-1], *guess] for row, guess in zip(rows, guesses, strict=True)]
        chosen = choose(rows, self.slots.forward(self.model, fed), drawn_at=0)
        taken = [
            self._take(row, guess, own[: len(guess) + 1])
            for row, guess, own in zip(rows, guesses, chosen, strict=True)
        ]
        for guess, count in zip(guesses, taken, strict=True):
            if guess:
                self.back.count("", len(guess), count)
        self.slots.keep([1 + count for count in taken], max(map(len, fed)))
        for slot in reversed(range(len(rows))):
            if rows[slot].finish_reason is not None:
                yield self.slots.leave(slot)

    def _most_ahead(self) -> int:
        """Return how many tokens to guess for the rows that are back on their drafts."""
        rows = self.slots.rows
        if self.strict or all(row.draft is None or row.draft.place is None for row in rows):
            return 0
        words = int(self.model.get_input_embeddings().weight.shape[0])
        share = self.back.share("")
        share = 0.75 if share is None else share
        for most in AHEAD:
            guessed = sum(len(self._ahead(row, most)) for row in rows)
            saved = guessed * share * (1 + self.step / len(rows))
            fits = len(rows) * (most + 1) * words * 4 <= LOGIT_BYTES
            if fits and saved > len(rows) * most:
                return most
        return 0

    def _ahead(self, row: Row, most: int) -> tuple[int, ...]:
        left = row.request.generation.max_new_tokens - len(row.token_ids) - 1
        return row.draft.ahead(min(most, left)) if row.draft is not None and most else ()

    def _take(self, row: Row, guess: Sequence[int], own: Sequence[int]) -> int:
        """Take the model's own tokens while they are the guessed ones, and the next.

        Returns:
            How many of the guessed tokens were right.
        """
        for i, token in enumerate(own):
            hit = i < len(guess) and token == guess[i]
            if advance(row, token, self.arm) or not hit:
                return i + hit
        return len(guess)


def _longest(rows: Sequence[Row]) -> int:
    """Return how many tokens the longest row may come to."""
    return max(len(so_far(row)) + row.request.generation.max_new_tokens for row in rows)


def _width(model: Any, longest: int) -> int:
    """Return how many rows of that many tokens are written at a time; depends on nothing else."""
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    token = int(2 * config.num_hidden_layers * heads * size * model.dtype.itemsize)
    return max(1, min(WIDTH, CACHE_BYTES // (token * longest)))
