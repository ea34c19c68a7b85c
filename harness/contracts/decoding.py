"""Decoding of a completion's token ids into thoughts and answer."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from tunegate.harness.contracts.reasoning import FORMATS, HARMONY, split_fields, split_text
from tunegate.harness.records.generation import GenerationSettings


def thinking_tokens(tokenizer: Any) -> frozenset[int]:
    """Return the ids of special tokens that are tags of thoughts, which decoding usually drops."""
    tags = [tag for form in (*FORMATS, HARMONY) for tag in (form.open, form.close)]
    return frozenset(
        number
        for number, token in (getattr(tokenizer, "added_tokens_decoder", None) or {}).items()
        if token.special and any(str(token) in tag for tag in tags)
    )


def decode_completion(
    tokenizer: Any,
    token_ids: Sequence[int],
    generation: GenerationSettings,
    *,
    prompt: str | None,
) -> dict[str, Any]:
    """Return a completion's text and the fields of its thoughts, from its token ids.

    Args:
        tokenizer: The Transformers tokenizer.
        token_ids: The completion, without its end marker.
        generation: The suite's settings.
        prompt: The prompt as the model saw it; None if unknown.
    """
    tags, split = generation.thinking_tags, None
    text = tokenizer.decode(token_ids, skip_special_tokens=True)
    if not thinking_tokens(tokenizer).isdisjoint(token_ids):
        whole = tokenizer.decode(token_ids, skip_special_tokens=False)
        split = split_text(whole, prompt=prompt, tags=tags)
        if split is not None:
            split = split.without(special_texts(tokenizer))
    split = split or split_text(text, prompt=prompt, tags=tags)
    if split is None:
        return {"text": text}
    fields = split_fields(split)
    return fields | {"reasoning_tokens": _count_thoughts(tokenizer, token_ids, prompt, tags)}


def timed_thoughts(fields: Mapping[str, Any], seconds: Sequence[float]) -> dict[str, Any]:
    """Return a completion's fields with the time of its thoughts, if it has any.

    Args:
        fields: From `decode_completion`.
        seconds: From the request to each token of the completion.
    """
    count = fields.get("reasoning_tokens")
    if not count:
        return dict(fields)
    return {**fields, "reasoning_s": seconds[min(count, len(seconds)) - 1]}


def special_texts(tokenizer: Any) -> list[str]:
    """Return the texts of a tokenizer's special tokens, the longest first."""
    tokens = (getattr(tokenizer, "added_tokens_decoder", None) or {}).values()
    return sorted((str(token) for token in tokens if token.special), key=len, reverse=True)


def _count_thoughts(
    tokenizer: Any, token_ids: Sequence[int], prompt: str | None, tags: Sequence[str] | None
) -> int:
    """Return the number of tokens up to the end of the closing tag, or of all if it is missing."""

    def is_closed(count: int) -> bool:
        text = tokenizer.decode(token_ids[:count], skip_special_tokens=False)
        found = split_text(text, prompt=prompt, tags=tags)
        return found is not None and found.closed

    counts = range(len(token_ids) + 1)
    return min(bisect_left(counts, True, key=is_closed), len(token_ids))
