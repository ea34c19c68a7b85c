"""Log-likelihoods of continuations after a shared prompt, and rolling ones of whole texts.

One forward of the prompts gives the first token of every continuation; the rest of the
continuations are computed on the prompts' key-value cache. Logits exist only where a continuation
is scored, never as [batch, length, vocabulary].

`bits_per_byte` is how many bits the model needs for each byte of a text, whatever its tokenizer. A
text longer than the context is read in windows that do not overlap; each begins after the last
token of the one before, as in lm-eval's `loglikelihood_rolling`. The first token is predicted from
the begin marker, or from the end marker if the tokenizer has no other.

Source: bits = -sum of log2 p(token | what is before it in the window); divided by the text's length
in UTF-8 bytes, so that models with other tokenizers can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.contracts.environment import cache_name
from tunegate.harness.contracts.model import LocalArm, Prompt
from tunegate.harness.engine.inference.fallbacks import log_probabilities, must_be_alone
from tunegate.harness.engine.inference.forward_cost import forward_cost, group_by_length
from tunegate.harness.engine.inference.prefix_cache import (
    NO_PREFIX,
    PrefillResult,
    column_bytes,
    compute_shared_prefix,
    position_ids,
    prefill_prompts,
    selected_rows,
)
from tunegate.harness.engine.optimizations import ALL, Optimizations

_LOGIT_BYTES = 256_000_000
"""Memory for one block of logits: rows × scored positions × vocabulary × 4 bytes."""
_CACHE_BYTES = 500_000_000
"""Memory for the caches of one block of continuations: each has a copy of its prompt's."""

_ROWS = 8
"""Rows of logits that are normalised at a time on a processor: 1.5 MB where there are 49,152 words.
Any number from 1 to 64 takes about as long."""


@dataclass(frozen=True, slots=True)
class Continuation:
    """A text to be scored after a prompt."""

    row: int
    """Index of its prompt in the batch."""
    token_ids: tuple[int, ...]


def score_continuations(
    arm: LocalArm,
    model: Any,
    prompts: Sequence[Prompt],
    wanted: Sequence[Continuation],
    optimizations: Optimizations = ALL,
) -> list[float]:
    """Return the natural-log likelihood of each wanted continuation, summed over its tokens."""
    import torch

    ids = [p.token_ids or () for p in prompts]
    longest = max((len(ids[c.row]) + len(c.token_ids) for c in wanted), default=0)
    if must_be_alone(arm, longest):
        return [_alone(model, prompts[c.row], c) for c in wanted]
    sums: dict[int, float] = {}
    with torch.inference_mode():
        room = max((len(c.token_ids) for c in wanted), default=0)
        common = (
            compute_shared_prefix(model, ids, room=room) if optimizations.prefixes else NO_PREFIX
        )
        for rows in _prefills(ids, wanted, cost=forward_cost(model)):
            position = {row: at for at, row in enumerate(rows)}
            continuations = {
                i: Continuation(position[c.row], c.token_ids)
                for i, c in enumerate(wanted)
                if c.row in position
            }
            ready = prefill_prompts(arm, model, [ids[row] for row in rows], prefix=common)
            sums |= zip(
                continuations, _score(model, ready, list(continuations.values())), strict=True
            )
    return [sums[i] for i in range(len(wanted))]


def _prefills(
    prompts: Sequence[Sequence[int]], wanted: Sequence[Continuation], *, cost: float
) -> list[list[int]]:
    """Split the prompts into those that are computed together.

    Prompts of about one length; those with longer continuations stay together, as each group of
    them would need further forwards for these.
    """
    longer = {c.row for c in wanted if len(c.token_ids) > 1}
    short = sorted({c.row for c in wanted} - longer)
    groups = group_by_length([len(prompts[row]) for row in short], cost)
    split = [[short[i] for i in group] for group in groups]
    return [sorted(longer), *split] if longer else split


def _score(model: Any, ready: PrefillResult, wanted: Sequence[Continuation]) -> list[float]:
    """Return the likelihood of each continuation of prompts that are computed."""
    scores = _score_first_tokens(ready.logits, wanted)
    longer = [i for i, c in enumerate(wanted) if len(c.token_ids) > 1]
    for block in _blocks(model, ready, wanted, longer):
        rest = _rest(model, ready, [wanted[i] for i in block])
        for i, more in zip(block, rest, strict=True):
            scores[i] += more
    return scores


def _alone(model: Any, prompt: Prompt, wanted: Continuation) -> float:
    logprobs = log_probabilities(model, prompt.token_ids or (), wanted.token_ids)
    return float(logprobs[range(len(wanted.token_ids)), list(wanted.token_ids)].sum())


def _blocks(
    model: Any, ready: PrefillResult, wanted: Sequence[Continuation], chosen: Sequence[int]
) -> Iterator[list[int]]:
    """Split the chosen continuations into those of about one length that memory holds."""
    prompt, words = ready.mask.shape[1], ready.logits.shape[-1]
    lengths = [len(wanted[i].token_ids) - 1 for i in chosen]
    for group in group_by_length(lengths, forward_cost(model)):
        longest = lengths[group[0]]
        by_logits = _LOGIT_BYTES // (longest * words * 4)
        by_cache = _CACHE_BYTES // ((prompt + longest) * column_bytes(model))
        rows = max(1, min(by_logits, by_cache))
        for at in range(0, len(group), rows):
            yield [chosen[i] for i in group[at : at + rows]]


def _score_first_tokens(logits: Any, wanted: Sequence[Continuation]) -> list[float]:
    """Score the first token of each continuation.

    Args:
        logits: Those of each prompt's last token, [prompts, vocabulary].
        wanted: The continuations.
    """
    import torch

    first_tokens: list[list[int]] = [[] for _ in range(len(logits))]
    for c in wanted:
        first_tokens[c.row].append(c.token_ids[0])
    most = max(map(len, first_tokens), default=0)
    padded = [[*ids, *[0] * (most - len(ids))] for ids in first_tokens]
    targets = torch.tensor(padded, dtype=torch.long, device=logits.device)
    of_row = [iter(row) for row in _read_words(logits, targets).tolist()]
    return [next(of_row[c.row]) for c in wanted]


def _read_words(logits: Any, targets: Any) -> Any:
    """Return the log-probabilities of words, [rows, targets].

    On a processor a few rows at a time, which stay in its cache: to write the log-probabilities of
    all rows to new memory takes three times as long as to compute them.

    Args:
        logits: [rows, vocabulary].
        targets: Ids of the words, [rows, targets].
    """
    import torch

    size = _ROWS if logits.device.type == "cpu" else len(logits)
    return torch.cat(
        [
            torch.log_softmax(rows.float(), dim=-1).gather(-1, words)
            for rows, words in zip(logits.split(size), targets.split(size), strict=True)
        ]
    )


def _rest(model: Any, ready: PrefillResult, wanted: Sequence[Continuation]) -> list[float]:
    """Score the tokens after the first, on a copy of the prompts' cache."""
    import torch

    mask = ready.mask
    index = torch.tensor([c.row for c in wanted], device=mask.device)
    cache = selected_rows(ready.cache, index)
    longest = max(len(c.token_ids) for c in wanted) - 1
    inputs = torch.zeros((len(wanted), longest), dtype=torch.long)
    inside = torch.zeros_like(inputs)
    targets = torch.zeros_like(inputs)
    for i, c in enumerate(wanted):
        length = len(c.token_ids) - 1
        inputs[i, :length] = torch.tensor(c.token_ids[:-1])
        targets[i, :length] = torch.tensor(c.token_ids[1:])
        inside[i, :length] = 1
    inputs, inside, targets = (t.to(mask.device) for t in (inputs, inside, targets))
    whole = torch.cat([mask[index], inside], dim=1)
    logits = model(
        input_ids=inputs,
        attention_mask=whole,
        position_ids=position_ids(whole)[:, -longest:],
        use_cache=True,
        **{cache_name(): cache},
    ).logits
    logprobs = _read_words(logits.flatten(0, 1), targets.reshape(-1, 1)).view(targets.shape)
    scores: list[float] = (logprobs * inside).sum(dim=-1).tolist()
    return scores


LONGEST = 2048
"""Tokens of a window where the model has no limit of its own."""


def bits_per_byte(
    arm: LocalArm, model: Any, texts: Sequence[Prompt], optimizations: Optimizations = ALL
) -> list[float]:
    """Return the bits per byte of each text."""
    windows = [(i, window) for i, text in enumerate(texts) for window in _windows(arm, text)]
    contexts = [Prompt("", context) for _, (context, _) in windows]
    wanted = [Continuation(row, read) for row, (_, (_, read)) in enumerate(windows)]
    totals = [0.0] * len(texts)
    for (i, _), value in zip(
        windows, score_continuations(arm, model, contexts, wanted, optimizations), strict=True
    ):
        totals[i] += value
    return [
        -total / (math.log(2) * len(text.text.encode("utf-8")))
        for total, text in zip(totals, texts, strict=True)
    ]


def _windows(arm: LocalArm, text: Prompt) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield (context, tokens to score) until every token is scored once."""
    ids = tuple(text.token_ids or ())
    first = arm.tokenizer.bos_token_id
    marker = min(arm.stop_ids) if first is None else int(first)
    if len(ids) > 1 and ids[0] == marker:
        ids = ids[1:]  # the tokenizer put the marker there itself
    size = arm.context_length or LONGEST
    before = marker
    for start in range(0, len(ids), size):
        window = ids[start : start + size]
        yield (before,), window
        before = window[-1]
