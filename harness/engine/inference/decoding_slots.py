"""Decoding slots: the key-value cache of rows that are being written.

Rows enter, grow and leave in place. Transformers' dynamic cache copies itself whole for every
token, and again when a row leaves. Here the cache is one buffer a layer, [rows, heads, columns,
dimension], with room to the right: a token is written behind the others, a row that leaves is
overwritten by the last one, and a row that comes in is laid so that it ends where the others end.
Leftovers of rows and rejected guesses are masked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tunegate.harness.contracts.environment import cache_name
from tunegate.harness.engine.inference.prefix_cache import PrefillResult
from tunegate.harness.engine.inference.sequence import DecodingSequence

ROOM = 64
"""Columns that are free to the right when the buffer is laid out again."""


@dataclass(slots=True)
class ColumnRange:
    """Columns in use, from the first token of any row to the last."""

    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class EnteringRow:
    """A row after its prefill."""

    row: DecodingSequence
    """Its last token is not in the cache yet."""
    index: int
    """Its row in the prefill."""
    columns: slice
    """Its columns there, from its first token to its last; padding may be in between."""
    tokens: int
    """How many tokens of it are in the cache."""


def _blocks(entering: Sequence[EnteringRow]) -> Iterator[list[EnteringRow]]:
    """Yield the rows that can be copied at once: neighbours that end in one column."""
    block: list[EnteringRow] = []
    for entry in entering:
        follows = block and entry.index == block[-1].index + 1
        if block and (not follows or entry.columns.stop != block[-1].columns.stop):
            yield block
            block = []
        block.append(entry)
    if block:
        yield block


class DecodingSlots:
    """Rows in progress with their cache; the n-th row is in the n-th slot."""

    def __init__(self, width: int, columns: int) -> None:
        """Prepare room."""
        self.rows: list[DecodingSequence] = []
        self.width = width
        self.columns = columns
        self.span = ColumnRange()
        self._first: list[int] = []
        self._lengths: list[int] = []
        self._layers: list[Any] = []
        self._mask: Any = None

    @property
    def free(self) -> int:
        """How many rows can enter."""
        return max(0, self.width - len(self.rows))

    def resize(self, width: int, columns: int) -> None:
        """Allow this many rows and columns; rows that are in stay, even if there are more."""
        self.width, self.columns = width, columns

    def enter(self, entering: Sequence[EnteringRow], ready: PrefillResult) -> None:
        """Take in rows of one prefill, given in the order of their rows there."""
        if not entering:
            return
        longest = max(entry.columns.stop - entry.columns.start for entry in entering)
        full = self._layers and len(self.rows) + len(entering) > self._mask.shape[0]
        if not self._layers or full or longest > self.span.end:
            self._lay_out(max(longest, self.columns), like=ready.cache)
        for block in _blocks(entering):
            self._copy(block, ready)
            for entry in block:
                self.rows.append(entry.row)
                self._first.append(self.span.end - (entry.columns.stop - entry.columns.start))
                self._lengths.append(entry.tokens)
        self.span.start = min(self._first)

    def _copy(self, block: Sequence[EnteringRow], ready: PrefillResult) -> None:
        """Copy rows that are neighbours and end in one column, with the padding before them."""
        slots = slice(len(self.rows), len(self.rows) + len(block))
        rows = slice(block[0].index, block[-1].index + 1)
        columns = slice(min(entry.columns.start for entry in block), block[0].columns.stop)
        start = self.span.end - (columns.stop - columns.start)
        self._mask[slots] = 0
        self._mask[slots, start : self.span.end] = ready.mask[rows, columns]
        for mine, theirs in zip(self._layers, ready.cache.layers, strict=True):
            for to, source in ((mine.all_keys, theirs.keys), (mine.all_values, theirs.values)):
                to[slots, :, :start] = 0  # what is masked must still be a number
                to[slots, :, start : self.span.end] = source[rows, :, columns]

    def leave(self, slot: int) -> DecodingSequence:
        """Let the row in a slot go and return it; the last row takes its slot."""
        row, last = self.rows[slot], len(self.rows) - 1
        if slot != last:
            taken = slice(self._first[last], self.span.end)
            for layer in self._layers:
                layer.all_keys[slot, :, taken] = layer.all_keys[last, :, taken]
                layer.all_values[slot, :, taken] = layer.all_values[last, :, taken]
            self._mask[slot] = self._mask[last]
        lists: tuple[list[Any], ...] = (self.rows, self._first, self._lengths)
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
        device = self._mask.device
        self._mask[:n, self.span.end : self.span.end + most] = torch.tensor(inside, device=device)
        # Padding repeats the last position: one beyond the model's context need not exist.
        at = [
            [length + min(i, len(ids) - 1) for i in range(most)]
            for length, ids in zip(self._lengths, tokens, strict=True)
        ]
        return model(
            input_ids=torch.tensor(padded, device=device),
            attention_mask=self._mask[:n, self.span.start : self.span.end + most],
            position_ids=torch.tensor(at, device=device),
            use_cache=True,
            logits_to_keep=most,
            **{cache_name(): Cache(layers=self._layers)},
        ).logits

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
                source = getattr(like, name) if mine is None else mine
                larger = source.new_empty((size[0], source.shape[1], size[1], source.shape[3]))
                if rows:
                    kept = slice(self.span.start, self.span.end)
                    larger[:rows, :, : before - used] = 0  # a number, though it is masked
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
