"""The nesting of OTLP/JSON: resource, instrumentation library, span or log record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.records import readable
from harness.tracing.read_record import Item
from harness.tracing.read_values import attributes, snake
from harness.tracing.reading import Reading

Nesting = tuple[str, str, str]
SPANS: Nesting = ("resourceSpans", "scopeSpans", "spans")
LOGS: Nesting = ("resourceLogs", "scopeLogs", "logRecords")
TOPS = {name for top in (SPANS[0], LOGS[0]) for name in (top, snake(top))}
"""Keys of which a value of ours has one."""
SCOPES = ("scope", "instrumentationLibrary", "instrumentation_library")
NEITHER = "JSON that holds neither spans nor log records"
_OLDER = {"scopeSpans": "instrumentationLibrarySpans", "scopeLogs": "instrumentationLibraryLogs"}


def items(top: Any, nesting: Nesting, where: str, reading: Reading) -> Iterator[Item]:
    """Yield the records in a whole value, in whatever order its keys stand."""
    if not isinstance(top, Mapping) or not TOPS & top.keys():
        reading.leave_out(NEITHER, where)
        return
    for block in _inner(top, nesting[0], where, reading):
        resource = resource_of(block.get("resource"), where, reading)
        for group in _inner(block, nesting[1], where, reading):
            scope = scope_of(next((group[name] for name in SCOPES if name in group), None))
            for fields in _inner(group, nesting[2], where, reading):
                yield Item(fields, resource, scope, where)


def _inner(
    outer: Mapping[str, Any], name: str, where: str, reading: Reading
) -> Iterator[Mapping[str, Any]]:
    found = next((outer[key] for key in spellings(name) if key in outer), None)
    if found is None:
        return
    if not isinstance(found, list):
        reading.leave_out(f"{name} that are no list", where)
        return
    for inner in found:
        if isinstance(inner, Mapping):
            yield inner
        else:
            reading.leave_out(f"one of the {name} that is no object", where)


def spellings(name: str) -> tuple[str, ...]:
    """Return the ways in which a key of the nesting is written, by age and by protobuf."""
    older = _OLDER.get(name, name)
    return (name, snake(name), older, snake(older))


def resource_of(raw: Any, where: str, reading: Reading) -> dict[str, Any]:
    """Return the attributes of a resource."""
    return attributes(raw.get("attributes"), reading, where) if isinstance(raw, Mapping) else {}


def scope_of(raw: Any) -> str:
    """Return the name of an instrumentation library."""
    name = raw.get("name") if isinstance(raw, Mapping) else None
    return name if isinstance(name, str) else ""


def mended(value: Any, where: str, reading: Reading) -> Any:
    """Return a value without halves of surrogate pairs, which no file of ours can hold."""
    found = readable(value)
    if found != value:
        reading.mend("half of a surrogate pair, read as U+FFFD", where)
    return found
