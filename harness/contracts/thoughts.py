"""Thoughts of a completion: kept apart from its answer, with their tokens and time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunegate.harness.contracts.thinking import SplitText, split_text
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.generation import GenerationSettings


def separate_thoughts(
    completion: Completion, generation: GenerationSettings, *, prompt: str | None = None
) -> Completion:
    """Return a completion with its thoughts separated from its text, unless they already are.

    Args:
        completion: The completion.
        generation: The suite's settings.
        prompt: The prompt as the model saw it; None if unknown.
    """
    if completion.text is None or completion.thinks:
        return completion
    found = split_text(completion.text, prompt=prompt, tags=generation.thinking_tags)
    return completion if found is None else completion.model_copy(update=split_fields(found))


def without_thoughts(completion: Completion) -> Completion:
    """Return a completion with its thoughts separated, without any suite's settings."""
    return separate_thoughts(completion, GenerationSettings())


def split_fields(found: SplitText) -> dict[str, Any]:
    """Return the fields of a completion that a split text fills."""
    return {
        "text": found.answer,
        "reasoning": found.reasoning,
        "reasoning_closed": found.closed,
        "reasoning_tags": (found.before, found.after),
    }


def written_text(completion: Completion) -> str:
    """Return a completion's whole text, with thoughts and tags if known."""
    before, after = completion.reasoning_tags or ("", "")
    return f"{before}{completion.reasoning or ''}{after}{completion.text or ''}"


def answer_tokens(completion: Completion) -> int | None:
    """Return the tokens of a completion's answer without its thoughts; None if unknown."""
    if completion.output_tokens is None:
        return None
    if completion.thinks and completion.reasoning_tokens is None:
        return None
    return max(0, completion.output_tokens - (completion.reasoning_tokens or 0))


def thought_facts(completion: Completion) -> Iterator[str]:
    """Yield what a reader is shown about a completion's thoughts: tokens, time, how they ended."""
    count, seconds = completion.reasoning_tokens, completion.reasoning_s
    size = completion.batch_size
    yield "number of tokens not known" if count is None else f"{count} tokens"
    shared = f" in a batch of {size}" if size is not None and size > 1 else ""
    yield "time not known" if seconds is None else f"{seconds:.2f} s{shared}"
    if completion.reasoning_closed is False:
        yield "not ended"
    if completion.reasoning is None:
        yield "hidden by the provider"


HAS_THOUGHTS = "has_thoughts"
"""Part of a score: 1 if the completion has thoughts."""


def share_of_thoughts(
    completion: Completion, whole: float, thoughts: float | None
) -> dict[str, float]:
    """Divide a time or price between thoughts and answer, as parts of a score.

    Args:
        completion: The completion.
        whole: The time or price of both together.
        thoughts: That of the thoughts; None if unknown.

    Returns:
        `has_thoughts`, `thinking` and `answer`; unknown parts are absent, never 0.
    """
    if not completion.thinks:
        return {}
    if thoughts is None:
        return {HAS_THOUGHTS: 1.0}
    return {HAS_THOUGHTS: 1.0, "thinking": thoughts, "answer": max(0.0, whole - thoughts)}


def no_answer_reason(completion: Completion) -> str | None:
    """Return why no answer follows the thoughts; None if there is one, or no thoughts."""
    if not completion.thinks or (completion.text or "").strip():
        return None
    count = completion.reasoning_tokens
    spent = "" if count is None else f" after {count} tokens"
    if completion.reasoning_closed is False:
        return f"no answer: the thoughts had not ended{spent}"
    return "no answer: nothing follows the thoughts"


def message_thoughts(message: Mapping[str, Any]) -> str | None:
    """Return the thoughts of a chat message that a server has separated, or None.

    Source: `reasoning_content` (DeepSeek, SGLang, llama.cpp, litellm), `reasoning` (vLLM, Ollama,
    OpenRouter), `thinking_blocks` (litellm for Anthropic), parts of the content of type `thinking`
    (Anthropic, Mistral) or `reasoning` (Inspect).
    """
    for key in ("reasoning_content", "reasoning"):
        if isinstance(text := message.get(key), str) and text:
            return text
    parts = [p for key in ("thinking_blocks", "content") for p in _objects(message.get(key))]
    texts = [p.get(str(p["type"])) for p in parts if p.get("type") in ("thinking", "reasoning")]
    flat = [text if isinstance(text, str) else _joined_text(text) for text in texts]
    return "\n".join(filter(None, flat)) or None


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _joined_text(parts: Any) -> str:
    return "".join(text for part in _objects(parts) if isinstance(text := part.get("text"), str))
