"""OTLP/JSON → spans and events: a TracesData or LogsData a line, or JSON documents of any size."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from harness.tracing.read_blocks import LOGS, SPANS, Nesting, items, mended
from harness.tracing.read_document import document
from harness.tracing.read_files import Content
from harness.tracing.read_pieces import DECODER
from harness.tracing.read_record import EventRecord, Item, event_record, span
from harness.tracing.reading import Reading
from harness.tracing.span import Span

R = TypeVar("R")

LONGEST_FIRST = 1 << 24
"""Bytes in which the first line must end for a file to be one of lines, and no document."""
SHORTEST_LINE = 40
"""Bytes; a first line below them, such as `{`, begins a document that is printed prettily."""
_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]").search


def spans(content: Content, reading: Reading) -> Iterator[Span]:
    """Yield the spans of a file."""
    yield from _read(span, content, SPANS, reading)


def events(content: Content, reading: Reading) -> Iterator[EventRecord]:
    """Yield the log records of a file that are events of model calls.

    What is wrong with the file goes to the content's own reading, what with a record to `reading`.
    """
    yield from _read(event_record, content, LOGS, reading)


def _read(
    of: Callable[[Item, Reading], R | None],
    content: Content,
    nesting: Nesting,
    reading: Reading,
) -> Iterator[R]:
    written = _lines if _is_lines(content) else document
    for item in written(content, nesting):
        try:
            found = of(item, reading)
        except RecursionError:
            reading.leave_out("a record that is nested too deeply", item.where)
            continue
        if found is not None:
            yield found


def _is_lines(content: Content) -> bool:
    """Return whether the file has a whole value on each line, as far as the first one tells."""
    head = content.head(LONGEST_FIRST)
    if content.name.endswith(_LINES) and len(head) >= SHORTEST_LINE:
        return True
    try:
        DECODER.decode(head.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return False
    return True


def _lines(content: Content, nesting: Nesting) -> Iterator[Item]:
    for number, line in content.lines():
        where = f"{content.name}:{number}"
        try:
            top = DECODER.decode(_decoded(line, where, content.reading))
            if _SURROGATE(line):
                top = mended(top, where, content.reading)
        except ValueError:
            whole = line.endswith(b"\n")
            reason = "a line that is no JSON" if whole else "the last line, which is cut off"
            content.reading.leave_out(reason, where)
        except RecursionError:
            content.reading.leave_out("a line that is nested too deeply", where)
        else:
            for one in top if isinstance(top, list) else [top]:
                yield from items(one, nesting, where, content.reading)


def _decoded(line: bytes, where: str, reading: Reading) -> str:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        reading.mend("bytes that are no UTF-8, read as U+FFFD", where)
        return line.decode("utf-8-sig", "replace")
