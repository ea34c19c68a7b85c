"""JSON files → spans and events: OTLP's own form, or that of a trace store (`stores/`).

A file holds a value on each line, or documents of any size whose lists are read one element at a
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

from tunegate.harness.contracts import lookup
from tunegate.harness.telemetry.read.json_cursor import DECODER, JsonCursor
from tunegate.harness.telemetry.read.records import (
    EventRecord,
    FileRecord,
    event_record,
    make_span,
    plain_attributes,
    snake_case,
)
from tunegate.harness.telemetry.read.trace_input import FileContent
from tunegate.harness.telemetry.read.trace_types import MALFORMED, ImportReport, Span

R = TypeVar("R")

LONGEST_FIRST = 1 << 24
"""Bytes in which the first line must end for a file to be read as lines, not as a document."""
SHORTEST_LINE = 40
"""Bytes; a shorter first line, such as `{`, begins a pretty-printed document."""
_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")

Nesting = tuple[str, str, str]
SPANS: Nesting = ("resourceSpans", "scopeSpans", "spans")
LOGS: Nesting = ("resourceLogs", "scopeLogs", "logRecords")
TOPS = {name for top in (SPANS[0], LOGS[0]) for name in (top, snake_case(top))}
"""Keys of OTLP's outermost object."""
ENVELOPES = ("trace", "result")
"""Keys of an object with the spans in it: Tempo's API."""
LISTS = ("batches", "data", "runs", "items", "traces")
"""Keys of the lists in which stores have their records."""
NEITHER = "JSON in none of the formats that are read"
_SHOWN_KEYS = 6


def read_json_spans(content: FileContent, reading: ImportReport) -> Iterator[Span]:
    """Yield the spans of a file."""
    yield from convert_values(_values(content), SPANS, make_span, content, reading)


def read_json_events(content: FileContent, reading: ImportReport) -> Iterator[EventRecord]:
    """Yield the log records of a file that are events of model calls.

    Problems with the file go to the content's own report, problems with a record to `reading`.
    """
    yield from convert_values(_values(content), LOGS, event_record, content, reading)


def convert_values(
    values: Iterable[tuple[Any, str]],
    nesting: Nesting,
    convert: Callable[[FileRecord, ImportReport], R | None],
    content: FileContent,
    reading: ImportReport,
) -> Iterator[R]:
    """Yield what each record in values, which come with their places, is converted to."""
    for value, where in values:
        try:
            for record in read_items(value, nesting, where, content.reading):
                converted = _convert(record, convert, reading)
                if converted is not None:
                    yield converted
        except MALFORMED:
            content.reading.leave_out("a value that breaks the rules of its format", where)


def _convert(
    record: FileRecord,
    convert: Callable[[FileRecord, ImportReport], R | None],
    reading: ImportReport,
) -> R | None:
    try:
        return convert(record, reading)
    except MALFORMED:
        reading.leave_out("a record that breaks the rules of its format", record.where)
        return None


def _values(content: FileContent) -> Iterator[tuple[Any, str]]:
    return _lines(content) if _is_lines(content) else _documents(content)


def _is_lines(content: FileContent) -> bool:
    """Return whether the file has a whole value on each line, judged by the first one."""
    head = content.head(LONGEST_FIRST)
    if content.name.endswith(_LINES) and len(head) >= SHORTEST_LINE:
        return True
    try:
        DECODER.decode(head.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return False
    return True


def _lines(content: FileContent) -> Iterator[tuple[Any, str]]:
    for number, line in content.lines():
        where = f"{content.name}:{number}"
        try:
            top = DECODER.decode(line.decode("utf-8-sig", "replace"))
        except (ValueError, RecursionError):
            whole = line.endswith(b"\n")
            reason = "a line that is not JSON" if whole else "the last line, which is cut off"
            content.reading.leave_out(reason, where)
            continue
        for value in top if isinstance(top, list) else [top]:
            yield value, where


def _documents(content: FileContent) -> Iterator[tuple[Any, str]]:
    cursor, count = JsonCursor(content.read), 0
    try:
        while mark := cursor.peek():
            for _ in cursor.elements() if mark == "[" else (None,):
                for value in _parts(cursor):
                    count += 1
                    yield value, f"{content.name}: record {count}"
    except (ValueError, RecursionError):
        content.reading.leave_out(
            "the rest of a truncated JSON file", f"{content.name}: record {count}"
        )


def _parts(cursor: JsonCursor) -> Iterator[Any]:
    """Yield a value; of an object with a list of records, one object for each of them."""
    if cursor.peek() != "{":
        yield cursor.value()
        return
    rest: dict[str, Any] = {}
    is_split = False
    for key in cursor.members():
        if (key in TOPS or key in LISTS) and cursor.peek() == "[":
            is_split = True
            for _ in cursor.elements():
                yield {key: [cursor.value()]}
        else:
            rest[key] = cursor.value()
    if not is_split:
        yield rest


def read_items(
    top: Any, nesting: Nesting, where: str, reading: ImportReport
) -> Iterator[FileRecord]:
    """Yield the spans or log records in a value: in OTLP's nesting, or as a store has them."""
    if not isinstance(top, Mapping) or not TOPS & top.keys():
        if nesting is SPANS:
            yield from _store_records(top, where, reading)
        return
    for block in _listed(top, nesting[0]):
        resource = plain_attributes((block.get("resource") or {}).get("attributes"))
        for group in _listed(block, nesting[1]):
            scope = (group.get("scope") or {}).get("name") or ""
            for fields in _listed(group, nesting[2]):
                yield FileRecord(fields, resource, scope, where)


def _listed(outer: Mapping[str, Any], name: str) -> Iterable[Mapping[str, Any]]:
    return outer.get(name) or outer.get(snake_case(name)) or ()


def _store_records(top: Any, where: str, reading: ImportReport) -> Iterator[FileRecord]:
    """Yield the spans of a record as a store has it, or of a list of such records."""
    if not isinstance(top, Mapping):
        reading.leave_out(NEITHER, f"{where}: {type(top).__name__}")
        return
    if SPANS[1] in top or snake_case(SPANS[1]) in top:
        yield from read_items({SPANS[0]: [top]}, SPANS, where, reading)
        return
    store = next((store for store in stores() if store.matches(top)), None)
    if store is not None:
        yield from store.records(top, where, reading)
        return
    inner = [*_inner_records(top)]
    for item in inner:
        yield from read_items(item, SPANS, where, reading)
    if not inner:
        keys = ", ".join(str(name)[:30] for name in list(top)[:_SHOWN_KEYS]) or "nothing"
        reading.leave_out(NEITHER, f"{where}: at its top {keys}")


def _inner_records(top: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what is in the envelopes and lists of a value."""
    yield from (one for name in ENVELOPES if isinstance(one := top.get(name), Mapping))
    for name in (*LISTS, "spans", "observations"):
        if isinstance(listed := top.get(name), list):
            yield from listed


@cache
def stores() -> tuple[Any, ...]:
    """Return the modules of stores in their order."""
    return tuple(lookup.ordered_modules("tunegate.harness.telemetry.read.stores").values())


def forms_read() -> str:
    """Return in words which forms of JSON are read."""
    return ", ".join(store.FORM for store in stores())


def is_trace_head(head: bytes) -> bool:
    """Return whether the first bytes of a JSON file hold a name that only traces have."""
    return any(mark in head for store in stores() for mark in store.MARKS)
