"""Traces of tunegate's own runs → their cases, exactly as they were asked.

With `--gate-trace-content` the span of a case holds the whole case in `tunegate.case.content`, and
the spans inside it hold each arm's answer; tuned's answer is the recorded one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from tunegate.harness.records.recorded_answer import RecordedAnswer
from tunegate.harness.suite.sources._replayed_call import ReplayedCall
from tunegate.harness.telemetry.read.conventions import genai
from tunegate.harness.telemetry.read.trace_types import ImportReport, Span

SCOPE = "tunegate"
CONTENT = "tunegate.case.content"
SETTINGS = "tunegate.gen.params"
_CASE = "eval case"
_OWN = ("max_new_tokens", "stop", "temperature", "top_p", "tool_choice", "response_format")
"""Fields of a case that are request settings."""
_NO_CONTENT = "a case of a run without prompts in its traces (run it with --trace-content)"


class OwnTraceFilter:
    """Removes the spans of tunegate's own runs from a stream, and collects their cases."""

    def __init__(self, reading: ImportReport) -> None:
        self._reading = reading
        self._cases: dict[tuple[str, str], ReplayedCall] = {}
        self._asked: dict[tuple[str, str], Mapping[str, Any]] = {}
        """Case → generation settings of its suite."""

    def without(self, spans: Iterable[Span]) -> Iterator[Span]:
        """Yield the spans of other programs."""
        for span in spans:
            if span.scope != SCOPE:
                yield span
            elif span.name == _CASE:
                self._take_case(span)
            elif span.attributes.get("tunegate.arm") == "tuned":
                self._take_answer(span)

    def cases(self) -> Iterator[ReplayedCall]:
        """Yield the cases in the order of their spans."""
        for key, case in self._cases.items():
            shared = self._asked.get(key, {})
            yield replace(
                case,
                row={name: value for name, value in case.row.items() if name not in _OWN},
                facets={**case.facets, "template": shared.get("template") or "chat"},
                parameters=_parameters(shared, case.row),
            )

    def _take_case(self, span: Span) -> None:
        try:
            row: Any = json.loads(span.attributes[CONTENT])
        except (KeyError, TypeError, ValueError):
            self._reading.leave_out(_NO_CONTENT, span.where)
            return
        if not isinstance(row, dict):
            self._reading.leave_out(_NO_CONTENT, span.where)
            return
        suite = str(span.attributes.get("test.suite.name", ""))
        known = {**span.resource, **span.attributes}
        key = (span.trace_id, span.span_id)
        self._cases[key] = ReplayedCall(row, None, {"route": suite, "model": ""}, known, span.where)

    def _take_answer(self, span: Span) -> None:
        """Record what tuned wrote."""
        key = (span.trace_id, span.parent_id or "")
        case = self._cases.get(key)
        self._asked.setdefault(key, _settings(span))
        kind = span.attributes.get("tunegate.cell.kind", "generate")
        if case is None or case.recorded is not None or kind != "generate":
            return
        call = genai.call(span)
        if call.answer is None:
            return
        recorded = RecordedAnswer.of(str(case.row.get("id")), call.completion)
        self._cases[key] = replace(case, recorded=recorded)


def _parameters(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a case's request under OpenAI's names, from its suite and its own."""
    found = {
        "max_tokens": own.get("max_new_tokens", shared.get("max_new_tokens")),
        "stop": [*shared.get("stop", ()), *own.get("stop", ())] or None,
        "temperature": own.get("temperature", shared.get("temperature", 0.0)),
        "top_p": own.get("top_p", shared.get("top_p")),
        "tool_choice": own.get("tool_choice"),
        "response_format": own.get("response_format"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _settings(span: Span) -> dict[str, Any]:
    """Return the generation settings of the suite, if the span holds them."""
    try:
        settings = json.loads(span.attributes[SETTINGS])
    except (KeyError, TypeError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}
