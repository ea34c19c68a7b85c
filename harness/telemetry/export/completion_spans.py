"""Completion spans: one per question and arm, with redacted content.

Prompts and answers in the form of the GenAI conventions, after redaction. They are in spans only if
somebody asked for it. Everything that is text goes through the redaction first, also inside tool
definitions and arguments; names of fields do not.

The turns and calls of an episode are spans within its completion's:

    invoke_agent SUITE        the completion's span
    ├── chat MODEL            one per turn
    └── execute_tool NAME     one per call, behind the turn that made it

An episode knows how long each turn and call took, and not when each began: they are put one after
the other from its start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tunegate.harness.contracts.model import Prompt
from tunegate.harness.records.answers import CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.episodes import EpisodeCall, EpisodeTurn
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.manifest import Manifest, MetricRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.telemetry.export import attribute_names as a
from tunegate.harness.telemetry.export import otlp_json
from tunegate.harness.telemetry.export.resources import ArmAttributes, ModelAttributes
from tunegate.harness.telemetry.export.run_metrics import RunTotals
from tunegate.harness.telemetry.export.run_records import CaseRecord, RunRecords, TraceIdentifiers

_ERRORS = {"error": "completion_error", "missing": "completion_missing"}
"""Status of a cell → `error.type` of its span; in words it is the span's status."""


class CompletionSpans:
    """Makes the spans of a run's completions, and counts them."""

    def __init__(
        self,
        run: RunRecords,
        ids: TraceIdentifiers,
        content: ContentCapture | None,
        totals: RunTotals,
    ) -> None:
        """Take the run, its ids, what is written of prompts and answers, and who counts."""
        self._run, self._ids, self._content, self._totals = run, ids, content, totals
        self._arms = ArmAttributes(run.manifest)
        self._hashed: tuple[Prompt | None, dict[str, Any]] = (None, {})

    def span(
        self,
        record: CaseRecord,
        stored: StoredAnswer,
        parent_id: str,
    ) -> otlp_json.SpanText:
        """Return the span of one cell.

        Args:
            record: Its case.
            stored: The cell.
            parent_id: The case's span.
        """
        asked = self._arms.asked(record.suite, stored.cell.arm, stored.cell.kind, record.case)
        self._totals.completion(stored, asked)
        own = self._ids.cell(stored.cell)
        values = self._values(record, stored, asked.model.name) | self._shown(record, stored)
        return otlp_json.SpanText(
            name=asked.span_name,
            span_id=own,
            parent_id=parent_id,
            start=self._run.start(stored),
            end=self._run.end(stored),
            attributes=otlp_json.join_attributes(asked.fixed, otlp_json.attributes_json(values)),
            kind=asked.model.kind,
            error=None if stored.status == "ok" else stored.error or "",
        )

    def _values(self, record: CaseRecord, stored: StoredAnswer, model: str) -> dict[str, Any]:
        """Return what is a completion's own."""
        cell, done = stored.cell, stored.completion
        values: dict[str, Any] = {
            a.ERROR_TYPE: _ERRORS.get(stored.status),
            a.SAMPLE_INDEX: cell.sample,
            a.CACHE_HIT: stored.cache_hit,
            a.STORE_KEY: cell.key,
            **self._hashes(record.prompts.get(cell.arm)),
        }
        if done is not None:
            values |= {
                a.RESPONSE_MODEL: done.answered_by or model,
                a.RESPONSE_ID: cell.key,
                a.FINISH_REASONS: [done.finish_reason] if done.finish_reason else None,
                a.INPUT_TOKENS: done.input_tokens,
                a.OUTPUT_TOKENS: done.output_tokens,
                a.REASONING_TOKENS: done.reasoning_tokens,
                a.BATCH_SIZE: done.batch_size,
            }
        if done is not None and done.text is not None:
            values |= {a.OUTPUT_SHA256: sha256(done.text), a.REQUEST_STOP: _stops(record)}
        return values

    def _hashes(self, prompt: Prompt | None) -> dict[str, Any]:
        """Return a prompt's hashes; as a rule the arms share it, and it is hashed once."""
        if prompt is not self._hashed[0] and prompt is not None:
            tokens = None if prompt.token_ids is None else prompt.sha256
            found = {a.PROMPT_SHA256: sha256(prompt.text), a.PROMPT_TOKENS_SHA256: tokens}
            self._hashed = prompt, found
        return {} if prompt is None else self._hashed[1]

    def _shown(self, record: CaseRecord, stored: StoredAnswer) -> dict[str, Any]:
        """Return prompt, tools and answer, where they are written."""
        content, done = self._content, stored.completion
        if content is None:
            return {}
        values = {}
        if record.case is not None:
            case = case_with_system(record.case, record.suite.generation)
            values[a.INPUT_MESSAGES] = content.json(input_messages(case.input_messages()))
            if case.tools:
                values[a.TOOL_DEFINITIONS] = content.json(tool_definitions(case.tools))
        if done is not None and done.text is not None:
            values[a.OUTPUT_MESSAGES] = content.json(output_messages(done))
        return values


def _stops(record: CaseRecord) -> list[str] | None:
    """Return the texts that end a completion: the suite's and the case's own."""
    own = record.case.stop if record.case else None
    return [*record.suite.generation.get("stop", ()), *(own or ())] or None


Redact = Callable[[str], str]
REDACTED = "__REDACTED__"
"""Replacement for a text whose redaction failed (the marker of OpenInference)."""


@dataclass
class ContentCapture:
    """Parts of prompts and answers that are written."""

    redact: Redact | None = None
    """Takes out what nobody may read; None leaves all as it is."""
    failed: int = 0
    """Texts that the redaction raised on; none of them was written."""

    def clean(self, value: Any) -> Any:
        """Return a JSON value with every text in it redacted."""
        if self.redact is None:
            return value
        if isinstance(value, str):
            return self._redacted(value)
        if isinstance(value, Mapping):
            return {name: self.clean(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.clean(item) for item in value]
        return value

    def json(self, value: Any) -> str:
        """Return a value as the JSON text that a span's attribute holds, redacted.

        Keys keep their order, in which a chat template writes tools into the prompt.
        """
        return otlp_json.json_text(self.clean(value))

    def _redacted(self, text: str) -> str:
        assert self.redact is not None
        try:
            found = self.redact(text)
        except Exception:  # the user's own code: what it could not read is not shown
            found = None
        if isinstance(found, str):
            return found
        self.failed += 1
        return REDACTED


def case_with_system(case: Case, settings: Mapping[str, Any]) -> Case:
    """Return a case as the models saw it: the suite's system prompt is part of it.

    Asked without a system prompt and rendered as before, it gives the same prompt.

    Args:
        case: The case.
        settings: The suite's generation settings.
    """
    system = settings.get("system")
    if system is None:
        return case
    if settings.get("template") == "none":
        return case.model_copy(update={"prompt": f"{system}\n\n{case.prompt}"})
    turns = case.input_messages(system)
    return case.model_copy(update={"prompt": None, "messages": turns})


def input_messages(turns: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a conversation in the chat format as the conventions have it."""
    return [_message(turn) for turn in turns]


def output_messages(completion: Completion) -> list[dict[str, Any]]:
    """Return a completion as the conventions have it, thoughts as a part of their own."""
    thoughts = completion.reasoning
    before = [] if thoughts is None else [{"type": "reasoning", "content": thoughts}]
    return [
        {
            "role": "assistant",
            "parts": [*before, {"type": "text", "content": completion.text}],
            "finish_reason": completion.finish_reason or "unknown",
        }
    ]


def tool_definitions(tools: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return tools in the chat template's format as the conventions have them: flat."""
    return [{"type": "function", **tool.get("function", tool)} for tool in tools]


def _message(turn: Mapping[str, Any]) -> dict[str, Any]:
    role, said = turn.get("role"), turn.get("content")
    if role == "tool":
        answer = {"type": "tool_call_response", "id": turn.get("tool_call_id"), "response": said}
        parts = [answer]
    else:
        parts = [*_content_parts(said), *(_call(call) for call in turn.get("tool_calls") or ())]
    name = {"name": turn["name"]} if turn.get("name") else {}
    return {"role": role, "parts": parts, **name}


def _content_parts(content: Any) -> list[dict[str, Any]]:
    if content is None:
        return []
    if isinstance(content, str):
        return [{"type": "text", "content": content}]
    return [
        {"type": "text", "content": part["text"]} if part.get("type") == "text" else dict(part)
        for part in content
    ]


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function", call)
    made = {"type": "tool_call", "name": function.get("name")}
    if call.get("id"):
        made["id"] = call["id"]
    return {**made, "arguments": function.get("arguments")}


UNSCORED = "unscored"
"""`error.type` of a score that is missing."""


@dataclass(frozen=True, slots=True)
class MetricEvaluator:
    """A metric of a suite, with what all its results share."""

    metric: MetricRecord
    version: str
    """Of tunegate, for a rule; the hash of the prompt, for a judge."""
    result: str
    """Attributes of every result on its span, as text."""
    known: str
    """Additional attributes of a log record, which is read alone: range, direction, version."""
    check: str
    """Attributes of every check, as text."""

    @classmethod
    def of(cls, metric: MetricRecord, tunegate: str) -> MetricEvaluator:
        """Return the evaluator that a metric is."""
        judge = metric.judge
        version = judge.prompt_sha256 if judge else metric.signature or tunegate
        low, high = metric.range or (None, None)
        shared = {
            a.EVALUATION_NAME: metric.name,
            a.EVALUATOR_KIND: "LLM" if judge else "CODE",
            a.EVALUATOR_ID: judge.name if judge else metric.use,
        }
        known = {
            a.EVALUATOR_VERSION: version,
            a.SCORE_MIN: low,
            a.SCORE_MAX: high,
            a.HIGHER_IS_BETTER: metric.higher_is_better,
        }
        named = {a.CHECK_NAME: metric.name, a.CHECK_VERSION: version}
        texts = (otlp_json.attributes_json(values) for values in (shared, known, named))
        return cls(metric, version, *texts)

    def result_of(self, row: ScoreRow, response_id: str, content: ContentCapture | None) -> str:
        """Return the attributes of one result, as text."""
        values = {
            a.SCORE_VALUE: row.value,
            a.SCORE_LABEL: self._label(row),
            a.RESPONSE_ID: response_id,
            a.ERROR_TYPE: UNSCORED if row.value is None else None,
        }
        if content is not None and row.reason:
            values[a.EXPLANATION] = content.clean(row.reason)
        return otlp_json.join_attributes(self.result, otlp_json.attributes_json(values))

    def check_of(self, row: ScoreRow) -> str:
        """Return the attributes of the check that made a score, as text."""
        values = {
            a.ARM: row.arm,
            a.SCORE_VALUE: row.value,
            a.ERROR_TYPE: UNSCORED if row.value is None else None,
        }
        return otlp_json.join_attributes(self.check, otlp_json.attributes_json(values))

    def _label(self, row: ScoreRow) -> str | None:
        """Return pass or fail, where there is nothing between them."""
        if not self.metric.binary or row.value not in (0.0, 1.0):
            return None
        return "pass" if bool(row.value) is self.metric.higher_is_better else "fail"


class RunEvaluators:
    """The metrics of a run; what is fixed is put together once."""

    def __init__(self, manifest: Manifest) -> None:
        """Take the run."""
        version = manifest.versions.get("tunegate", "")
        self._known = {
            (suite.name, metric.name): MetricEvaluator.of(metric, version)
            for suite in manifest.suites
            for metric in suite.metrics
        }

    def of(self, row: ScoreRow) -> MetricEvaluator:
        """Return the metric that gave a score."""
        return self._known[row.suite, row.metric]

    def metric(self, suite: str, name: str) -> MetricRecord:
        """Return a metric by its place."""
        return self._known[suite, name].metric


def kind_of(metric: MetricRecord) -> CellKind:
    """Return the kind of cell that a metric looks at."""
    return CellKind.GENERATE if metric.judge else metric.needs


_NANO = 1_000_000_000


def episode_spans(
    stored: StoredAnswer,
    ids: TraceIdentifiers,
    start: int,
    model: ModelAttributes,
    content: ContentCapture | None,
) -> Iterator[otlp_json.SpanText]:
    """Yield the spans of the turns and calls of an episode; none of another answer.

    Args:
        stored: The answer.
        ids: Ids within the run.
        start: When it began, in nanoseconds.
        model: The model that wrote the turns.
        content: What is written of texts, arguments and results; None writes none.
    """
    record = None if stored.completion is None else stored.completion.episode
    parent, at = ids.cell(stored.cell), start
    for number, turn in enumerate(record.turns if record else ()):
        end = at + round((turn.latency_s or 0.0) * _NANO)
        yield otlp_json.SpanText(
            name=f"chat {model.name}",
            span_id=ids.span("turn", parent, str(number)),
            parent_id=parent,
            start=at,
            end=end,
            attributes=otlp_json.attributes_json(_turn_values(turn, model, content)),
            kind=model.kind,
        )
        at = end
        for index, call in enumerate(turn.calls):
            end = at + round((call.seconds or 0.0) * _NANO)
            yield otlp_json.SpanText(
                name=f"execute_tool {call.name}",
                span_id=ids.span("call", parent, str(number), str(index)),
                parent_id=parent,
                start=at,
                end=end,
                attributes=otlp_json.attributes_json(_call_values(call, content)),
                error=None if not call.error else (content.clean(call.result) if content else ""),
            )
            at = end


def _turn_values(
    turn: EpisodeTurn, model: ModelAttributes, content: ContentCapture | None
) -> dict[str, object]:
    values: dict[str, object] = {
        a.OPERATION: "chat",
        **model.attributes(),
        a.FINISH_REASONS: [turn.finish_reason] if turn.finish_reason else None,
        a.INPUT_TOKENS: turn.input_tokens,
        a.OUTPUT_TOKENS: turn.output_tokens,
        a.PROMPT_SHA256: turn.prompt_sha256,
        a.OUTPUT_SHA256: sha256(turn.text),
    }
    if content is not None:
        part = {"type": "text", "content": turn.text}
        finish = turn.finish_reason or "unknown"
        said = [{"role": "assistant", "parts": [part], "finish_reason": finish}]
        values[a.OUTPUT_MESSAGES] = content.json(said)
    return values


def _call_values(call: EpisodeCall, content: ContentCapture | None) -> dict[str, object]:
    values: dict[str, object] = {
        a.OPERATION: "execute_tool",
        a.TOOL_NAME: call.name,
        a.TOOL_TYPE: "function",
        a.ERROR_TYPE: "tool_error" if call.error else None,
    }
    if content is not None:
        values[a.TOOL_ARGUMENTS] = content.json(call.arguments)
        values[a.TOOL_RESULT] = content.clean(call.result)
    return values
