"""A JSON document of OTLP, of any size → its spans or log records, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.tracing.read_blocks import (
    NEITHER,
    SCOPES,
    TOPS,
    Nesting,
    mended,
    resource_of,
    scope_of,
    spellings,
)
from harness.tracing.read_files import Content
from harness.tracing.read_pieces import Pieces
from harness.tracing.read_record import Item


def document(content: Content, nesting: Nesting) -> Iterator[Item]:
    """Yield the records of JSON values that follow each other or stand in an array.

    A resource has to stand before its spans, where every writer puts it; one that comes later is
    counted.
    """
    walk = _Walk(Pieces(content.read), content)
    try:
        yield from walk.values(nesting)
    except (ValueError, RecursionError):
        content.reading.leave_out("the rest of a JSON file that breaks off", walk.where)


@dataclass(frozen=True, slots=True)
class _Around:
    """What stands around a record."""

    resource: Mapping[str, Any]
    scope: str


class _Walk:
    """One way through a document."""

    def __init__(self, pieces: Pieces, content: Content) -> None:
        self._pieces = pieces
        self._name = content.name
        self._reading = content.reading
        self._count = 0
        self._known = False

    @property
    def where(self) -> str:
        return f"{self._name}: record {self._count}"

    def values(self, nesting: Nesting) -> Iterator[Item]:
        while mark := self._pieces.peek():
            for _ in self._pieces.elements() if mark == "[" else (None,):
                self._known = False
                if self._pieces.peek() == "{":
                    yield from self._level(nesting, _Around({}, ""))
                else:
                    self._pieces.skip()
                if not self._known:
                    self._reading.leave_out(NEITHER, self.where)

    def _level(self, names: tuple[str, ...], around: _Around) -> Iterator[Item]:
        """Take an object and yield the records below it."""
        passed = False
        for key in self._pieces.members():
            self._known = self._known or key in TOPS
            if key in spellings(names[0]) and self._pieces.peek() == "[":
                passed = True
                for _ in self._pieces.elements():
                    yield from self._inner(names[1:], around)
            elif key == "resource" or key in SCOPES:
                around = self._around(key, around)
                if passed:
                    self._reading.leave_out(f"a {key} that stands after its spans", self.where)
            else:
                self._pieces.skip()

    def _inner(self, names: tuple[str, ...], around: _Around) -> Iterator[Item]:
        if names:
            yield from self._level(names, around)
            return
        fields = self._pieces.value()
        self._count += 1
        if self._pieces.surrogates:
            fields = mended(fields, self.where, self._reading)
        if isinstance(fields, Mapping):
            yield Item(fields, around.resource, around.scope, self.where)
        else:
            self._reading.leave_out("a record that is no object", self.where)

    def _around(self, key: str, around: _Around) -> _Around:
        raw = self._pieces.value()
        if key == "resource":
            return replace(around, resource=resource_of(raw, self.where, self._reading))
        return replace(around, scope=scope_of(raw))
