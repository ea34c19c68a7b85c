"""Answers that were recorded elsewhere, and what is known of their requests."""

from __future__ import annotations

import operator
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StrictFloat

from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case, ChatMessage
from tunegate.harness.records.record import MAX_AMOUNT, Record, Text, is_none


class RecordedRequest(Record):
    """What is known of a recorded arm's request for one case; absent fields are unknown."""

    as_case: bool = Field(default=False, exclude_if=operator.not_)
    """In a run folder: whether it was the case's conversation, which is not repeated."""
    rendered: Text | None = Field(default=None, exclude_if=is_none)
    """The prompt after the chat template, as tunegate renders it."""
    token_sha256: str | None = Field(default=None, exclude_if=is_none)
    """Hash of the rendered prompt's token ids (`Prompt.sha256`)."""
    prompt: Text | None = Field(default=None, exclude_if=is_none)
    """The prompt as it was recorded, before or after a chat template."""
    messages: tuple[dict[str, Any], ...] | None = Field(default=None, exclude_if=is_none)
    """The conversation in the chat format, with its system prompt."""
    prompt_sha256: Text | None = Field(default=None, exclude_if=is_none)
    """A hash by the recorder's own method, comparable only with others of its kind."""
    content_sha256: str | None = Field(default=None, exclude_if=is_none)
    """Hash of the prompt in another tool's results (`result_reader.content_id`)."""
    expected_sha256: str | None = Field(default=None, exclude_if=is_none)
    """Hash of the right answer there."""
    rules: dict[Text, str] = Field(default_factory=dict, exclude_if=operator.not_)
    """Name → hash of what they say about how the case was answered and scored."""
    score_rules: dict[Text, str] = Field(default_factory=dict, exclude_if=operator.not_)
    """Score → hash of what they say about that score alone."""
    settings: dict[str, Any] | None = Field(default=None, exclude=True)
    """How the answer was generated: `temperature`, `max_new_tokens`, `tools` … ; absent keys are
    unknown."""
    case: Case | None = Field(default=None, exclude=True)
    """The case that the answer was judged for, in a run of tunegate: numbers of its candidates and
    choices are known by their places only."""
    case_messages: tuple[dict[str, Any], ...] | None = Field(default=None, exclude=True)
    """The conversation of that case, with the suite's system prompt."""


UNKNOWN_REQUEST = RecordedRequest()


class RecordedAnswer(Completion):
    """A line of the files that `replay:` reads: an answer, and what is known of its request."""

    model_config = ConfigDict(populate_by_name=False)

    id: str
    """The case."""
    text: Text | None = Field(default=None, alias="completion")
    candidate_scores: tuple[StrictFloat, ...] | None = Field(default=None, exclude_if=is_none)
    sample: int = Field(default=0, ge=0, le=MAX_AMOUNT)
    """Index of the repetition, from 0."""
    prompt: Text | None = None
    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1)] | None = None
    prompt_sha256: Text | None = None
    """A hash of what was sent, made in the same way for every arm."""
    example: bool = False
    """Whether `tunegate init` wrote the line to show the gate: no model gave this answer."""

    @classmethod
    def of(cls, name: str, completion: Completion) -> RecordedAnswer:
        """Return a completion as the answer to a case."""
        fields = {field: getattr(completion, field) for field in completion.model_fields_set}
        return cls(id=name, completion=fields.pop("text", None), **fields)

    @property
    def answer(self) -> Completion:
        """The answer; thoughts apart from it have ended if a text follows them."""
        written = self.model_fields_set & Completion.model_fields.keys() - {"prompt_sha256"}
        fields = {name: getattr(self, name) for name in written}
        if self.reasoning is not None and self.reasoning_closed is None:
            fields["reasoning_closed"] = bool((self.text or "").strip())
        return Completion(**fields)

    @property
    def request(self) -> RecordedRequest:
        """What the line knows of the request."""
        if self.prompt is None and self.messages is None and self.prompt_sha256 is None:
            return UNKNOWN_REQUEST
        return RecordedRequest(
            prompt=self.prompt, messages=self.messages, prompt_sha256=self.prompt_sha256
        )

    def line(self) -> dict[str, Any]:
        """Return the line as it is written."""
        written = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return {"id": self.id, **written}
