"""Thought tracker: follows a local completion to where its thoughts end and its answer begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tunegate.harness.contracts.reasoning import (
    HARMONY,
    ThinkingFormat,
    formats_of,
    opened_format,
)
from tunegate.harness.records.generation import GenerationSettings

_TAIL = 24
"""Tokens among which the last closing tag is looked for: the longest has fewer."""


@dataclass(slots=True)
class ThoughtTracker:
    """Where the thoughts of a completion in progress end: limits and stops depend on it."""

    generation: GenerationSettings
    formats: Sequence[ThinkingFormat] = field(repr=False)
    state: Literal["unknown", "thinking", "answering"] = "unknown"
    answer_at: int = 0
    """Tokens before the answer."""

    @classmethod
    def of(cls, generation: GenerationSettings, prompt: str) -> ThoughtTracker | None:
        """Return a tracker of a completion; None where no limit or stop depends on thoughts."""
        if generation.budget is None and not generation.stop:
            return None
        formats = formats_of(generation.thinking_tags)
        if generation.thinking_tags is None:
            formats = (*formats, HARMONY)
        opened = opened_format(prompt, formats)
        if opened is None:
            return cls(generation, formats)
        return cls(generation, (opened,), "thinking")

    def follow(self, tokenizer: Any, token_ids: Sequence[int]) -> None:
        """Take note of the last token of a completion."""
        if self.state == "unknown":
            text = tokenizer.decode(token_ids, skip_special_tokens=False).lstrip()
            self.formats = [f for f in self.formats if _may_begin(text, f.open)]
            begun = [f for f in self.formats if text.startswith(f.open)]
            if begun:
                self.formats, self.state = begun, "thinking"
            elif not self.formats:
                self.state = "answering"
        elif self.state == "thinking":
            tail = tokenizer.decode(token_ids[-_TAIL:], skip_special_tokens=False)
            if any(end in tail for end in self._ends()):
                self.state, self.answer_at = "answering", len(token_ids)

    def _ends(self) -> Iterator[str]:
        for one in self.formats:
            yield one.close
            if one is HARMONY:
                yield "<|channel|>commentary"

    def stops(self, tokenizer: Any, token_ids: Sequence[int]) -> bool:
        """Return whether the answer holds a stop; a stop in the thoughts ends nothing."""
        if self.state == "thinking" or not self.generation.stop:
            return False
        text = tokenizer.decode(token_ids[self.answer_at :], skip_special_tokens=True)
        return any(stop in text for stop in self.generation.stop)

    def is_full(self, count: int) -> bool:
        """Return whether a completion of `count` tokens has reached its limit."""
        budget = self.generation.budget
        if budget is None:
            return count >= self.generation.max_new_tokens
        if self.state == "thinking":
            return count >= budget
        if self.state == "unknown":  # what has begun may still be a tag
            return count >= self.generation.max_new_tokens + _TAIL
        return count - self.answer_at >= self.generation.max_new_tokens


def _may_begin(text: str, tag: str) -> bool:
    return tag.startswith(text) or text.startswith(tag)
