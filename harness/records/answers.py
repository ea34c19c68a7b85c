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
    """Return a count, time or price reported by others; None if it cannot be true."""
    known = isinstance(value, int | float) and 0 <= value <= _MOST_REPORTED
    return value if known else None


class CellKind(StrEnum):
    """What one cell asks of an arm."""

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
    DRAFTS = "drafts"
    """Write a completion while the server answers nothing else, and count its drafted tokens."""
    RECORDED = "recorded"
    """Give the scores that another tool recorded with its answer."""


WRITTEN = frozenset({CellKind.GENERATE, CellKind.RECORDED})
"""Kinds whose completion has the answer's text."""
GENERATED = frozenset({CellKind.GENERATE, CellKind.LATENCY, CellKind.DRAFTS})
"""Kinds for which an arm writes a completion."""
ALONE = frozenset({CellKind.LATENCY, CellKind.DRAFTS})
"""Kinds that measure how a completion is written: an arm gets one such request at a time."""


class Completion(Record):
    """A model's answer to one case, with the facts about its generation."""

    text: Text | None = None
    """The answer without its thoughts; empty if the thoughts never ended, None if only
    log-likelihoods were asked for."""
    finish_reason: str | None = None
    """`stop`, `length` (the token limit cut it) or the backend's own word; None if unknown."""
    input_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    """Tokens of the prompt."""
    output_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    """Tokens of thoughts and answer, without the end marker."""
    latency_s: float | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    """Seconds from sending to the last token, of the whole batch if it ran in one."""
    batch_size: int | None = Field(default=None, ge=1, le=MAX_AMOUNT)
    """Completions that were written together in that time; None if unknown."""
    cost: float | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    """Price in US dollars; None if unknown."""
    attempts: int | None = Field(default=None, ge=1, le=MAX_AMOUNT)
    """Requests that a model behind a network needed; None for other models."""
    answered_by: Text | None = None
    """The model that answered, as the provider reports it, with its configuration."""
    choice_logprobs: tuple[float, ...] | None = None
    """Natural-log likelihood of each choice's text after the prompt, summed over its tokens."""
    answer_logprob: float | None = None
    """Mean natural-log probability per token of the expected answer."""
    bits_per_byte: float | None = Field(default=None, ge=0, le=MAX_AMOUNT)
    """Negative base-2 log-likelihood of the prompt's text over its length in UTF-8 bytes."""
    label_probabilities: dict[Text, float] | None = Field(default=None, exclude_if=is_none)
    """A classifier's probability of each of its labels; absent for models that write."""
    candidate_scores: tuple[float, ...] | None = Field(default=None, exclude_if=is_none)
    """A reranker's or embedder's scores of the case's candidates: `positive`, then `negative`."""
    scores: dict[Text, float | None] | None = Field(default=None, exclude_if=is_none)
    """Another tool's scores: score key → value, None if unscored."""
    errors: dict[Text, Text] | None = Field(default=None, exclude_if=is_none)
    """Score key → why the other tool left it unscored."""
    prompt_sha256: str | None = Field(default=None, exclude_if=is_none)
    """Hash of the prompt that the other tool sent; absent if unknown."""
    beyond_text: bool | None = Field(default=None, exclude_if=is_none)
    """True if the other tool's scores rest on more than text and thoughts, such as an agent's
    calls; absent if they do not."""
    reasoning: Text | None = Field(default=None, exclude_if=is_none)
    """The thoughts before the answer, without their tags; absent if unknown or hidden."""
    reasoning_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT, exclude_if=is_none)
    """Tokens of the thoughts and their tags, a part of `output_tokens`; absent if unknown."""
    reasoning_s: float | None = Field(default=None, ge=0, le=MAX_AMOUNT, exclude_if=is_none)
    """Seconds until the thoughts had ended, a part of `latency_s`; absent if unknown."""
    reasoning_closed: bool | None = Field(default=None, exclude_if=is_none)
    """Whether the thoughts ended, so that an answer could begin; absent without thoughts."""
    reasoning_tags: tuple[Text, Text] | None = Field(default=None, exclude_if=is_none)
    """The text before the thoughts and the text between thoughts and answer, as written; absent if
    a server separated the two."""
    drafted_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT, exclude_if=is_none)
    """Tokens that speculative decoding proposed for it; absent if unknown."""
    accepted_tokens: int | None = Field(default=None, ge=0, le=MAX_AMOUNT, exclude_if=is_none)
    """How many of `drafted_tokens` the model accepted; absent if unknown."""
    episode: EpisodeRecord | None = Field(default=None, exclude_if=is_none)
    """The turns of an episode."""

    @property
    def thinks(self) -> bool:
        """Whether the model wrote thoughts, even hidden ones."""
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
    """`ok`, `error`, `missing`, or `skipped` since everything was decided before."""
    completion: Completion | None = None
    error: Text | None = None
    """The failure, if the status is `error`."""
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
        """Return a backend's answer: `ok` with a completion, else `error`."""
        return cls(
            cell=cell,
            status="error" if completion is None else "ok",
            completion=completion,
            error=error,
            started_s=started_s,
        )
