"""JSON lines of records, in files of any size."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from pydantic_core import to_jsonable_python

from tunegate.harness.records.errors import UsageError, refuse_unreadable
from tunegate.harness.records.files import (
    bounded_lines,
    numbered_lines,
    parse_record,
    record_problem,
)

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class JsonlRecords(Sequence[R]):
    """The records of a file, each parsed when asked for; empty if it does not exist."""

    def __init__(self, path: Path, kind: type[R]) -> None:
        """Read every line once, so that a damaged file is refused at once.

        Raises:
            UsageError: which line cannot be read, and why.
        """
        self.path = path
        self.kind = kind
        self._starts = array("Q", (start for start, _ in _scan(path, kind)))
        self._size = path.stat().st_size if self._starts else 0
        self._recent: dict[int, R] = {}
        self._kept = 0
        self._expected: set[int] = set()

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self._starts)

    def __iter__(self) -> Iterator[R]:
        """Yield the records in the order of the file; keep them if the file is small."""
        if self._size > _MOST_KEPT:
            return (record for _, record in _scan(self.path, self.kind))
        if len(self._recent) == len(self):
            return map(self._recent.__getitem__, range(len(self)))
        return self._read_all()

    def _read_all(self) -> Iterator[R]:
        for number, (_, record) in enumerate(_scan(self.path, self.kind)):
            self._recent[number] = record
            yield record

    @overload
    def __getitem__(self, at: int) -> R: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[R]: ...
    def __getitem__(self, at: int | slice) -> R | Sequence[R]:
        """Read the record of one line, or those of several."""
        if isinstance(at, slice):
            return tuple(self[i] for i in range(*at.indices(len(self))))
        known = self._recent.get(at)
        if known is not None:
            return known
        number = range(len(self))[at]
        known = self._recent.get(number)
        if known is not None:
            return known
        # A reader that asks for the next line is going through the file: read ahead.
        more = _AHEAD if number in self._expected else 1
        end = min(number + more, len(self))
        while end > number + 1 and self._end(end - 1) - self._starts[number] > _LONG:
            end = number + (end - number) // 2
        with closing(_scan(self.path, self.kind, self._starts[number], number + 1)) as found:
            records = [record for _, record in islice(found, end - number)]
        if len(self._expected) > _STREAMS:
            self._expected.clear()
        self._expected.add(end)
        self._keep(number, records)
        return records[0]

    def _end(self, number: int) -> int:
        """Return where a line ends; the last one counts as long."""
        last = number + 1 == len(self)
        return self._starts[number] + _LONG if last else self._starts[number + 1]

    def _keep(self, number: int, records: Sequence[R]) -> None:
        size = self._end(number + len(records) - 1) - self._starts[number]
        if size >= _LONG:
            return
        if self._kept + size > _MOST_KEPT:
            self._recent, self._kept = {}, 0
        self._recent.update(enumerate(records, start=number))
        self._kept += size


_LONG = 1 << 16
"""Length in bytes from which a record is not kept, and most bytes that are read ahead."""
_AHEAD, _STREAMS = 32, 64
"""Records that are read ahead, and lines that a reader may ask for next."""
_MOST_KEPT = 32 << 20
"""Bytes of the file whose records are kept: the next lookup is often for the same case."""


class FilteredRecords(Iterable[R]):
    """The records that pass a test, read again in each iteration."""

    def __init__(self, records: Iterable[R], test: Callable[[R], bool]) -> None:
        """Take records that can be iterated several times."""
        self._records = records
        self._test = test

    def __iter__(self) -> Iterator[R]:
        """Yield the records in their order."""
        return filter(self._test, self._records)


class IndexedRecords(Mapping[K, R], Generic[K, R]):
    """Records by key, each read from its sequence when asked for."""

    def __init__(self, records: Sequence[R], places: Mapping[K, int]) -> None:
        """Take the records, and key → index in the sequence."""
        self._records = records
        self._places = places

    @classmethod
    def of(cls, records: Sequence[R], key: Callable[[R], K | None]) -> IndexedRecords[K, R]:
        """Index records; those whose key is None are left out."""
        keys = ((key(record), place) for place, record in enumerate(records))
        return cls(records, {name: place for name, place in keys if name is not None})

    def __len__(self) -> int:
        """Return how many keys there are."""
        return len(self._places)

    def __iter__(self) -> Iterator[K]:
        """Yield the keys."""
        return iter(self._places)

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a key, without reading the record."""
        return name in self._places

    def __getitem__(self, name: K) -> R:
        """Return the record with this key."""
        return self._records[self._places[name]]


def _scan(
    path: Path, kind: type[R], start: int = 0, number: int = 1
) -> Generator[tuple[int, R], None, None]:
    """Yield the offset and the record of each line from `start` on."""
    if not path.is_file():
        return
    with refuse_unreadable(path), path.open("rb") as lines:
        lines.seek(start)
        for at, line in bounded_lines(lines, path, number):
            try:
                record = parse_record(kind, line)
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{path}:{at}: {record_problem(kind, error)}") from error
            yield start, record
            start += len(line)


def read_records(path: Path, kind: type[R]) -> tuple[R, ...]:
    """Read the records of a JSON-lines file of ours; none if it does not exist.

    Raises:
        UsageError: which line cannot be read, and why.
    """
    return tuple(record for _, record in _scan(path, kind))


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file of ours; nothing if it does not exist."""
    if path.is_file():
        for _, line in numbered_lines(path):
            yield json.loads(line)


def record_lines(records: Iterable[object], *, packed: bool = False) -> Iterator[str]:
    """Yield the JSON lines of records without fields that are None.

    Args:
        records: The records.
        packed: Whether to leave out spaces.
    """
    separators = (",", ":") if packed else None
    encode = json.JSONEncoder(allow_nan=False, separators=separators).encode
    for record in records:
        yield encode(to_jsonable_python(record, by_alias=True, exclude_none=True)) + "\n"
