"""Answers of the arms: the cells of a run, and the completion stored for each."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from tunegate.harness.records.episodes import EpisodeRecord
from tunegate.harness.records.record import MAX_AMOUNT, STRICT, Record, Text, is_none

_MOST_REPORTED = 1e9
"""Tokens, seconds or dollars that one answer can take; sums of many stay below `MAX_AMOUNT`."""


def reported_amount(value: Any) -> Any:
    """Return a count, time or price that somebody else reports; None where it cannot be true."""
    known = isinstance(value, int | float) and 0 <= value <= _MOST_REPORTED
    return value if known else None


class CellKind(StrEnum):
    """The request of one cell."""

    GENERATE = "generate"
    """Write a completion of the prompt."""
    CHOICES = "choices"
    """Give the log-likelihood of each of the case's choices after the prompt."""
    ANSWER = "answer"
    """Give the mean log-probability per token of the expected answer after the prompt."""
    TEXT = "text"
    """Give the log-likelihood of the prompt itself, in bits per byte of its text."""
    LATENCY = "latency"
    """Write a completion alone in its batch, to be timed."""
    RECORDED = "recorded"
    """Give the scores that another tool recorded with its answer."""


WRITTEN = frozenset({CellKind.GENERATE, CellKind.RECORDED})
"""Kinds whose completion has the text that the arm answered with."""


class Completion(Record):
    """A model's answer to one case, with the facts about its generation."""

    text: Text | None = None
    """The answer, without the thoughts before it; empty where the thoughts never ended. None where
    the suite asked for log-likelihoods only."""
    finish_reason: str | None = None
    """`stop`, `length` (the token limit cut it) or the backend's own word; None if unknown."""
    input_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    """Tokens of the prompt."""
    output_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    """Tokens of thoughts and answer, the end marker not counted."""
    latency_s: float | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    """Seconds from sending to the last token; of the whole batch where it ran in one."""
    batch_size: int | None = Field(default=None, ge=1, le=MAX_AMOUNT)
    """Completions that were written together in that time; None if unknown."""
    cost: float | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    """Price in US dollars; None if unknown."""
    attempts: int | None = Field(default=None, ge=1, le=MAX_AMOUNT)
    """Times that a model behind a network was asked for it; None of others."""
    answered_by: Text | None = None
    """The model that answered by the provider's report, with its configuration; None elsewhere."""
    choice_logprobs: tuple[float, ...] | None = None
    """Natural-log likelihood of each choice's text after the prompt, summed over its tokens."""
    answer_logprob: float | None = None
    """Mean natural-log probability per token of the expected answer."""
    bits_per_byte: float | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    """Negative base-2 log-likelihood of the prompt's text over its length in UTF-8 bytes."""
    scores: dict[Text, float | None] | None = Field(default=None, exclude_if=is_none)
    """Scores by another tool: score key → value, None if unscored; absent elsewhere."""
    errors: dict[Text, Text] | None = Field(default=None, exclude_if=is_none)
    """Score key → why the other tool left it unscored; absent elsewhere."""
    prompt_sha256: str | None = Field(default=None, exclude_if=is_none)
    """Hash of the prompt that the other tool sent; absent where it is not known."""
    reasoning: Text | None = Field(default=None, exclude_if=is_none)
    """The thoughts before the answer, without their tags; absent without any, or if hidden."""
    reasoning_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT, exclude_if=is_none)
    """Tokens of the thoughts and their tags, a part of `output_tokens`; absent if unknown."""
    reasoning_s: float | None = Field(default=None, ge=0, le=MAX_AMOUNT, exclude_if=is_none)
    """Seconds until the thoughts had ended, a part of `latency_s`; absent if unknown."""
    reasoning_closed: bool | None = Field(default=None, exclude_if=is_none)
    """Whether the thoughts ended, so that an answer could begin; absent without thoughts."""
    reasoning_tags: tuple[Text, Text] | None = Field(default=None, exclude_if=is_none)
    """The text before the thoughts and the text between thoughts and answer, as written: with them
    the completion can be put together again. Absent where a server separated the two."""
    episode: EpisodeRecord | None = Field(default=None, exclude_if=is_none)
    """The turns of a completion that an environment answered; absent elsewhere."""

    @property
    def thinks(self) -> bool:
        """Whether the model wrote thoughts, hidden ones included."""
        return self.reasoning is not None or bool(self.reasoning_tokens)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Cell:
    """One question to one arm: the unit of planning, storing and resuming."""

    suite: str
    case: str
    arm: str
    kind: CellKind
    sample: int = 0
    """Index of the repetition, from 0."""
    key: str
    """SHA-256 of everything that can change the answer; the store's primary key."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class StoredAnswer:
    """The result of a cell: a completion, or an error in words; one line of `cells.jsonl`."""

    cell: Cell
    status: str
    """`ok`, `error`, `missing`, or `skipped`: everything was decided before it was asked."""
    completion: Completion | None = None
    error: Text | None = None
    """The failure, in words, if the status is `error`."""
    started_s: float | None = None
    """Unix time at which the backend began."""
    cache_hit: bool = False
    """Whether the completion was already stored when this run began."""

    @property
    def key(self) -> str:
        """The cell's key."""
        return self.cell.key

    @classmethod
    def of(
        cls, cell: Cell, completion: Completion | None, error: str | None, started_s: float
    ) -> StoredAnswer:
        """Return what a backend answered: `ok` with a completion, else `error`."""
        return cls(
            cell=cell,
            status="error" if completion is None else "ok",
            completion=completion,
            error=error,
            started_s=started_s,
        )
