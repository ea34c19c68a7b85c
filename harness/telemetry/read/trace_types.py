"""Types of the import: `Span`, `ModelCall`, and `ImportReport`, which counts what was not used.

`Span` has the fields of OTLP's `Span` (opentelemetry-proto `trace/v1`), whatever program and format
wrote it. `ModelCall` is one request to a language model.

Example:
    >>> reading = ImportReport()
    >>> reading.leave_out("a line that is not JSON", "traces.jsonl:17")
    >>> reading.sentences()
    ['left out 1: a line that is not JSON (traces.jsonl:17)']
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.contracts.reasoning import call_text
from tunegate.harness.records.answers import Completion, reported_amount
from tunegate.harness.records.wording import count_noun

MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading raises where a record breaks the rules of its format."""


@dataclass(slots=True)
class OccurrenceCount:
    """How often something occurred, and where first."""

    count: int
    first: str


@dataclass(slots=True)
class ImportReport:
    """What was read and what was left out, filled in while the spans go by."""

    files: int = 0
    spans: int = 0
    calls: int = 0
    """Requests to language models among the spans."""
    distinct: int = 0
    """Calls that can be replayed, are selected, and do not repeat an earlier prompt."""
    left_out: dict[str, OccurrenceCount] = field(default_factory=dict)
    """Unusable spans, by reason."""
    repaired: dict[str, OccurrenceCount] = field(default_factory=dict)
    """Changed values, by kind of change."""

    def leave_out(self, reason: str, where: str) -> None:
        """Count something that is not used; `reason` is a noun phrase without numbers in it."""
        _note(self.left_out, reason, where)

    def repair(self, what: str, where: str) -> None:
        """Count something that was read with a change."""
        _note(self.repaired, what, where)

    def found(self, cases: int) -> str:
        """Return in a line what was read, and how many cases came of it."""
        counts = ((self.files, "file"), (self.spans, "span"), (self.calls, "model call"))
        return (
            f"{', '.join(map(count_noun, *zip(*counts, strict=True)))} → "
            f"{count_noun(cases, 'case')}"
        )

    def sentences(self) -> list[str]:
        """Return a line for each reason, the most frequent first."""
        return [*_lines("left out", self.left_out), *_lines("repaired", self.repaired)]


def _note(notes: dict[str, OccurrenceCount], what: str, where: str) -> None:
    if what in notes:
        notes[what].count += 1
    else:
        notes[what] = OccurrenceCount(1, where)


def _lines(verb: str, notes: dict[str, OccurrenceCount]) -> list[str]:
    ordered = sorted(notes.items(), key=lambda item: -item[1].count)
    return [
        f"{verb} {noted.count}: {what} ({'first ' if noted.count > 1 else ''}{noted.first})"
        for what, noted in ordered
    ]


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened during a span; a log record that names the span counts as one."""

    name: str
    attributes: Mapping[str, Any]
    body: Any = None
    """The body of a log record: a text or a mapping; None for an event of the span itself."""


@dataclass(frozen=True, slots=True)
class Span:
    """One unit of work of a trace."""

    trace_id: str
    """32 hex digits."""
    span_id: str
    """16 hex digits."""
    parent_id: str | None
    """16 hex digits; None for a root."""
    name: str
    start_s: float
    """Unix time in seconds."""
    end_s: float
    """Unix time in seconds."""
    attributes: Mapping[str, Any]
    where: str
    """File and line or record, such as `traces.jsonl:17`, for messages."""
    events: tuple[SpanEvent, ...] = ()
    resource: Mapping[str, Any] = field(default_factory=dict)
    """Attributes of the program that wrote it (`service.name`)."""
    scope: str = ""
    """Name of the instrumentation library."""
    error: str | None = None
    """The status message of a failed span, empty where it has none; None if it did not fail."""


CONVERSATION_KEYS = (
    "gen_ai.conversation.id",
    "session.id",
    "langfuse.session.id",
    "mlflow.trace.session",
    "traceloop.association.properties.session_id",
    "ai.telemetry.metadata.sessionId",
    "langsmith.metadata.session_id",
    "langsmith.metadata.thread_id",
    "gcp.vertex.agent.session_id",
)
"""Attributes that name the conversation or session of a call: OpenTelemetry's generative-AI and
session conventions (the latter OpenInference's too), Langfuse, MLflow, OpenLLMetry, Vercel's AI
SDK, LangSmith, Google's ADK."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A request to a model with what came back, in the form of OpenAI's chat messages."""

    span: Span
    """The span it was read from."""
    convention: str
    """Name of the convention that read it."""
    messages: tuple[Mapping[str, Any], ...]
    """Sent messages: `role` and `content` (a text), with `tool_calls`, `tool_call_id` and `name` if
    there are any; a system prompt comes first, with the role `system`."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """Tool definitions that were offered: `{"type": "function", "function": {…}}`."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the request under OpenAI's names: `temperature`, `top_p`, `max_tokens`, `seed`,
    `stop`, `frequency_penalty`, `presence_penalty`, `tool_choice`, `response_format` …"""
    unrecorded: frozenset[str] = frozenset()
    """Settings that its recorder does not write: production may have set them."""
    answer: str | None = None
    """The text of the first answer; None if the trace does not hold it."""
    answer_calls: tuple[Mapping[str, Any], ...] = ()
    """Tool calls of the first answer: `{"type": "function", "function": {"name", "arguments"}}`,
    with `arguments` as the JSON text that the model wrote."""
    finish_reason: str | None = None
    """`stop`, `length`, `tool_calls`, `content_filter` or the provider's own word, in small
    letters."""
    reply_id: str | None = None
    """The provider's id of the reply."""
    model: str | None = None
    """The model that was asked for."""
    provider: str | None = None
    """`openai`, `anthropic` …"""
    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    """Tokens of thoughts, among `output_tokens`."""
    cost: float | None = None
    """Price in US dollars."""
    unreplayable: str | None = None
    """Why it cannot be asked again (`an image in message 2`, `no content was captured`)."""
    has_gaps: bool = False
    """Whether something is missing that another record of the same request may hold."""
    never_replayable: bool = False
    """Whether no record of it could be asked again: it holds an image, audio, a video or a file, or
    was answered with the provider's own tools."""
    session: str | None = None
    """The conversation or session that spans of the call's trace name, if it is a single one."""

    @property
    def latency_s(self) -> float:
        """Seconds from the call's start to its end."""
        return max(self.span.end_s - self.span.start_s, 0.0)

    @property
    def completion(self) -> Completion:
        """The first answer, with its calls written out; without a text if it was not recorded."""
        functions = [made.get("function", made) for made in self.answer_calls]
        calls = [
            call_text(function.get("name"), function.get("arguments")) for function in functions
        ]
        return Completion(
            text="\n".join(filter(None, [self.answer, *calls])) if calls else self.answer,
            finish_reason="stop" if self.finish_reason == "tool_calls" else self.finish_reason,
            input_tokens=reported_amount(self.input_tokens),
            output_tokens=reported_amount(self.output_tokens),
            reasoning_tokens=reported_amount(self.reasoning_tokens),
            latency_s=reported_amount(round(self.latency_s, 6) or None),
            cost=reported_amount(self.cost),
        )

    @property
    def conversation(self) -> str | None:
        """The conversation or session that the call's span or else its trace names."""
        return named_conversation(self.span) or self.session


def named_conversation(span: Span) -> str | None:
    """Return the conversation or session that a span names; None if it names none."""
    named = (span.attributes.get(key) for key in CONVERSATION_KEYS)
    return next((str(name) for name in named if name not in (None, "")), None)


ROUTES = (
    "http.route",
    "gen_ai.agent.name",
    "gen_ai.workflow.name",
    "traceloop.workflow.name",
    "service.name",
)
"""Attributes of a call's span or program that name the part of the product it served."""


def route_of(known: Mapping[str, Any]) -> str:
    """Return the route, agent or service that a call served, by its attributes; "" if unknown."""
    return next((str(known[name]) for name in ROUTES if known.get(name)), "")
