"""The traces of our own runs → their cases, exactly as they were asked.

With `--gate-trace-content` the span of a case holds the whole case in `tunegate.case.content`, and
the spans in it what each arm answered: tuned's answer is the recorded one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from harness.sources._replayed import Replayed
from harness.tracing.conventions import genai
from harness.tracing.reading import Reading
from harness.tracing.span import Span

SCOPE = "tunegate"
CONTENT = "tunegate.case.content"
SETTINGS = "tunegate.gen.params"
_CASE = "eval case"
_OWN = ("max_new_tokens", "stop", "temperature", "top_p", "tool_choice", "response_format")
"""Fields of a case that are settings of its request."""
_NO_CONTENT = "a case of a run without prompts in its traces (run it with --trace-content)"


class OwnTraces:
    """Takes the spans of our runs out of a stream, and keeps the cases in them."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._cases: dict[tuple[str, str], Replayed] = {}
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

    def cases(self) -> Iterator[Replayed]:
        """Yield the cases in the order of their spans; their facet `template` is the suite's."""
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
        self._cases[key] = Replayed(row, None, {"route": suite, "model": ""}, known, span.where)

    def _take_answer(self, span: Span) -> None:
        """Keep what tuned wrote; answers to other questions than to write are none."""
        key = (span.trace_id, span.parent_id or "")
        case = self._cases.get(key)
        self._asked.setdefault(key, _settings(span))
        kind = span.attributes.get("tunegate.cell.kind", "generate")
        if case is None or case.recorded is not None or kind != "generate":
            return
        call = genai.call(span)
        if call.answer is None:
            return
        line = {
            "id": case.row.get("id"),
            "completion": call.answer,
            "finish_reason": call.finish_reason,
            "latency_s": round(call.latency_s, 6) or None,
            "input_tokens": call.input_tokens,
            "output_tokens": call.output_tokens,
        }
        recorded = {name: value for name, value in line.items() if value is not None}
        self._cases[key] = replace(case, recorded=recorded)


def _parameters(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a case was asked, under OpenAI's names: by its suite's settings and its own."""
    most = [one["max_new_tokens"] for one in (shared, own) if one.get("max_new_tokens")]
    found = {
        "max_tokens": min(most, default=None),
        "stop": [*shared.get("stop", ()), *own.get("stop", ())] or None,
        "temperature": own.get("temperature", shared.get("temperature", 0.0)),
        "top_p": own.get("top_p", shared.get("top_p")),
        "tool_choice": own.get("tool_choice"),
        "response_format": own.get("response_format"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _settings(span: Span) -> dict[str, Any]:
    """Return the generation settings of the suite; none where the span does not tell them."""
    try:
        told = json.loads(span.attributes[SETTINGS])
    except (KeyError, TypeError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
