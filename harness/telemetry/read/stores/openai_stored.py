"""OpenAI's stored completions: `chat.completion` and `response` objects with what was asked.

Source: https://platform.openai.com/docs/api-reference/chat/list and …/responses. The list of
stored completions lacks the messages; each object is read with those of its endpoint `messages`
in a field of that name. A response is read with its input items in `input`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tunegate.harness.telemetry.read.records import FileRecord
from tunegate.harness.telemetry.read.stores._fields import (
    dump_json,
    first_of,
    make_record,
)
from tunegate.harness.telemetry.read.trace_types import ImportReport

NAME = "openai-stored"
ORDER = 70
FORM = "OpenAI's stored completions (object: chat.completion, with messages)"
MARKS = (b'"chat.completion"', b'"object": "response"')
_OBJECTS = ("chat.completion", "response")
_REPLY = {
    "id", "object", "created", "created_at", "choices", "output", "usage", "status", "error",
    "incomplete_details", "request_id", "system_fingerprint", "input_user", "metadata",
    "output_text", "completed_at", "background", "billing",
}  # fmt: skip
_NO_MESSAGES = (
    "a stored completion without its messages (put those of GET …/messages into `messages`)"
)


def matches(record: Mapping[str, Any]) -> bool:
    """Return whether the record is a completion or a response."""
    return record.get("object") in _OBJECTS and "id" in record


def records(record: Mapping[str, Any], where: str, reading: ImportReport) -> Iterator[FileRecord]:
    """Yield the completion as the request and the reply that it is made of."""
    request = {name: value for name, value in record.items() if name not in _REPLY}
    for name in ("messages", "input"):
        if isinstance(page := request.get(name), Mapping):
            request[name] = page["data"]
    if not request.get("messages") and not request.get("input"):
        reading.leave_out(_NO_MESSAGES, where)
        return
    attributes = {
        "langsmith.span.kind": "llm",
        "gen_ai.system": "openai",
        "gen_ai.prompt": dump_json(request),
        "gen_ai.completion": dump_json({k: record[k] for k in _REPLY & record.keys()}),
    }
    metadata = record.get("metadata") or {}
    for name in ("session_id", "conversation_id", "thread_id"):
        if metadata.get(name):
            attributes["session.id"] = metadata[name]
    yield make_record(
        where,
        trace=record["id"],
        span=record["id"],
        name=str(record["object"]),
        start_s=first_of(record, "created", "created_at"),
        attributes=attributes,
        error=dump_json(record.get("error")),
        scope="openai",
    )
