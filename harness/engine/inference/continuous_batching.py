"""Continuous batching: waiting sequences enter the batch as finished ones leave it.

A group of rows is prefilled, with its drafts where there are any; what is not finished by that goes
into the slots and is written one token a step, or more where a row follows its draft again. As soon
as enough slots are free the next group comes in, so that the batch stays wide: decoding is bound by
what a step costs besides its rows. Rows may also come while others are written: the next turns of
episodes, and requests to the endpoint.

Greedy decoding equals `model.generate(do_sample=False)` token for token in float32; sampling draws
from a generator of each row's own seed, so an answer does not depend on its neighbours.

A batch has rows of several suites, each with its own instructions: rows that begin alike are
prefilled together, and their shared prefix is computed once.

Only layers that keep every token fit
(`tunegate.harness.engine.inference.prefix_cache.has_plain_cache`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from tunegate.harness.contracts.model import LocalArm
from tunegate.harness.engine.inference import prefix_cache
from tunegate.harness.engine.inference.decoding_slots import DecodingSlots, EnteringRow
from tunegate.harness.engine.inference.fallbacks import decode_alone, decode_in_lockstep, is_alone
from tunegate.harness.engine.inference.forward_cost import forward_cost
from tunegate.harness.engine.inference.sequence import (
    DecodingSequence,
    all_token_ids,
    append_token,
    choose_tokens,
    longest_length,
)
from tunegate.harness.engine.inference.speculative import DraftAcceptance
from tunegate.harness.engine.optimizations import ALL, Optimizations
from tunegate.harness.engine.scheduling import prefix_families

MAX_ROWS = 96
"""Most rows that are written at a time."""
CACHE_BYTES = 1_500_000_000
"""Bytes for their cache: longer rows are fewer."""
PREFIX_BYTES = 500_000_000
"""Bytes for shared prefixes."""
PREFILL_TOKENS = 8192
"""Tokens of one prefill, a shared prefix counted for each row."""
LOGIT_BYTES = 256_000_000
"""Memory for the logits of one forward: rows × positions × vocabulary × 4 bytes."""
UNTRIED_ROWS = 8
"""Rows whose drafts are tried before it is known whether drafts are accepted."""
GUESS_LENGTHS = (16, 8, 4)
"""How many tokens to guess at once when a row has rejoined its draft."""
HOLD_STEPS = 4
"""Steps for which new rows wait for others, to be prefilled in one forward."""

NewRows = Callable[[], Sequence[DecodingSequence]]
"""Returns the rows that came since it was last called."""


def decode_sequences(
    arm: LocalArm,
    model: Any,
    rows: Sequence[DecodingSequence],
    optimizations: Optimizations = ALL,
    more: NewRows = tuple,
) -> Iterator[DecodingSequence]:
    """Yield the rows as they finish; rows that have tokens already go on from there."""
    import torch

    rows = rows or more()
    while rows:
        with torch.inference_mode():
            yield from decode_alone(arm, model, rows)
            batched = [row for row in rows if not is_alone(arm, row)]
            if batched and optimizations.slots and prefix_cache.has_plain_cache(model):
                yield from _DecodingLoop.of(arm, model, batched, optimizations).run(more)
            elif batched:
                width = _width(model, longest_length(batched))
                for at in range(0, len(batched), width):
                    yield from decode_in_lockstep(arm, model, batched[at : at + width])
        rows = more()


@dataclass
class _DecodingLoop:
    """Rows on their way from waiting through the slots to finished."""

    arm: LocalArm
    model: Any
    optimizations: Optimizations
    step: float
    """Cost of a forward besides its tokens."""
    window: float
    """Tokens over which every layer can look back."""
    waiting: deque[DecodingSequence] = field(default_factory=deque)
    longest: int = 0
    """Tokens of the longest row that came so far."""
    slots: DecodingSlots = field(default_factory=lambda: DecodingSlots(0, 0))
    prefixes: list[prefix_cache.SharedPrefix] = field(default_factory=list)
    """Shared prefixes of waiting rows, the longest first."""
    crowded: bool = False
    """Whether waiting rows share a prefix that memory does not hold yet."""
    hold: int = 0
    """Steps for which new rows may still wait for others."""
    rejoined: DraftAcceptance = field(default_factory=DraftAcceptance)
    """How well guesses are accepted where rows have rejoined their drafts."""

    @classmethod
    def of(
        cls,
        arm: LocalArm,
        model: Any,
        rows: Sequence[DecodingSequence],
        optimizations: Optimizations,
    ) -> _DecodingLoop:
        loop = cls(
            arm, model, optimizations, forward_cost(model), prefix_cache.attention_window(model)
        )
        loop._enqueue(rows)
        return loop

    @property
    def strict(self) -> bool:
        """Whether a row's tokens must be adjacent: a sliding window counts columns between them."""
        return self.window < self.longest

    def run(self, more: NewRows) -> Iterator[DecodingSequence]:
        """Yield every row as it finishes."""
        while True:
            if later := more():
                yield from decode_alone(self.arm, self.model, later)
                self.hold = self.hold if self.waiting else HOLD_STEPS
                self._enqueue([row for row in later if not is_alone(self.arm, row)])
            if not self.waiting and not self.slots.rows:
                return
            if self._can_prefill():
                yield from self._prefill()
            else:
                yield from self._decode_step()

    def _enqueue(self, rows: Sequence[DecodingSequence]) -> None:
        """Let rows wait; fit the slots and the shared prefixes to them."""
        if not rows:
            return
        self.waiting += rows
        self.longest = max(self.longest, longest_length(rows))
        if self.optimizations.prefixes:
            self._share_prefixes()
        width = min(_width(self.model, self.longest), len(self.waiting) + len(self.slots.rows))
        self.slots.resize(width, self.longest)

    def _share_prefixes(self) -> None:
        """Compute the shared prefixes of the waiting rows, and sort them by prefix."""
        kept = {id(prefix): prefix for prefix in map(self._prefix, self.waiting) if prefix.length}
        self.prefixes = list(kept.values())
        self.crowded = False
        alone = [row for row in self.waiting if not self._prefix(row).length]
        token_ids = [all_token_ids(row) for row in alone]
        families = prefix_families(token_ids)
        shared = [prefix_cache.shared_length([token_ids[i] for i in family]) for family in families]
        saved = [(len(f) - 1) * length for f, length in zip(families, shared, strict=True)]
        for at in sorted(range(len(families)), key=lambda at: -saved[at]):
            family = families[at]
            if saved[at] < self.step:
                continue
            if not self._holds(shared[at]):
                self.crowded = True
                continue
            ids = [token_ids[i] for i in family]
            room = max(alone[i].request.generation.most_tokens for i in family)
            computed = prefix_cache.compute_shared_prefix(self.model, ids, room=room)
            self.prefixes += [computed] if computed.length else []
        self.prefixes.sort(key=lambda prefix: -prefix.length)
        beside: dict[int, list[DecodingSequence]] = {}
        for row in self.waiting:
            beside.setdefault(id(self._prefix(row)), []).append(row)
        if self.crowded:  # rows whose prefix has no room yet wait until those with one are done
            beside[id(prefix_cache.NO_PREFIX)] = beside.pop(id(prefix_cache.NO_PREFIX), [])
        self.waiting = deque(row for rows in beside.values() for row in rows)

    def _holds(self, tokens: int) -> bool:
        """Return whether the memory for prefixes holds another one of this length."""
        held = sum(prefix.length for prefix in self.prefixes) + tokens
        return held * prefix_cache.column_bytes(self.model) <= PREFIX_BYTES

    def _prefix(self, row: DecodingSequence) -> prefix_cache.SharedPrefix:
        """Return the longest shared prefix that a row begins with."""
        ids = all_token_ids(row)
        for prefix in self.prefixes if self.window >= len(ids) + row.left else ():
            if prefix.length < len(ids) and tuple(ids[: prefix.length]) == prefix.token_ids:
                return prefix
        return prefix_cache.NO_PREFIX

    def _can_prefill(self) -> bool:
        least = max(1, self.slots.width // 8)
        if not self.slots.rows or not self.waiting:
            return bool(self.waiting)
        if self.hold and len(self.waiting) < least:
            return False
        return self.slots.free >= min(len(self.waiting), least)

    def _prefill(self) -> Iterator[DecodingSequence]:
        """Prefill the next rows, each with its guess; yield those that are finished."""
        prefix = self._prefix(self.waiting[0])
        if self.crowded and not prefix.length:
            self._share_prefixes()
            prefix = self._prefix(self.waiting[0])
        group = self._group(prefix)
        ids = [[*all_token_ids(row), *guess] for row, guess in group]
        keep = max(len(guess) for _, guess in group) + 1
        ready = prefix_cache.prefill_prompts(self.arm, self.model, ids, prefix=prefix, keep=keep)
        chosen = choose_tokens([row for row, _ in group], ready.tail)
        end = ready.mask.shape[1]
        entering = []
        for i, (row, guess) in enumerate(group):
            taken = self._accept(row, guess, chosen[i][-len(guess) - 1 :])
            if row.draft is not None and guess:
                row.draft.acceptance.count(row.request.suite, len(guess), taken)
            if row.finish_reason is not None:
                yield row
            else:
                stop, tokens = end - len(guess) + taken, len(ids[i]) - len(guess) + taken
                start = 0 if prefix.length else stop - tokens
                entering.append(EnteringRow(row, i, slice(start, stop), tokens))
        self.slots.enter(entering, ready)

    def _group(
        self, prefix: prefix_cache.SharedPrefix
    ) -> list[tuple[DecodingSequence, tuple[int, ...]]]:
        """Take the rows that are prefilled next with their guesses, as many as memory holds.

        These are the first row that waits and others that are hardly shorter: their padding costs
        no more than another forward.
        """
        family = takewhile(lambda row: self._prefix(row) is prefix, self.waiting)
        sized = [
            (len(all_token_ids(row)) + len(guess := self._guess(row)), row, guess) for row in family
        ]
        longest = sized[0][0]
        # Behind a prefix a row has padding between its tokens, which a sliding window counts.
        window = self.window if prefix.length else math.inf
        fitting = sorted(
            (
                (tokens, row, guess)
                for tokens, row, guess in sized
                if tokens <= longest and longest - len(guess) + row.left <= window
            ),
            key=lambda place: -place[0],
        )
        words = int(self.model.get_input_embeddings().weight.shape[0])
        group: list[tuple[DecodingSequence, tuple[int, ...]]] = []
        keep = padding = 0
        for tokens, row, guess in fitting[: self.slots.free]:
            more = len(group) + 1
            padding += longest - tokens
            keep = max(keep, len(guess) + 1)
            full = more * longest > PREFILL_TOKENS or more * keep * words * 4 > LOGIT_BYTES
            tried = more > UNTRIED_ROWS and guess and self._untried(row)
            if group and (full or tried or padding > self.step):
                break
            group.append((row, guess))
        taken = {id(row) for row, _ in group}
        self.waiting = deque(row for row in self.waiting if id(row) not in taken)
        return group

    def _untried(self, row: DecodingSequence) -> bool:
        return row.draft is not None and row.draft.acceptance.share(row.request.suite) is None

    def _guess(self, row: DecodingSequence) -> tuple[int, ...]:
        """Return the guessed beginning of a new row, if guessing pays."""
        if row.draft is None:
            return ()
        rows = min(self.slots.width, len(self.slots.rows) + len(self.waiting))
        if not row.draft.acceptance.pays(row.request.suite, rows=rows, step=self.step):
            return ()
        return row.draft.ahead(row.left - 1)

    def _decode_step(self) -> Iterator[DecodingSequence]:
        """Write one or more tokens of every row; yield the finished rows."""
        self.hold = max(0, self.hold - 1)
        rows = self.slots.rows
        most = self._most_ahead()
        guesses = [self._guess_again(row, most) for row in rows]
        fed = [[row.token_ids[-1], *guess] for row, guess in zip(rows, guesses, strict=True)]
        chosen = choose_tokens(rows, self.slots.forward(self.model, fed), drawn_at=0)
        taken = [
            self._accept(row, guess, tokens[: len(guess) + 1])
            for row, guess, tokens in zip(rows, guesses, chosen, strict=True)
        ]
        for guess, count in zip(guesses, taken, strict=True):
            if guess:
                self.rejoined.count("", len(guess), count)
        self.slots.keep([1 + count for count in taken], max(map(len, fed)))
        for slot in reversed(range(len(rows))):
            if rows[slot].finish_reason is not None:
                yield self.slots.leave(slot)

    def _most_ahead(self) -> int:
        """Return how many tokens to guess for rows that have rejoined their drafts."""
        rows = self.slots.rows
        if self.strict or all(row.draft is None or row.draft.position is None for row in rows):
            return 0
        words = int(self.model.get_input_embeddings().weight.shape[0])
        share = self.rejoined.share("")
        share = 0.75 if share is None else share
        for most in GUESS_LENGTHS:
            guessed = sum(len(self._guess_again(row, most)) for row in rows)
            saved = guessed * share * (1 + self.step / len(rows))
            fits = len(rows) * (most + 1) * words * 4 <= LOGIT_BYTES
            if fits and saved > len(rows) * most:
                return most
        return 0

    def _guess_again(self, row: DecodingSequence, most: int) -> tuple[int, ...]:
        return row.draft.ahead(min(most, row.left - 1)) if row.draft is not None and most else ()

    def _accept(self, row: DecodingSequence, guess: Sequence[int], tokens: Sequence[int]) -> int:
        """Append the model's tokens up to the first that was not guessed.

        Returns:
            How many of the guessed tokens were right.
        """
        for i, token in enumerate(tokens):
            hit = i < len(guess) and token == guess[i]
            if append_token(row, token, self.arm) or not hit:
                return i + hit
        return len(guess)


def _width(model: Any, columns: int) -> int:
    """Return how many rows of that many columns are written at a time; depends on nothing else."""
    return max(1, min(MAX_ROWS, CACHE_BYTES // (prefix_cache.column_bytes(model) * columns)))
