"""Streaming reader of JSON: lines or documents of any size → spans and events.

The form is OTLP's, or that of a store of traces (`stores/`), whose records are read one at a time.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeVar

from tunegate.harness.contracts import lookup
from tunegate.harness.records.record import replace_surrogates
from tunegate.harness.telemetry.read.files import FileContent
from tunegate.harness.telemetry.read.records import (
    EventRecord,
    FileRecord,
    event_record,
    make_span,
    plain_attributes,
    snake_case,
)
from tunegate.harness.telemetry.read.types import ImportReport, Span

R = TypeVar("R")

LONGEST_FIRST = 1 << 24
"""Bytes in which the first line must end for a file to be one of lines, and no document."""
SHORTEST_LINE = 40
"""Bytes; a first line below them, such as `{`, begins a document that is printed prettily."""
_LINES = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]").search


def read_json_spans(content: FileContent, reading: ImportReport) -> Iterator[Span]:
    """Yield the spans of a file."""
    yield from _read(make_span, content, SPANS, reading)


def read_json_events(content: FileContent, reading: ImportReport) -> Iterator[EventRecord]:
    """Yield the log records of a file that are events of model calls.

    What is wrong with the file goes to the content's own reading, what with a record to `reading`.
    """
    yield from _read(event_record, content, LOGS, reading)


def _read(
    of: Callable[[FileRecord, ImportReport], R | None],
    content: FileContent,
    nesting: Nesting,
    reading: ImportReport,
) -> Iterator[R]:
    written = _lines if _is_lines(content) else read_document
    for item in written(content, nesting):
        try:
            found = of(item, reading)
        except RecursionError:
            reading.leave_out("a record that is nested too deeply", item.where)
            continue
        if found is not None:
            yield found


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


def _lines(content: FileContent, nesting: Nesting) -> Iterator[FileRecord]:
    for number, line in content.lines():
        where = f"{content.name}:{number}"
        try:
            top = DECODER.decode(_decode_line(line, where, content.reading))
            if _SURROGATE(line):
                top = repair_surrogates(top, where, content.reading)
        except ValueError:
            whole = line.endswith(b"\n")
            reason = "a line that is not JSON" if whole else "the last line, which is cut off"
            content.reading.leave_out(reason, where)
        except RecursionError:
            content.reading.leave_out("a line that is nested too deeply", where)
        else:
            for one in top if isinstance(top, list) else [top]:
                yield from read_items(one, nesting, where, content.reading)


def _decode_line(line: bytes, where: str, reading: ImportReport) -> str:
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError:
        reading.repair("bytes that are not UTF-8, read as U+FFFD", where)
        return line.decode("utf-8-sig", "replace")


def read_document(content: FileContent, nesting: Nesting) -> Iterator[FileRecord]:
    """Yield the records of JSON values that follow each other or are in an array.

    A resource has to be before its spans, where every writer puts it; one that comes later is
    counted.
    """
    walk = _DocumentWalk(JsonCursor(content.read), content)
    try:
        yield from walk.values(nesting)
    except (ValueError, RecursionError):
        content.reading.leave_out("the rest of a truncated JSON file", walk.where)


@dataclass(frozen=True, slots=True)
class _RecordContext:
    """Envelope of a record."""

    resource: Mapping[str, Any]
    scope: str


class _DocumentWalk:
    """One way through a document."""

    def __init__(self, pieces: JsonCursor, content: FileContent) -> None:
        self._pieces = pieces
        self._name = content.name
        self._reading = content.reading
        self._count = 0
        self._known = False

    @property
    def where(self) -> str:
        return f"{self._name}: record {self._count}"

    def values(self, nesting: Nesting) -> Iterator[FileRecord]:
        while mark := self._pieces.peek():
            for _ in self._pieces.elements() if mark == "[" else (None,):
                self._known = False
                if self._pieces.peek() == "{":
                    yield from self._top(nesting)
                else:
                    self._pieces.skip()
                    self._reading.leave_out(NEITHER, self.where)

    def _top(self, nesting: Nesting) -> Iterator[FileRecord]:
        """Take a whole value: OTLP, with or without its envelope, or a record of a store."""
        around, further = _RecordContext({}, ""), dict[str, Any]()
        for key in self._pieces.members():
            self._known = self._known or key in TOPS
            level = next((at for at in (0, 1) if key in key_spellings(nesting[at])), None)
            if level is not None and self._pieces.peek() == "[":
                self._known = True
                for _ in self._pieces.elements():
                    yield from self._inner(nesting[level + 1 :], around)
            elif nesting is LOGS or key in TOPS:
                self._pieces.skip()
            else:
                yield from self._store_value(key, further)
            if key == "resource" and key in further:
                around = replace(around, resource=resource_of(further[key], "", self._reading))
        if not self._known:
            self._known = True
            self._count += 1
            yield from read_items(further, nesting, self.where, self._reading)

    def _store_value(self, key: str, further: dict[str, Any]) -> Iterator[FileRecord]:
        """Take the value of a key that OTLP does not have, and keep it where it is no list."""
        mark = self._pieces.peek()
        if key in ENVELOPES and mark == "{":
            yield from self._top(SPANS)
        elif key in LISTS and mark == "[":
            yield from self._listed()
        else:
            further[key] = self._pieces.value()

    def _listed(self) -> Iterator[FileRecord]:
        """Take a store's list of records."""
        self._known = True
        for _ in self._pieces.elements():
            record = self._pieces.value()
            self._count += 1
            if self._pieces.surrogates:
                record = repair_surrogates(record, self.where, self._reading)
            yield from read_items(record, SPANS, self.where, self._reading)

    def _level(self, names: tuple[str, ...], around: _RecordContext) -> Iterator[FileRecord]:
        """Take an object and yield the records below it."""
        passed = False
        for key in self._pieces.members():
            self._known = self._known or key in TOPS
            if key in key_spellings(names[0]) and self._pieces.peek() == "[":
                passed = True
                for _ in self._pieces.elements():
                    yield from self._inner(names[1:], around)
            elif key == "resource" or key in SCOPES:
                around = self._around(key, around)
                if passed:
                    self._reading.leave_out(f"a {key} that follows its spans", self.where)
            else:
                self._pieces.skip()

    def _inner(self, names: tuple[str, ...], around: _RecordContext) -> Iterator[FileRecord]:
        if names:
            yield from self._level(names, around)
            return
        fields = self._pieces.value()
        self._count += 1
        if self._pieces.surrogates:
            fields = repair_surrogates(fields, self.where, self._reading)
        if isinstance(fields, Mapping):
            yield FileRecord(fields, around.resource, around.scope, self.where)
        else:
            self._reading.leave_out("a record that is not an object", self.where)

    def _around(self, key: str, around: _RecordContext) -> _RecordContext:
        raw = self._pieces.value()
        if key == "resource":
            return replace(around, resource=resource_of(raw, self.where, self._reading))
        return replace(around, scope=scope_of(raw))


Nesting = tuple[str, str, str]
SPANS: Nesting = ("resourceSpans", "scopeSpans", "spans")
LOGS: Nesting = ("resourceLogs", "scopeLogs", "logRecords")
TOPS = {name for top in (SPANS[0], LOGS[0]) for name in (top, snake_case(top))}
"""Keys of which a value of ours has one."""
SCOPES = ("scope", "instrumentationLibrary", "instrumentation_library")
ENVELOPES = ("trace", "result")
"""Keys of an object with the spans in it: Tempo's API."""
LISTS = ("batches", "data", "runs", "items", "traces")
"""Keys of the lists in which stores have their records."""
NEITHER = "JSON of no form that is read"
_DEEPEST = 4
"""Lists and envelopes within each other that are followed."""
_TOLD_KEYS = 6
_OLDER = {"scopeSpans": "instrumentationLibrarySpans", "scopeLogs": "instrumentationLibraryLogs"}


def read_items(
    top: Any, nesting: Nesting, where: str, reading: ImportReport
) -> Iterator[FileRecord]:
    """Yield the records in a whole value, in any order of its keys."""
    if not isinstance(top, Mapping) or not TOPS & top.keys():
        if nesting is SPANS:
            yield from store_records(top, where, reading)
        return
    for block in _inner(top, nesting[0], where, reading):
        resource = resource_of(block.get("resource"), where, reading)
        for group in _inner(block, nesting[1], where, reading):
            scope = scope_of(next((group[name] for name in SCOPES if name in group), None))
            for fields in _inner(group, nesting[2], where, reading):
                yield FileRecord(fields, resource, scope, where)


def store_records(
    top: Any, where: str, reading: ImportReport, depth: int = 0
) -> Iterator[FileRecord]:
    """Yield the spans of a record as a store has it, or of a list of such records."""
    if not isinstance(top, Mapping) or depth > _DEEPEST:
        reading.leave_out(NEITHER, f"{where}: {type(top).__name__}")
        return
    if any(name in top for name in key_spellings(SPANS[1])):
        yield from read_items({SPANS[0]: [top]}, SPANS, where, reading)
        return
    for store in _stores():
        if store.matches(top):
            yield from store.records(top, where, reading)
            return
    inner = [*_inner_records(top)]
    for one in inner:
        if isinstance(one, Mapping) and TOPS & one.keys():
            yield from read_items(one, SPANS, where, reading)
        else:
            yield from store_records(one, where, reading, depth + 1)
    if not inner:
        told = ", ".join(str(name)[:30] for name in list(top)[:_TOLD_KEYS]) or "nothing"
        reading.leave_out(NEITHER, f"{where}: at its top {told}")


def _inner_records(top: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what is in the envelopes and lists of a value."""
    yield from (one for name in ENVELOPES if isinstance(one := top.get(name), Mapping))
    for name in (*LISTS, "spans", "observations"):
        if isinstance(listed := top.get(name), list):
            yield from listed


@cache
def _stores() -> tuple[Any, ...]:
    """Return the modules of `tunegate.harness.telemetry.read.stores`, by their `ORDER`."""
    return tuple(lookup.ordered_modules("tunegate.harness.telemetry.read.stores").values())


def forms_read() -> str:
    """Return in words which forms of JSON are read."""
    return ", ".join(store.FORM for store in _stores())


def is_trace_head(head: bytes) -> bool:
    """Return whether the first bytes of a JSON file hold a name that only traces have."""
    marks = [mark for store in _stores() for mark in store.MARKS]
    return any(mark in head for mark in marks)


def _inner(
    outer: Mapping[str, Any], name: str, where: str, reading: ImportReport
) -> Iterator[Mapping[str, Any]]:
    found = next((outer[key] for key in key_spellings(name) if key in outer), None)
    if found is None:
        return
    if not isinstance(found, list):
        reading.leave_out(f"{name} that are not a list", where)
        return
    for inner in found:
        if isinstance(inner, Mapping):
            yield inner
        else:
            reading.leave_out(f"one of the {name} that is not an object", where)


def key_spellings(name: str) -> tuple[str, ...]:
    """Return the ways in which a key of the nesting is written, by age and by protobuf."""
    older = _OLDER.get(name, name)
    return (name, snake_case(name), older, snake_case(older))


def resource_of(raw: Any, where: str, reading: ImportReport) -> dict[str, Any]:
    """Return the attributes of a resource."""
    return (
        plain_attributes(raw.get("attributes"), reading, where) if isinstance(raw, Mapping) else {}
    )


def scope_of(raw: Any) -> str:
    """Return the name of an instrumentation library."""
    name = raw.get("name") if isinstance(raw, Mapping) else None
    return name if isinstance(name, str) else ""


def repair_surrogates(value: Any, where: str, reading: ImportReport) -> Any:
    """Return a value without halves of surrogate pairs, which no file of ours can hold."""
    found = replace_surrogates(value)
    if found != value:
        reading.repair("half of a surrogate pair, read as U+FFFD", where)
    return found


PIECE = 1 << 20
"""Bytes that are read at a time; more where one value is larger."""
_SPACE = " \t\r\n\ufeff"
"""A byte order mark counts as none of the text, wherever files were joined."""
_CUT = 16
"""A parser that stops so few characters before the end may have wanted more of the text."""
DECODER = json.JSONDecoder(strict=False)
"""Takes line ends and tabs inside texts, which other writers leave there."""


class JsonCursor:
    """A place in a JSON text; the methods take what follows it."""

    def __init__(self, read: Callable[[int], bytes], head: bytes = b"") -> None:
        """Read from `read(size)`, which returns nothing at the end, after the bytes of `head`."""
        self._read = read
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = self._utf8.decode(head)
        self._at = 0
        self.surrogates = self._has_surrogates(self._text)
        """Whether escapes of surrogates have been met, be they halves or pairs."""

    def peek(self) -> str:
        """Return the next character that is no space; nothing at the end."""
        while True:
            while self._at < len(self._text):
                if self._text[self._at] not in _SPACE:
                    return self._text[self._at]
                self._at += 1
            if not self._more():
                return ""

    def value(self) -> Any:
        """Take a whole value.

        Raises:
            ValueError: there is none.
            RecursionError: it is nested too deeply.
        """
        self.peek()
        while True:
            try:
                found, end = DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                near = error.pos > len(self._text) - _CUT
                if not (near or error.msg.startswith("Unterminated string")) or not self._more():
                    raise
                continue
            if end < len(self._text) or not self._more():
                self._at = end
                return found

    def members(self) -> Iterator[str]:
        """Take an object: yield each key, whose value is to be taken before the next.

        Raises:
            ValueError: this is none.
        """
        self._take("{")
        while self.peek() != "}":
            key = self.value()
            if not isinstance(key, str):
                raise ValueError(f"the key {key!r:.20} is not text")
            self._take(":")
            yield key
            if self.peek() != "}":
                self._take(",")
        self._take("}")

    def elements(self) -> Iterator[None]:
        """Take an array: yield before each element, which is to be taken before the next.

        Raises:
            ValueError: this is none.
        """
        self._take("[")
        while self.peek() != "]":
            yield
            if self.peek() != "]":
                self._take(",")
        self._take("]")

    def skip(self, levels: int = 5) -> None:
        """Take a value and forget it, piece by piece down to so many levels.

        Raises:
            ValueError: there is none.
            RecursionError: it is nested too deeply.
        """
        mark = self.peek()
        if levels and mark in ("{", "["):
            for _ in self.members() if mark == "{" else self.elements():
                self.skip(levels - 1)
        else:
            self.value()

    def _take(self, wanted: str) -> None:
        if self.peek() != wanted:
            raise ValueError(f"{self.peek() or 'the end'!r} where {wanted!r} is due")
        self._at += 1

    def _more(self) -> bool:
        """Read on, twice as much where nothing of the last piece could be taken."""
        self._text = self._text[self._at :]
        self._at = 0
        piece = self._read(max(PIECE, len(self._text)))
        text = self._utf8.decode(piece, final=not piece)
        self.surrogates = self.surrogates or self._has_surrogates(text)
        self._text += text
        return bool(piece or text)

    @staticmethod
    def _has_surrogates(text: str) -> bool:
        return "\\ud" in text or "\\uD" in text
