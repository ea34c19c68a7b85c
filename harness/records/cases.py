"""Cases: one prompt each, with what is needed to score its answer.

Example:
    >>> Case(id="r1", prompt="Where is my parcel?", expected="shipping").input_messages()
    ({'role': 'user', 'content': 'Where is my parcel?'},)
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, PrivateAttr, WithJsonSchema
from pydantic.json_schema import SkipJsonSchema

from tunegate.harness.records.images import CaseImage
from tunegate.harness.records.record import Json, Record, Text, is_none

# `case.schema.json` is generated from the fields of `Case`. `json_schema_extra` and
# `WithJsonSchema` constrain files only: some probes build cases with an empty prompt.
FilledText = Annotated[Text, Field(json_schema_extra={"minLength": 1})]
"""A text that must not be empty in a file."""
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


CodeTest = Annotated[
    FilledText | Json,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["output"],
                    "properties": {
                        "code": {"type": "string"},
                        "input": {"type": "string"},
                        "output": {"type": "string"},
                    },
                },
            ]
        }
    ),
]
"""A test of an answer's code: Python code, or what the program reads and must write."""


VARIANT = "variant"
"""Key of the tags that tell the wordings of a case apart."""
PLAIN = f"{VARIANT}:plain"
"""Tag of the cases of a suite with `[variants]` that are not variants."""


class Case(Record):
    """One prompt with what is needed to score its answer."""

    id: Text = Field(min_length=1, max_length=200)
    """Stable name of the case; by default the hash of its content."""
    prompt: FilledText | None = None
    """The user's text, unless there are `messages`."""
    messages: Annotated[tuple[ChatMessage, ...], _FILLED_LIST] | None = None
    """A whole conversation in the chat format (`role`, `content`), ending with the user's turn. The
    content is a text, or a list of text and image parts."""
    expected: Text | Annotated[tuple[Text, ...], _FILLED_LIST] | None = None
    """The right answer, or several right answers."""
    context: Text | None = None
    """Source text that a faithful answer rests on."""
    answer_schema: Json | None = Field(default=None, alias="schema")
    """JSON schema of this case's answer, if it differs from the suite's."""
    tools: tuple[Json, ...] | None = None
    """Tool definitions offered to the model, in the chat template's format."""
    expected_calls: tuple[ExpectedCall, ...] | None = None
    """The calls of a right answer, with a list of allowed values for each argument; "" in the list
    means that the argument may be left out. Keys of an allowed object have such lists, too. An
    empty list means that no tool may be called."""
    choices: tuple[FilledText, ...] | None = Field(default=None, json_schema_extra={"minItems": 2})
    """Texts of the possible answers of a multiple-choice question."""
    answer: ChoiceIndex | None = None
    """The right choice: its index from 0; a file may write its letter."""
    delimiter: Text | None = None
    """Text between a plain prompt and a choice or the expected answer; a space by default."""
    stop: tuple[FilledText, ...] | None = None
    """Texts that end a completion of this case, in addition to the suite's."""
    max_new_tokens: int | None = Field(default=None, ge=1, le=100_000, exclude_if=is_none)
    """Longest completion of this case in tokens, instead of the suite's."""
    temperature: float | None = Field(default=None, ge=0, exclude_if=is_none)
    """Temperature of this case, instead of the suite's; 0 decodes greedily."""
    top_p: float | None = Field(default=None, gt=0, le=1, exclude_if=is_none)
    """Nucleus sampling of this case, instead of the suite's."""
    tool_choice: FilledText | Json | None = Field(default=None, exclude_if=is_none)
    """Which tool must be called, in OpenAI's form; chat APIs only."""
    response_format: Json | None = Field(default=None, exclude_if=is_none)
    """The form of the answer, as in OpenAI's API; chat APIs only."""
    rules: Json | None = Field(default=None, json_schema_extra={"minProperties": 1})
    """Constraints for the metric `format`, rule → value (`{"max_words": 50}`)."""
    database: FilledText | None = Field(default=None, exclude_if=is_none)
    """Name of the SQLite database that the metric `sql_result` asks, such as `shop`."""
    tests: Annotated[tuple[CodeTest, ...], _FILLED_LIST] | None = Field(
        default=None, exclude_if=is_none
    )
    """Tests of the answer's code, which the model does not see: each is Python code that uses what
    the answer defines, or a program's `input` and `output`, with `code` to add to the program."""
    objects: bool = Field(default=False, exclude_if=operator.not_)
    """Whether `tests` in Python work with objects of the answer's classes, such as a queue that
    they fill; otherwise they get plain values only."""
    prefix: Text | None = Field(default=None, exclude_if=is_none)
    """Code that the answer continues, such as imports and a function's first line."""
    positive: Annotated[tuple[FilledText, ...], _FILLED_LIST] | None = Field(
        default=None, exclude_if=is_none
    )
    """The relevant candidates for a query (`prompt`) that a reranker or embedder ranks."""
    negative: Annotated[tuple[FilledText, ...], _FILLED_LIST] | None = Field(
        default=None, exclude_if=is_none
    )
    """The other candidates."""
    grades: Annotated[tuple[float, ...], _FILLED_LIST] | None = Field(
        default=None, exclude_if=is_none
    )
    """How relevant each of `positive` is, above 0; 1 by default."""
    row: Json | None = Field(default=None, exclude_if=is_none)
    """Keyword arguments for the `reset` of an episode's environment."""
    tags: tuple[FilledText, ...] = ()
    """Labels such as the subject, for slices of the report; they are not clusters."""
    cluster: FilledText | None = None
    """Name shared by cases that belong together: one passage, one customer."""
    variant_of: SkipJsonSchema[Text | None] = Field(default=None, exclude_if=is_none)
    """Id of the case that it words in another way; only `[variants]` of a suite makes such."""
    without_system: SkipJsonSchema[bool] = Field(default=False, exclude_if=operator.not_)
    """Whether the model sees no system prompt, although the suite has one; as `variant_of`."""

    _where: str = PrivateAttr(default="")
    _images: tuple[CaseImage, ...] = PrivateAttr(default=())

    def __eq__(self, other: object) -> bool:
        """Compare the fields, not where the cases were read from."""
        return isinstance(other, Case) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        """Return a hash of the id."""
        return hash(self.id)

    @property
    def where(self) -> str:
        """File and line that the case was read from; empty if it was made in memory."""
        return self._where

    def with_place(self, where: str) -> Case:
        """Return the case with the file and line that it was read from."""
        case = self.model_copy()
        case._where = where
        return case

    @property
    def images(self) -> tuple[CaseImage, ...]:
        """The images in its messages, in order; empty in a case that was read from a run folder."""
        return self._images

    def with_images(self, messages: Sequence[dict[str, Any]], images: Sequence[CaseImage]) -> Case:
        """Return the case with messages whose image parts name these images."""
        case = self.model_copy(update={"messages": tuple(messages)})
        case._images = tuple(images)
        return case

    def input_messages(self, system: str | None = None) -> tuple[dict[str, Any], ...]:
        """Return the conversation the model sees, with the suite's system prompt in front."""
        turns = self.messages or ({"role": "user", "content": self.prompt or ""},)
        if system is None or self.without_system or turns[0]["role"] == "system":
            return turns
        return ({"role": "system", "content": system}, *turns)

    def counts_for(self, tag: str | None) -> bool:
        """Return whether gates on a tag rest on the case; those without, on all but variants."""
        return self.variant_of is None if tag is None else tag in self.tags

    def expected_texts(self) -> tuple[str, ...]:
        """Return the expected answers as a tuple."""
        if self.expected is None:
            return ()
        return (self.expected,) if isinstance(self.expected, str) else self.expected

    @property
    def candidates(self) -> dict[str, str]:
        """Name → text of each candidate of a query: `p1`, `p2` … relevant, `n1`, `n2` … not."""
        lists = {"p": self.positive or (), "n": self.negative or ()}
        return {f"{k}{i}": text for k, texts in lists.items() for i, text in enumerate(texts, 1)}

    @property
    def candidates_text(self) -> str:
        """The candidates with their names, as people read them; empty without candidates."""
        return "\n".join(f"{name}: {text}" for name, text in self.candidates.items())

    @property
    def allows_empty(self) -> bool:
        """Whether an empty answer can be right: no call is wanted, or the right answer is empty."""
        return self.expected_calls == () or "" in map(str.strip, self.expected_texts())
