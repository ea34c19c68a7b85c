"""Episode spans: the turns and tool calls within a completion's span.

    invoke_agent SUITE        the completion's span
    ├── chat MODEL            one per turn
    └── execute_tool NAME     one per call, after the turn that made it

An episode records how long turns and calls took, not when they began: they follow each other from
its start.
"""

from __future__ import annotations

from collections.abc import Iterator

from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.episodes import EpisodeCall, EpisodeTurn
from tunegate.harness.records.hashing import sha256
from tunegate.harness.telemetry.export import attribute_names as a
from tunegate.harness.telemetry.export import otlp_json
from tunegate.harness.telemetry.export.content import ContentCapture
from tunegate.harness.telemetry.export.identifiers import TraceIdentifiers
from tunegate.harness.telemetry.export.resources import ModelAttributes

_NANO = 1_000_000_000


def episode_spans(
    stored: StoredAnswer,
    ids: TraceIdentifiers,
    start: int,
    model: ModelAttributes,
    content: ContentCapture | None,
) -> Iterator[otlp_json.SpanText]:
    """Yield the spans of the turns and calls of an episode that began at `start` nanoseconds."""
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
        messages = [{"role": "assistant", "parts": [part], "finish_reason": finish}]
        values[a.OUTPUT_MESSAGES] = content.json(messages)
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
