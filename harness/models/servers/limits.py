"""Limits of a suite, applied to what a server wrote: servers have one for thoughts and answer."""

from __future__ import annotations

from typing import Any

from tunegate.harness.records.answers import Completion
from tunegate.harness.records.generation import GenerationSettings


def keep_limits(
    completion: Completion, generation: GenerationSettings, tokenizer: Any
) -> Completion:
    """Return what a model here would have written under the suite's limits, of a server's answer.

    Thoughts that took more than their budget are cut there, and no answer follows them; an answer
    is cut at `max_new_tokens`. Without a tokenizer thoughts are cut by the number of their tokens
    that the server reports, with their text whole, and answers are not cut.
    """
    budget = generation.budget
    if budget is None:
        return completion
    (before, after), reasoning = completion.reasoning_tags or ("", ""), completion.reasoning or ""
    if completion.thinks and (completion.reasoning_tokens or 0) > budget:
        if tokenizer is not None:
            written = f"{before}{reasoning}{after}"
            reasoning = _first_tokens(tokenizer, written, budget).removeprefix(before)
        cut: dict[str, Any] = {"text": "", "reasoning": reasoning, "reasoning_closed": False}
        cut |= {"reasoning_tokens": budget, "finish_reason": "length"}
        tags = completion.reasoning_tags and (before, "")
        return completion.model_copy(update={**cut, "reasoning_tags": tags})
    if tokenizer is None:
        return completion
    space = after[len(after.rstrip()) :]  # the engine counts it with the answer
    text = f"{space}{completion.text or ''}"
    kept = _first_tokens(tokenizer, text, generation.max_new_tokens)
    if kept == text:
        return completion
    return completion.model_copy(update={"text": kept[len(space) :], "finish_reason": "length"})


def _first_tokens(tokenizer: Any, text: str, count: int) -> str:
    """Return the text of at most `count` tokens."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return text if len(ids) <= count else str(tokenizer.decode(ids[:count]))
