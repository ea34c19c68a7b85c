r"""Records of cases, completions, answers, scores and generation settings.

Every record is frozen, refuses unknown fields and non-finite numbers, and carries its meaning in
the docstring under each field. Derived numbers are never stored. The plan of a run is in
`tunegate.harness.records.manifest`, its outcome in `tunegate.harness.records.verdict`.

JSON can spell half of a surrogate pair (`"\ud800"`), which no UTF-8 file can hold: in every text
it becomes U+FFFD, the replacement character, as soon as it is read.

Example:
    >>> Case(id="r1", prompt="Where is my parcel?", expected="shipping").input_messages()
    ({'role': 'user', 'content': 'Where is my parcel?'},)
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)
from pydantic.dataclasses import dataclass

from tunegate.harness.records.defaults import (
    LATENCY_CASES,
    MAX_NEW_TOKENS,
    TEMPERATURE,
    THINKING_BUDGET,
)
from tunegate.harness.records.episodes import MOST, EpisodeRecord

SCHEMA_VERSION = 1
"""Version of the files in a run folder; raised when a reader of the old form would misread."""
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: sorted keys, no spaces, strict numbers."""
    return _CANONICAL.encode(value)


def sha256(value: Any) -> str:
    """Return the hex SHA-256 of a string's UTF-8 bytes or of a value's canonical JSON."""
    text = value if isinstance(value, str) else canonical_json(value)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def replace_surrogates(value: Any) -> Any:
    """Return `value` with U+FFFD for every lone surrogate in its texts, keys included."""
    if isinstance(value, str):
        return value if value.isascii() else _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {replace_surrogates(key): replace_surrogates(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(replace_surrogates(item) for item in value)
    return value


_SURROGATE = re.compile("[\ud800-\udfff]")

Text = Annotated[str, BeforeValidator(replace_surrogates)]
"""A text that UTF-8 can hold."""
Json = Annotated[dict[str, Any], BeforeValidator(replace_surrogates)]
"""A JSON object whose texts UTF-8 can hold."""


def six_digits(value: float | None) -> float | None:
    """Round to six significant digits, the precision of verdict.json; there is no minus zero."""
    return None if value is None else float(f"{value:.6g}") + 0.0


Number = Annotated[float | None, AfterValidator(six_digits)]
"""A number of a published record, rounded to six significant digits."""


# `case.schema.json`, the form of a case in a file, is generated from the fields of `Case`. The
# constraints in `json_schema_extra` and `WithJsonSchema` apply to files alone: probes within the
# package build cases with an empty prompt.
FilledText = Annotated[Text, Field(json_schema_extra={"minLength": 1})]
"""A text that may not be empty in a file."""
_FILLED_LIST = Field(json_schema_extra={"minItems": 1})

ChatMessage = Annotated[
    Json,
    WithJsonSchema(
        {
            "type": "object",
            "required": ["role"],
            "properties": {
                "role": {"enum": ["system", "user", "assistant", "tool"]},
                "content": {},
            },
        }
    ),
]
"""One turn of a conversation, as chat templates and chat APIs take it."""

ExpectedCall = Annotated[
    Json,
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": False,
            "required": ["name", "arguments"],
            "properties": {
                "name": {"type": "string", "minLength": 1},
                "arguments": {
                    "type": "object",
                    "additionalProperties": {"type": "array", "minItems": 1},
                },
            },
        }
    ),
]
"""A tool call with the allowed values of each argument."""

ChoiceIndex = Annotated[
    int,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {
                    "type": "string",
                    "pattern": "^[A-Z]$",
                    "maxLength": 1,
                    "description": "a capital letter",
                },
            ]
        }
    ),
]
"""Index of a choice from 0; in a file also a letter, A for the first."""

LARGEST = 1e100
"""Scores beyond this, either way, are no measurements: their squares leave the range of floats."""
_MOST_REPORTED = 1e9
"""Tokens, seconds or dollars that one answer can take; sums of many stay below `MOST`."""


def reported_amount(value: Any) -> Any:
    """Return a count, time or price that somebody else reports; None where it cannot be true."""
    known = isinstance(value, int | float) and 0 <= value <= _MOST_REPORTED
    return value if known else None


STRICT = ConfigDict(
    extra="forbid", allow_inf_nan=False, populate_by_name=True, use_attribute_docstrings=True
)
"""Settings of every record: strict about its fields, no NaN and no Infinity."""


class Record(BaseModel):
    """The common base: frozen and strict.

    Records of which a run holds several a case are slotted dataclasses instead, as strict as the
    others: one takes a tenth of the memory.
    """

    model_config = ConfigDict(**STRICT, frozen=True)


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


def _is_none(value: object) -> bool:
    """Return whether a field is left out of records: what came later changes no older hash."""
    return value is None


WRITTEN = frozenset({CellKind.GENERATE, CellKind.RECORDED})
"""Kinds whose completion has the text that the arm answered with."""


class Case(Record):
    """One prompt with what is needed to score its answer."""

    id: Text = Field(min_length=1, max_length=200)
    """Stable name of the case; the hash of its content if the file gives none."""
    prompt: FilledText | None = None
    """The user's text; either this or `messages`."""
    messages: Annotated[tuple[ChatMessage, ...], _FILLED_LIST] | None = None
    """A whole conversation in the chat format (`role`, `content`), ending with the user's turn."""
    expected: Text | Annotated[tuple[Text, ...], _FILLED_LIST] | None = None
    """The right answer, or several of which one is enough."""
    context: Text | None = None
    """Source text that a faithful answer rests on."""
    answer_schema: Json | None = Field(default=None, alias="schema")
    """JSON schema of this case's answer, where it differs from the suite's."""
    tools: tuple[Json, ...] | None = None
    """Tool definitions offered to the model, in the chat template's format."""
    expected_calls: tuple[ExpectedCall, ...] | None = None
    """The calls of a right answer, each argument with the list of its allowed values; "" in it
    means that the argument may be left out. In an allowed object every key has such a list again.
    An empty list: no tool may be called."""
    choices: tuple[FilledText, ...] | None = Field(default=None, json_schema_extra={"minItems": 2})
    """Texts of the possible answers of a multiple-choice question."""
    answer: ChoiceIndex | None = None
    """The right choice: its index from 0; a file may write its letter."""
    delimiter: Text | None = None
    """Text between a plain prompt and a choice or the expected answer; a space if absent."""
    stop: tuple[FilledText, ...] | None = None
    """Texts that end a completion of this case, in addition to those of the suite."""
    max_new_tokens: int | None = Field(default=None, ge=1, le=100_000, exclude_if=_is_none)
    """Longest completion of this case in tokens, in place of the suite's."""
    temperature: float | None = Field(default=None, ge=0, exclude_if=_is_none)
    """Temperature of this case in place of the suite's; 0 decodes greedily."""
    top_p: float | None = Field(default=None, gt=0, le=1, exclude_if=_is_none)
    """Nucleus of this case's sampling in place of the suite's."""
    tool_choice: FilledText | Json | None = Field(default=None, exclude_if=_is_none)
    """Which tool must be called, in OpenAI's form; it binds chat APIs only."""
    response_format: Json | None = Field(default=None, exclude_if=_is_none)
    """The form of the answer, as in OpenAI's API; it binds chat APIs only."""
    rules: Json | None = Field(default=None, json_schema_extra={"minProperties": 1})
    """Constraints on the form of the answer, rule → value (`{"max_words": 50}`), for the metric
    `format`."""
    row: Json | None = Field(default=None, exclude_if=_is_none)
    """Keyword arguments for the `reset` of an episode's environment."""
    tags: tuple[FilledText, ...] = ()
    """Labels such as the subject: slices of the report, never clusters."""
    cluster: FilledText | None = None
    """Cases that belong together (one passage, one customer) share this name."""

    _where: str = PrivateAttr(default="")

    def __eq__(self, other: object) -> bool:
        """Compare what the cases hold; the place that they were read from is no part of it."""
        return isinstance(other, Case) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        """Return a hash of the id."""
        return hash(self.id)

    @property
    def where(self) -> str:
        """File and line that the case was read from; empty for one that was made in memory."""
        return self._where

    def with_place(self, where: str) -> Case:
        """Return the case with the file and line that it was read from."""
        case = self.model_copy()
        case._where = where
        return case

    def input_messages(self, system: str | None = None) -> tuple[dict[str, Any], ...]:
        """Return the conversation the model sees, with the suite's system prompt in front."""
        turns = self.messages or ({"role": "user", "content": self.prompt or ""},)
        if system is None or turns[0]["role"] == "system":
            return turns
        return ({"role": "system", "content": system}, *turns)

    def expected_texts(self) -> tuple[str, ...]:
        """Return the expected answers as a tuple, empty where there is none."""
        if self.expected is None:
            return ()
        return (self.expected,) if isinstance(self.expected, str) else self.expected


class Completion(Record):
    """A model's answer to one case, with the facts about its generation."""

    text: Text | None = None
    """The answer, without the thoughts before it; empty where the thoughts never ended. None where
    the suite asked for log-likelihoods only."""
    finish_reason: str | None = None
    """`stop`, `length` (the token limit cut it) or the backend's own word; None if unknown."""
    input_tokens: int | None = Field(default=None, ge=0, le=MOST)
    """Tokens of the prompt."""
    output_tokens: int | None = Field(default=None, ge=0, le=MOST)
    """Tokens of thoughts and answer, the end marker not counted."""
    latency_s: float | None = Field(default=None, ge=0, le=MOST)
    """Seconds from sending to the last token; of the whole batch where it ran in one."""
    batch_size: int | None = Field(default=None, ge=1, le=MOST)
    """Completions that were written together in that time; None if unknown."""
    cost: float | None = Field(default=None, ge=0, le=MOST)
    """Price in US dollars; None if unknown."""
    attempts: int | None = Field(default=None, ge=1, le=MOST)
    """Times that a model behind a network was asked for it; None of others."""
    answered_by: Text | None = None
    """The model that answered by the provider's report, with its configuration; None elsewhere."""
    choice_logprobs: tuple[float, ...] | None = None
    """Natural-log likelihood of each choice's text after the prompt, summed over its tokens."""
    answer_logprob: float | None = None
    """Mean natural-log probability per token of the expected answer."""
    bits_per_byte: float | None = Field(default=None, ge=0, le=MOST)
    """Negative base-2 log-likelihood of the prompt's text over its length in UTF-8 bytes."""
    scores: dict[Text, float | None] | None = Field(default=None, exclude_if=_is_none)
    """Scores by another tool: score key → value, None if unscored; absent elsewhere."""
    errors: dict[Text, Text] | None = Field(default=None, exclude_if=_is_none)
    """Score key → why the other tool left it unscored; absent elsewhere."""
    prompt_sha256: str | None = Field(default=None, exclude_if=_is_none)
    """Hash of the prompt that the other tool sent; absent where it is not known."""
    reasoning: Text | None = Field(default=None, exclude_if=_is_none)
    """The thoughts before the answer, without their tags; absent without any, or if hidden."""
    reasoning_tokens: int | None = Field(default=None, ge=0, le=MOST, exclude_if=_is_none)
    """Tokens of the thoughts and their tags, a part of `output_tokens`; absent if unknown."""
    reasoning_s: float | None = Field(default=None, ge=0, le=MOST, exclude_if=_is_none)
    """Seconds until the thoughts had ended, a part of `latency_s`; absent if unknown."""
    reasoning_closed: bool | None = Field(default=None, exclude_if=_is_none)
    """Whether the thoughts ended, so that an answer could begin; absent without thoughts."""
    reasoning_tags: tuple[Text, Text] | None = Field(default=None, exclude_if=_is_none)
    """The text before the thoughts and the text between thoughts and answer, as written: with them
    the completion can be put together again. Absent where a server separated the two."""
    episode: EpisodeRecord | None = Field(default=None, exclude_if=_is_none)
    """The turns of a completion that an environment answered; absent elsewhere."""

    @property
    def thinks(self) -> bool:
        """Whether the model wrote thoughts, hidden ones included."""
        return self.reasoning is not None or bool(self.reasoning_tokens)


class Score(Record):
    """One metric's value for one completion, or the reason why there is none."""

    value: float | None = Field(default=None, ge=-LARGEST, le=LARGEST)
    """The value; None if unscored."""
    reason: Text | None = None
    """Why it is unscored, or what the metric found (`'urgency' is a required property`)."""
    parts: dict[str, float] | None = None
    """Named sub-scores that explain the value; they gate nothing."""
    counts: tuple[float, ...] | None = None
    """Sums of a corpus metric over the cases (BLEU's matches and lengths); None for others."""

    @classmethod
    def of(
        cls,
        value: float,
        reason: str | None = None,
        *,
        parts: Mapping[str, float] | None = None,
        counts: Sequence[float] | None = None,
    ) -> Score:
        """Return a score, unscored if `value` is not finite or too large to be one."""
        if not math.isfinite(value):
            return cls.unscored(f"the metric returned {value!r}, which is not a number")
        if abs(value) > LARGEST:
            return cls.unscored(f"the metric returned {value:g}, too large to be a measurement")
        return cls(
            value=float(value),
            reason=reason,
            parts=None if parts is None else dict(parts),
            counts=None if counts is None else tuple(counts),
        )

    @classmethod
    def unscored(cls, reason: str) -> Score:
        """Return a score without a value, for `reason`."""
        return cls(value=None, reason=reason)

    @model_validator(mode="after")
    def _unscored_says_why(self) -> Score:
        if self.value is None and not self.reason:
            raise ValueError("an unscored Score needs a reason: Score.unscored(reason)")
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ScoreRow:
    """A score with its place in the run; one line of `scores.jsonl`."""

    suite: str
    metric: str
    case: str
    arm: str
    value: float | None = Field(default=None, ge=-LARGEST, le=LARGEST)
    """Mean over the case's samples; None if one of them is unscored, of episodes if more than half
    are."""
    reason: Text | None = None
    """Why it is unscored, or what the metric found in the first sample."""
    parts: dict[str, float] | None = None
    """Named sub-scores, each the mean over the samples that have it."""
    counts: tuple[float, ...] | None = None
    """Statistics that a corpus metric sums over the cases, summed over the samples."""
    unscored: tuple[int, int] | None = None
    """Unscored episodes of the case, and all of them; None where none is unscored, or where the
    completions are no episodes."""
    bounds: tuple[float, float] | None = None
    """Least and largest value that the case would have with its unscored episodes; None where all
    are scored, the value is missing, or the metric has no range."""


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


TEMPLATES_OF = ("base", "tuned")  # arms whose chat template a suite can give to all arms


class GenerationSettings(Record):
    """How prompts are made and completions are decoded; the same for every arm."""

    system: str | None = None
    template: str = "chat"
    """`chat` applies the model's chat template, `none` sends the prompt as it is."""
    max_new_tokens: int = MAX_NEW_TOKENS
    temperature: float = TEMPERATURE
    """0 decodes greedily."""
    top_p: float = 1.0
    samples: int = 1
    """Completions per case and arm; more than one needs a temperature."""
    stop: tuple[str, ...] = ()
    """Texts that end a completion; they are cut off."""
    latency_cases: int = LATENCY_CASES
    """Cases of the latency pass, where a metric asks for it."""
    thinking: Literal["on", "off", "template"] = Field(
        default="template", exclude_if=lambda value: value == "template"
    )
    """Whether models think before they answer; `template` leaves it to the chat template."""
    thinking_budget: int | None = Field(default=None, ge=1, exclude_if=_is_none)
    """Most tokens of the thoughts, in addition to `max_new_tokens` for the answer."""
    thinking_tags: tuple[Text, ...] | None = Field(default=None, exclude_if=_is_none)
    """The tags before and after thoughts, where they are none of the known ones; with an empty
    array the whole text is the answer."""
    chat_template: Text | None = Field(default=None, exclude_if=_is_none)
    """The chat template of all arms: `TEMPLATES_OF`, or its text; None leaves each its own."""
    chat_template_kwargs: Json | None = Field(default=None, exclude_if=_is_none)
    """Variables of the chat template, here or at a server."""

    @property
    def budget(self) -> int | None:
        """Most tokens of the thoughts; None where they share `max_new_tokens` with the answer."""
        if self.thinking == "off":
            return None
        if self.thinking == "on" and self.thinking_budget is None:
            return THINKING_BUDGET
        return self.thinking_budget

    @property
    def most_tokens(self) -> int:
        """Largest number of tokens of a completion, thoughts and answer together."""
        return self.max_new_tokens + (self.budget or 0)

    def of(self, case: Case) -> GenerationSettings:
        """Return the settings with the case's own in place of the suite's; stop texts add up."""
        names = ("max_new_tokens", "temperature", "top_p")
        own: dict[str, Any] = {name: getattr(case, name) for name in names}
        if case.stop:
            own["stop"] = (*self.stop, *case.stop)
        own = {name: value for name, value in own.items() if value is not None}
        return self.model_copy(update=own) if own else self


DECIDING_SETTINGS = ("max_new_tokens", "temperature", "top_p", "stop")
"""Settings that decide what an arm writes."""


def written_settings(generation: Mapping[str, Any], case: Case) -> dict[str, Any]:
    """Return what, besides the prompt, decided a written answer."""
    offered = {"tools": case.tools, "tool_choice": case.tool_choice}
    return {**{name: generation[name] for name in DECIDING_SETTINGS}, **offered}
