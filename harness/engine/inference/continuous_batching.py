"""Continuous batching: waiting sequences enter the batch as finished ones leave it.

A group of rows is prefilled, with its drafts where there are any; what is not finished by that goes
into the slots and is written one token a step, or more where a row follows its draft again. As soon
as enough slots are free the next group comes in, so that the batch stays wide: decoding is bound by
what a step costs besides its rows. Rows may also come while others are written: the next turns of
episodes, and requests to the endpoint.

Greedy decoding equals `model.generate(do_sample=False)` token for token in float32; sampling draws
from a generator of each row's own seed, so an answer does not depend on its neighbours.

The key-value cache of rows that are being written: rows enter, grow and leave in place.
Transformers' dynamic cache copies itself whole for every token, and again when a row leaves. Here
the cache is one buffer a layer, [rows, heads, columns, dimension], with room to the right: a token
is written behind the others, a row that leaves is overwritten by the last one, and a row that comes
in is laid so that it ends where the others end. What is left of a row, or was written for a guess
that failed, is masked.

Only layers that keep every token fit
(`tunegate.harness.engine.inference.prefix_cache.has_plain_cache`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tunegate.harness.engine.inference import prefix_cache
from tunegate.harness.engine.inference.fallbacks import (
    decode_alone,
    decode_in_lockstep,
    is_alone,
)
from tunegate.harness.engine.inference.sequence import (
    DecodingSequence,
    append_token,
    choose_tokens,
    longest_length,
    so_far,
)
from tunegate.harness.engine.inference.speculative import DraftAcceptance
from tunegate.harness.engine.scheduling import ALL, Optimizations
from tunegate.harness.environment import cache_name
from tunegate.harness.model import LocalArm

WIDTH = 96
"""Most rows that are written at a time."""
CACHE_BYTES = 1_500_000_000
"""Memory for their cache, which fewer rows share where they are long."""
PREFILL = 8192
"""Tokens of one prefill."""
LOGIT_BYTES = 256_000_000
"""Memory for the logits of one forward: rows × positions × vocabulary × 4 bytes."""
STEP = {"cpu": 60.0}
"""Fixed cost of a forward, counted in tokens. Linear layers of SmolLM2-135M in their usual order
have 53 rows' on two cores (35 ms for 8 rows, 178 ms for 256), packed ones, with the rest of a
forward, 20 to 35. From 25 to 60 the seconds of 48 answers are the same within 5 %."""
STEP_ELSEWHERE = 1000.0
"""The same on an accelerator, where a few hundred tokens are computed in the time of one."""
PROBE = 8
"""Rows whose drafts are tried before it is known whether drafts hold."""
AHEAD = (16, 8, 4)
"""How many tokens to guess at once when a row is back on its draft."""
HELD = 4
"""Steps for which rows that came later wait for others, to be prefilled in one forward."""

NewRows = Callable[[], Sequence[DecodingSequence]]
"""Returns the rows that came since it was last called."""


def decode_sequences(
    arm: LocalArm,
    model: Any,
    rows: Sequence[DecodingSequence],
    levers: Optimizations = ALL,
    more: NewRows = tuple,
) -> Iterator[DecodingSequence]:
    """Yield the rows as they finish; rows that have tokens already go on from there.

    Args:
        arm: Gives tokenizer and stop ids.
        model: The torch model, switched to the arm.
        rows: Unfinished rows, of the same generation settings or not, with drafts or without.
        levers: Which levers are on.
        more: Called between the steps: what it returns enters the running batch. It ends when
            every row is finished and there are no more.
    """
    import torch

    rows = rows or more()
    while rows:
        with torch.inference_mode():
            yield from decode_alone(arm, model, rows)
            batched = [row for row in rows if not is_alone(arm, row)]
            if batched and levers.slots and prefix_cache.has_plain_cache(model):
                yield from _DecodingLoop.of(arm, model, batched, levers).run(more)
            elif batched:
                width = _width(model, longest_length(batched))
                for at in range(0, len(batched), width):
                    yield from decode_in_lockstep(arm, model, batched[at : at + width])
        rows = more()


class DecodingSlots:
    """Rows in progress with their cache; the n-th row is in the n-th slot."""

    def __init__(self, width: int, columns: int) -> None:
        """Prepare room.

        Args:
            width: Most rows at a time.
            columns: Columns of the longest row that will enter, as far as that is known.
        """
        self.rows: list[DecodingSequence] = []
        self.width = width
        self.columns = columns
        self.span = ColumnRange()
        self._first: list[int] = []
        self._lengths: list[int] = []
        self._prefixes: list[prefix_cache.SharedPrefix] = []
        self._layers: list[Any] = []
        self._mask: Any = None

    @property
    def free(self) -> int:
        """How many rows can enter."""
        return max(0, self.width - len(self.rows))

    def resize(self, width: int, columns: int) -> None:
        """Allow so many rows of so many columns; rows that are in stay, though they be more."""
        self.width, self.columns = width, columns

    def enter(
        self,
        row: DecodingSequence,
        cache: Any,
        index: int,
        *,
        prefix: prefix_cache.SharedPrefix,
        own: slice,
    ) -> None:
        """Take a row in.

        Args:
            row: The row; its last token is not in the cache yet.
            cache: Transformers' cache after a forward.
            index: The row's place in it.
            prefix: What the row begins with; the first columns hold it where it is copied.
            own: Where the row's own tokens are, behind the padding.
        """
        copied = prefix.copied
        length = copied + own.stop - own.start
        full = self._layers and len(self.rows) == self._mask.shape[0]
        if not self._layers or full or length > self.span.end:
            self._lay_out(max(length, self.columns), like=cache)
        slot, before = len(self.rows), self.span.end - length
        for mine, theirs in zip(self._layers, cache.layers, strict=True):
            for to, given in ((mine.all_keys, theirs.keys), (mine.all_values, theirs.values)):
                to[slot, :, before : before + copied] = given[index, :, :copied]
                to[slot, :, before + copied : self.span.end] = given[index, :, own]
        self._mask[slot] = 0
        self._mask[slot, before : self.span.end] = 1
        self.rows.append(row)
        self._first.append(before)
        self._lengths.append(length + prefix.length - copied)
        self._prefixes.append(prefix)
        self.span.start = min(self._first)

    def leave(self, slot: int) -> DecodingSequence:
        """Let the row in a slot go and return it; the last row takes its slot."""
        row, last = self.rows[slot], len(self.rows) - 1
        if slot != last:
            taken = slice(self._first[last], self.span.end)
            for layer in self._layers:
                layer.all_keys[slot, :, taken] = layer.all_keys[last, :, taken]
                layer.all_values[slot, :, taken] = layer.all_values[last, :, taken]
            self._mask[slot] = self._mask[last]
        lists: tuple[list[Any], ...] = (self.rows, self._first, self._lengths, self._prefixes)
        for held in lists:
            held[slot] = held[last]
            del held[last]
        self.span.start = min(self._first, default=self.span.end)
        return row

    def forward(self, model: Any, tokens: Sequence[Sequence[int]]) -> Any:
        """Feed each row its next tokens, a row at least one; return logits [rows, tokens, words].

        The tokens are taken in by `keep`, as many of each row as turn out to be right.
        """
        import torch
        from transformers.cache_utils import Cache

        n, most = len(self.rows), max(map(len, tokens))
        if self.span.end + most > self._mask.shape[1]:
            self._lay_out(self.span.end - self.span.start)
        padded = [[*ids, *[0] * (most - len(ids))] for ids in tokens]
        inside = [[1] * len(ids) + [0] * (most - len(ids)) for ids in tokens]
        place = self._mask.device
        self._mask[:n, self.span.end : self.span.end + most] = torch.tensor(inside, device=place)
        # Padding repeats the last position: one beyond the model's context need not exist.
        at = [
            [length + min(i, len(ids) - 1) for i in range(most)]
            for length, ids in zip(self._lengths, tokens, strict=True)
        ]
        with prefix_cache.attend_behind(model, [prefix.read for prefix in self._prefixes]):
            out = model(
                input_ids=torch.tensor(padded, device=place),
                attention_mask=self._mask[:n, self.span.start : self.span.end + most],
                position_ids=torch.tensor(at, device=place),
                use_cache=True,
                logits_to_keep=most,
                **{cache_name(): Cache(layers=self._layers)},
            )
        return out.logits

    def keep(self, counts: Sequence[int], most: int) -> None:
        """Keep the first `counts` of the `most` columns that the last forward wrote, by row."""
        for slot, count in enumerate(counts):
            if count < most:
                self._mask[slot, self.span.end + count : self.span.end + most] = 0
            self._lengths[slot] += count
        self.span.end += most

    def _lay_out(self, before: int, like: Any = None) -> None:
        """Move the rows into a new buffer with `before` columns up to the end and room behind."""
        import torch

        used = self.span.end - self.span.start
        before = max(before, used)
        columns, n = before + ROOM + before // 4, len(self.rows)
        if not self._layers:
            self._layers = [_layer()(self.span) for _ in like.layers]
        for mine, theirs in zip(self._layers, (like.layers if like else self._layers), strict=True):
            size = max(self.width, n), columns
            mine.widen(theirs, size, rows=n, used=used, before=before)
        device = self._layers[0].all_keys.device
        mask = torch.zeros(size, dtype=torch.long, device=device)
        if n:
            mask[:n, before - used : before] = self._mask[:n, self.span.start : self.span.end]
        self._mask = mask
        shift = before - self.span.end
        self._first = [first + shift for first in self._first]
        self.span.start, self.span.end = before - used, before


@dataclass
class _DecodingLoop:
    """Rows on their way from waiting through the slots to finished."""

    arm: LocalArm
    model: Any
    levers: Optimizations
    step: float
    """Cost of a forward besides its tokens."""
    window: float
    """Tokens over which every layer can look back."""
    waiting: deque[DecodingSequence] = field(default_factory=deque)
    longest: int = 0
    """Tokens of the longest row that came so far."""
    columns: int = 0
    """Columns of the cache that the longest row takes."""
    slots: DecodingSlots = field(default_factory=lambda: DecodingSlots(0, 0))
    shared: prefix_cache.SharedPrefix = prefix_cache.NOTHING
    held: int = 0
    """Steps for which rows that came later may wait for others."""
    back: DraftAcceptance = field(default_factory=DraftAcceptance)
    """How well guesses are accepted where rows came back to their drafts."""

    @classmethod
    def of(
        cls, arm: LocalArm, model: Any, rows: Sequence[DecodingSequence], levers: Optimizations
    ) -> _DecodingLoop:
        step = STEP.get(model.device.type, STEP_ELSEWHERE)
        loop = cls(arm, model, levers, step, prefix_cache.attention_window(model))
        loop._take_in(rows)
        return loop

    @property
    def strict(self) -> bool:
        """Whether no column may be between a row's tokens: a sliding window counts them."""
        return self.window < self.longest

    def run(self, more: NewRows) -> Iterator[DecodingSequence]:
        """Yield every row as it finishes."""
        while True:
            if later := more():
                yield from decode_alone(self.arm, self.model, later)
                self.held = self.held if self.waiting else HELD
                self._take_in([row for row in later if not is_alone(self.arm, row)])
            if not self.waiting and not self.slots.rows:
                return
            if self._enough_room():
                yield from self._open()
            else:
                yield from self._write()

    def _take_in(self, rows: Sequence[DecodingSequence]) -> None:
        """Let rows wait, and fit the room and the shared prefix to them."""
        if not rows:
            return
        self.waiting += rows
        self.longest = max(self.longest, longest_length(rows))
        if self.levers.prefixes and not any(map(self._shares, self.waiting)):
            self.shared = prefix_cache.compute_shared_prefix(
                self.model,
                [so_far(row) for row in self.waiting],
                room=max(row.request.generation.most_tokens for row in self.waiting),
            )
        self.columns = max(self.columns, *map(self._own_columns, rows))
        width = min(_width(self.model, self.columns), len(self.waiting) + len(self.slots.rows))
        self.slots.resize(width, self.columns)

    def _own_columns(self, row: DecodingSequence) -> int:
        """Return how many columns a row may come to, without a prefix that is not copied."""
        hidden = self.shared.length - self.shared.copied if self._shares(row) else 0
        return longest_length([row]) - hidden

    def _shares(self, row: DecodingSequence) -> bool:
        """Return whether a row begins with the shared prefix."""
        ids, length = so_far(row), self.shared.length
        fits = 0 < length < len(ids) and self.window >= len(ids) + row.left
        return fits and tuple(ids[:length]) == self.shared.token_ids

    def _enough_room(self) -> bool:
        least = max(1, self.slots.width // 8)
        if not self.slots.rows or not self.waiting:
            return bool(self.waiting)
        if self.held and len(self.waiting) < least:
            return False
        return self.slots.free >= min(len(self.waiting), least)

    def _open(self) -> Iterator[DecodingSequence]:
        """Prefill the next rows, each with its guess; yield those that are finished by that."""
        prefix = self.shared if self._shares(self.waiting[0]) else prefix_cache.NOTHING
        group = self._group(prefix.length)
        ids = [[*so_far(row), *guess] for row, guess in group]
        keep = max(len(guess) for _, guess in group) + 1
        ready = prefix_cache.prefill_prompts(self.arm, self.model, ids, prefix=prefix, keep=keep)
        chosen = choose_tokens([row for row, _ in group], ready.tail)
        end = ready.mask.shape[1]
        for i, (row, guess) in enumerate(group):
            taken = self._take(row, guess, chosen[i][-len(guess) - 1 :])
            if row.draft is not None and guess:
                row.draft.watch.count(row.request.suite, len(guess), taken)
            if row.finish_reason is not None:
                yield row
            else:
                hidden = prefix.length - prefix.copied
                first, last = end - len(ids[i]) + prefix.length, end - len(guess) + taken
                own = slice(first - hidden, last - hidden)
                self.slots.enter(row, ready.cache, i, prefix=prefix, own=own)

    def _group(self, prefix: int) -> list[tuple[DecodingSequence, tuple[int, ...]]]:
        """Take the rows that are prefilled next with their guesses, as many as memory holds.

        Args:
            prefix: Tokens of the prefix that the first of them shares; 0 if it shares none.
        """
        group: list[tuple[DecodingSequence, tuple[int, ...]]] = []
        tokens = keep = 0
        words = int(self.model.get_input_embeddings().weight.shape[0])
        while self.waiting and len(group) < self.slots.free:
            row, more = self.waiting[0], len(group) + 1
            guess = self._guess(row)
            tokens = max(tokens, len(so_far(row)) - prefix + len(guess))
            keep = max(keep, len(guess) + 1)
            full = more * tokens > PREFILL or more * keep * words * 4 > LOGIT_BYTES
            other = self._shares(row) != bool(prefix)
            if group and (full or other or (more > PROBE and guess and self._untried(row))):
                break
            group.append((self.waiting.popleft(), guess))
        return group

    def _untried(self, row: DecodingSequence) -> bool:
        return row.draft is not None and row.draft.watch.share(row.request.suite) is None

    def _guess(self, row: DecodingSequence) -> tuple[int, ...]:
        """Return how a row that is not begun should go on, if guessing pays."""
        if row.draft is None:
            return ()
        rows = min(self.slots.width, len(self.slots.rows) + len(self.waiting))
        if not row.draft.watch.pays(row.request.suite, rows=rows, step=self.step):
            return ()
        return row.draft.ahead(row.left - 1)

    def _write(self) -> Iterator[DecodingSequence]:
        """Write the next token of every row, or several; yield the finished rows."""
        self.held = max(0, self.held - 1)
        rows = self.slots.rows
        most = self._most_ahead()
        guesses = [self._ahead(row, most) for row in rows]
        fed = [[row.token_ids[-1], *guess] for row, guess in zip(rows, guesses, strict=True)]
        chosen = choose_tokens(rows, self.slots.forward(self.model, fed), drawn_at=0)
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

    def _ahead(self, row: DecodingSequence, most: int) -> tuple[int, ...]:
        return row.draft.ahead(min(most, row.left - 1)) if row.draft is not None and most else ()

    def _take(self, row: DecodingSequence, guess: Sequence[int], own: Sequence[int]) -> int:
        """Take the model's own tokens while they are the guessed ones, and the next.

        Returns:
            How many of the guessed tokens were right.
        """
        for i, token in enumerate(own):
            hit = i < len(guess) and token == guess[i]
            if append_token(row, token, self.arm) or not hit:
                return i + hit
        return len(guess)


def _width(model: Any, columns: int) -> int:
    """Return how many rows of that many columns are written at a time; depends on nothing else."""
    return max(1, min(WIDTH, CACHE_BYTES // (prefix_cache.column_bytes(model) * columns)))


ROOM = 64
"""Columns that are free to the right when the buffer is laid out again."""


@dataclass(slots=True)
class ColumnRange:
    """Columns in use, from the first token of any row to the last."""

    start: int = 0
    end: int = 0


@cache
def _layer() -> Any:
    """Return the class of our layers, which Transformers must be there for."""
    from transformers.cache_utils import DynamicLayer

    class SlotLayer(DynamicLayer):  # type: ignore[no-untyped-call]  # Transformers' own hook
        """One layer's buffer; it shows the model the columns in use."""

        def __init__(self, span: ColumnRange) -> None:
            super().__init__()  # type: ignore[no-untyped-call]  # Transformers is untyped there
            self.span = span  # not the slots: a cycle would keep their memory for a while
            self.all_keys: Any = None
            self.all_values: Any = None
            self.is_initialized = True

        def widen(
            self, like: Any, size: tuple[int, int], *, rows: int, used: int, before: int
        ) -> None:
            """Move into a buffer of [slots, columns], the columns in use up to `before`."""
            for name in ("keys", "values"):
                mine = getattr(self, f"all_{name}")
                given = getattr(like, name) if mine is None else mine
                # Zeros, not leftovers: what is masked must still be a number.
                larger = given.new_zeros((size[0], given.shape[1], size[1], given.shape[3]))
                if rows:
                    kept = slice(self.span.start, self.span.end)
                    larger[:rows, :, before - used : before] = mine[:rows, :, kept]
                setattr(self, f"all_{name}", larger)

        def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> Any:
            rows, _heads, tokens, _dimension = key_states.shape
            start, end = self.span.start, self.span.end
            self.all_keys[:rows, :, end : end + tokens] = key_states
            self.all_values[:rows, :, end : end + tokens] = value_states
            shown = slice(start, end + tokens)
            return self.all_keys[:rows, :, shown], self.all_values[:rows, :, shown]

        def get_seq_length(self) -> int:
            return self.span.end - self.span.start

    return SlotLayer
