"""Speculative decoding with a stored answer as the draft: verified instead of decoded.

What base answered, or an earlier candidate, is put to the model together with the prompt in one
forward; the longest beginning on which the model's own argmax agrees is accepted, and the token
after it comes for free. Where an answer leaves its draft and comes back to it, the rest of the
draft is guessed again. The result is the plain greedy answer token for token (exact in float32); on
prompts that a fine-tune hardly changes it costs a prefill instead of a decode.

Source: speculative decoding (Leviathan, Kalman and Matias 2023) in its greedy form, with a stored
answer in place of a draft model; finding the position again by the last few tokens is prompt lookup
decoding (Saxena 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tunegate.harness.contracts.model import LocalArm
from tunegate.harness.contracts.reasoning import written_text
from tunegate.harness.records.answers import Completion

RUN = 4
"""Tokens in a row that an answer must share with its draft to be back on it."""


@dataclass
class DraftAcceptance:
    """How well an arm's drafts are accepted, by suite; it ends drafting where they are not."""

    drafted: dict[str, int] = field(default_factory=dict)
    accepted: dict[str, int] = field(default_factory=dict)

    def count(self, suite: str, drafted: int, accepted: int) -> None:
        """Add the tokens of one row."""
        self.drafted[suite] = self.drafted.get(suite, 0) + drafted
        self.accepted[suite] = self.accepted.get(suite, 0) + accepted

    def share(self, suite: str) -> float | None:
        """Return the accepted share; None before the first draft."""
        drafted = self.drafted.get(suite)
        return self.accepted[suite] / drafted if drafted else None

    def pays(self, suite: str, *, rows: int, step: float) -> bool:
        """Return whether guessing is worth it where `rows` rows would be decoded together.

        A guessed token costs its share of a forward; an accepted one saves that and its share of
        what the forward costs besides its tokens.

        Args:
            suite: The suite.
            rows: Rows decoded together.
            step: What a forward costs besides its tokens, counted in tokens.
        """
        share = self.share(suite)
        return share is None or share * (1 + step / max(1, rows)) > 1


@dataclass(slots=True)
class AnswerDraft:
    """A guess at one answer, and how far the answer has followed it."""

    token_ids: tuple[int, ...]
    acceptance: DraftAcceptance
    """Counts how well drafts from where this one comes are accepted."""
    position: int | None = 0
    """Where the answer is in it; None where the answer has left it."""
    _ends: dict[tuple[int, ...], int] | None = None

    def ahead(self, most: int) -> tuple[int, ...]:
        """Return the tokens that should come next, at most `most`; none off the draft."""
        return () if self.position is None else self.token_ids[self.position : self.position + most]

    def follow(self, written: Sequence[int]) -> None:
        """Take note of the last token of an answer."""
        at = self.position
        if at is not None and at < len(self.token_ids) and self.token_ids[at] == written[-1]:
            self.position = at + 1
            return
        # What was passed once and is passed again would be a loop, which drafts do not end well.
        self.position = self._found().get(tuple(written[-RUN:]))

    def _found(self) -> dict[tuple[int, ...], int]:
        """Return runs of tokens → where the first of them ends."""
        if self._ends is None:
            ends = range(len(self.token_ids), RUN - 1, -1)
            self._ends = {self.token_ids[end - RUN : end]: end for end in ends}
        return self._ends


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """The answer of another arm to the same question."""

    completion: Completion
    acceptance: DraftAcceptance
    """Counts how well that arm's answers do as drafts."""


def draft_ids(arm: LocalArm, completion: Completion) -> tuple[int, ...]:
    """Return a stored answer as tokens, with the stop token where it ended by itself."""
    ids = tuple(arm.tokenizer(written_text(completion), add_special_tokens=False)["input_ids"])
    ends = completion.finish_reason == "stop" and arm.stop_ids
    return (*ids, min(arm.stop_ids)) if ends else ids
