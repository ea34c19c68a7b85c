"""Following thoughts while a completion is decoded: where its limits and stops take effect."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tunegate.harness.models._thought_tracker import ThoughtTracker
from tunegate.harness.records.generation import GenerationSettings


class _PlainPieces:
    """A tokenizer of whole pieces, without special tokens."""

    def __init__(self, *pieces: str) -> None:
        self.pieces = pieces

    def decode(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return "".join(self.pieces[i] for i in ids)


def _full_after(generation: GenerationSettings, pieces: Sequence[str], prompt: str = "") -> int:
    """Return after how many tokens a completion is full, or holds a stop."""
    tokenizer = _PlainPieces(*pieces)
    tracker = ThoughtTracker.of(generation, prompt)
    assert tracker is not None
    for count in range(1, len(pieces) + 1):
        tracker.follow(tokenizer, range(count))
        if tracker.is_full(count) or tracker.stops(tokenizer, range(count)):
            return count
    return -1


WORDS = ["<", "think", ">", "a", "b", "</", "think", ">", *"cdefgh"]


@pytest.mark.parametrize(
    ("budget", "most", "pieces", "prompt", "full"),
    [
        (20, 3, WORDS, "", 11),  # three tokens after the closing tag
        (5, 3, WORDS, "", 5),  # the budget ends within the thoughts
        (8, 3, WORDS, "", 11),  # the closing tag is the last token of the budget
        (20, 3, WORDS[3:], "<think>\n", 8),  # opened by the prompt
        (20, 3, list("cdefgh"), "", 3),  # no thoughts: only the answer's limit counts
        (20, 1, ["<", "b", ">"], "", 2),  # what might be a tag turns out to be none
    ],
)
def test_the_budget_is_apart_from_the_answer(
    budget: int, most: int, pieces: list[str], prompt: str, full: int
) -> None:
    """Thoughts end at their budget, the answer at its own limit, whatever the thoughts took."""
    settings = GenerationSettings(max_new_tokens=most, thinking_budget=budget)

    assert _full_after(settings, pieces, prompt) == full


def test_a_stop_in_the_thoughts_ends_nothing() -> None:
    """Stops count from the answer on; without thoughts from the first token."""
    settings = GenerationSettings(max_new_tokens=50, stop=("e",))

    assert _full_after(settings, ["<think>", "e", "e", "</think>", "d", "e", "f"]) == 6
    assert _full_after(settings, ["d", "e", "f"]) == 2


def test_no_tracker_where_nothing_depends_on_it() -> None:
    """A suite without budget and stops decodes as one that knows nothing of thoughts."""
    assert ThoughtTracker.of(GenerationSettings(), "<think>") is None
    assert ThoughtTracker.of(GenerationSettings(thinking="on"), "<think>") is not None
