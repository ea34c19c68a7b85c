"""The spans of completions: one question to one arm each, with its scores as events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.model import Prompt
from harness.records import StoredCell, sha256
from harness.tracing import attributes as a
from harness.tracing import otlp
from harness.tracing.arms import Arms
from harness.tracing.content import (
    Content,
    input_messages,
    output_messages,
    seen,
    tool_definitions,
)
from harness.tracing.identifiers import Identifiers
from harness.tracing.recorded import CaseRecord, Recorded
from harness.tracing.totals import Totals

_ERRORS = {"error": "completion_error", "missing": "completion_missing"}
"""Status of a cell → `error.type` of its span; in words it is the span's status."""


class CompletionSpans:
    """Makes the spans of a run's completions, and counts them."""

    def __init__(
        self, run: Recorded, ids: Identifiers, content: Content | None, totals: Totals
    ) -> None:
        """Take the run, its ids, what is written of prompts and answers, and who counts."""
        self._run, self._ids, self._content, self._totals = run, ids, content, totals
        self._arms = Arms(run.manifest)
        self._hashed: tuple[Prompt | None, dict[str, Any]] = (None, {})

    def span(
        self,
        record: CaseRecord,
        stored: StoredCell,
        parent_id: str,
        results: Mapping[str, Sequence[str]],
    ) -> otlp.SpanText:
        """Return the span of one cell.

        Args:
            record: Its case.
            stored: The cell.
            parent_id: The case's span.
            results: Span → its evaluation results, as events.
        """
        asked = self._arms.asked(record.suite, stored.cell.arm, stored.cell.kind, record.case)
        self._totals.completion(stored, asked)
        own = self._ids.cell(stored.cell)
        values = self._values(record, stored, asked.model.name) | self._shown(record, stored)
        return otlp.SpanText(
            name=asked.span_name,
            span_id=own,
            parent_id=parent_id,
            start=self._run.start(stored),
            end=self._run.end(stored),
            attributes=otlp.joined(asked.fixed, otlp.attributes(values)),
            kind=asked.model.kind,
            events=tuple(results.get(own, ())),
            error=None if stored.status == "ok" else stored.error or "",
        )

    def _values(self, record: CaseRecord, stored: StoredCell, model: str) -> dict[str, Any]:
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

    def _shown(self, record: CaseRecord, stored: StoredCell) -> dict[str, Any]:
        """Return prompt, tools and answer, where they are written."""
        content, done = self._content, stored.completion
        if content is None:
            return {}
        values = {}
        if record.case is not None:
            case = seen(record.case, record.suite.generation)
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
