"""Completion spans: one per question and arm."""

from __future__ import annotations

from typing import Any

from tunegate.harness.contracts.model import Prompt
from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.hashing import sha256
from tunegate.harness.telemetry.export import attribute_names as a
from tunegate.harness.telemetry.export import otlp_json
from tunegate.harness.telemetry.export.content import (
    ContentCapture,
    case_with_system,
    input_messages,
    output_messages,
    tool_definitions,
)
from tunegate.harness.telemetry.export.identifiers import TraceIdentifiers
from tunegate.harness.telemetry.export.resources import ArmAttributes
from tunegate.harness.telemetry.export.run_metrics import RunTotals
from tunegate.harness.telemetry.export.run_records import CaseRecord, RunRecords

_ERRORS = {"error": "completion_error", "missing": "completion_missing"}
"""Status of an answer → `error.type` of its span."""


class CompletionSpans:
    """Makes the spans of a run's completions, and counts them."""

    def __init__(
        self,
        run: RunRecords,
        ids: TraceIdentifiers,
        content: ContentCapture | None,
        totals: RunTotals,
    ) -> None:
        self._run, self._ids, self._content, self._totals = run, ids, content, totals
        self._arms = ArmAttributes(run.manifest)
        self._hashed: tuple[Prompt | None, dict[str, Any]] = (None, {})

    def span(
        self,
        record: CaseRecord,
        stored: StoredAnswer,
        parent_id: str,
    ) -> otlp_json.SpanText:
        """Return the span of one answer of a case, below the case's span."""
        operation = self._arms.asked(record.suite, stored.cell.arm, stored.cell.kind, record.case)
        self._totals.completion(stored, operation)
        span_id = self._ids.cell(stored.cell)
        values = self._values(record, stored, operation.model.name) | self._shown(record, stored)
        return otlp_json.SpanText(
            name=operation.span_name,
            span_id=span_id,
            parent_id=parent_id,
            start=self._run.start(stored),
            end=self._run.end(stored),
            attributes=otlp_json.join_attributes(
                operation.fixed, otlp_json.attributes_json(values)
            ),
            kind=operation.model.kind,
            error=None if stored.status == "ok" else stored.error or "",
        )

    def _values(self, record: CaseRecord, stored: StoredAnswer, model: str) -> dict[str, Any]:
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
        """Return a prompt's hashes; arms that share it hash it once."""
        if prompt is not self._hashed[0] and prompt is not None:
            tokens = None if prompt.token_ids is None else prompt.sha256
            hashes = {a.PROMPT_SHA256: sha256(prompt.text), a.PROMPT_TOKENS_SHA256: tokens}
            self._hashed = prompt, hashes
        return {} if prompt is None else self._hashed[1]

    def _shown(self, record: CaseRecord, stored: StoredAnswer) -> dict[str, Any]:
        """Return prompt, tools and answer if content is written."""
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
    own = record.case.stop if record.case else None
    return [*record.suite.generation.get("stop", ()), *(own or ())] or None
