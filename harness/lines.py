"""JSON-lines files of ours, read a record at a time: a run may be larger than memory.

`Lines` knows where each line begins and parses it when it is asked for; `Indexed` finds records
by a key and keeps nothing but the keys.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from pydantic import TypeAdapter, ValidationError

from harness.errors import UsageError

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class Lines(Sequence[R]):
    """The records of a file; none if it does not exist."""

    def __init__(self, path: Path, kind: type[R]) -> None:
        """Read every line once, so that a damaged file is refused before anything is made of it.

        Raises:
            UsageError: in one line, which line cannot be read and why.
        """
        self.path = path
        self.kind = kind
        self._starts = array("Q", (start for start, _ in _scan(path, kind)))

    def __len__(self) -> int:
        """Return how many records there are."""
        return len(self._starts)

    def __iter__(self) -> Iterator[R]:
        """Yield the records in the order of the file."""
        return (record for _, record in _scan(self.path, self.kind))

    @overload
    def __getitem__(self, at: int) -> R: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[R]: ...
    def __getitem__(self, at: int | slice) -> R | Sequence[R]:
        """Read the record of one line, or those of several."""
        if isinstance(at, slice):
            return tuple(self[i] for i in range(*at.indices(len(self))))
        number = range(len(self))[at]
        with closing(_scan(self.path, self.kind, self._starts[number], number + 1)) as found:
            return next(record for _, record in found)


class Chosen(Iterable[R]):
    """The records that pass a test, read anew each time they are gone through."""

    def __init__(self, records: Iterable[R], test: Callable[[R], bool]) -> None:
        """Take records that can be gone through several times."""
        self._records = records
        self._test = test

    def __iter__(self) -> Iterator[R]:
        """Yield the records in their order."""
        return filter(self._test, self._records)


class Indexed(Mapping[K, R], Generic[K, R]):
    """Records by key; of a sequence that reads them from a file, each is read when asked for."""

    def __init__(self, records: Sequence[R], places: Mapping[K, int]) -> None:
        """Take the records, and key → place in the sequence."""
        self._records = records
        self._places = places

    @classmethod
    def of(cls, records: Sequence[R], key: Callable[[R], K | None]) -> Indexed[K, R]:
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


def parse(kind: type[R], text: bytes) -> R:
    """Return the record that a JSON text holds.

    Raises:
        ValueError: it holds none; `not_a` says why.
        RecursionError: it is nested too deeply.
    """
    reader = _reader(kind)
    with suppress(ValidationError):
        return reader.validate_json(text)
    # For half a surrogate pair, which only `json` reads, and for better words about what is wrong.
    return reader.validate_python(json.loads(text))


def not_a(kind: type[Any], error: Exception) -> str:
    """Return in one line why something is no record of that kind."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return f"not a {kind.__name__}: {place}: {first['msg']}"
    return f"not a {kind.__name__}: {error or 'nested too deeply'}"


_READERS: dict[type[Any], TypeAdapter[Any]] = {}
"""Kind → what reads it: making one takes longer than reading a thousand records."""


def _reader(kind: type[R]) -> TypeAdapter[R]:
    if kind not in _READERS:
        _READERS[kind] = TypeAdapter(kind)
    return _READERS[kind]


def _scan(
    path: Path, kind: type[R], start: int = 0, number: int = 1
) -> Generator[tuple[int, R], None, None]:
    """Yield where each line from `start` on begins, and its record."""
    if not path.is_file():
        return
    try:
        with path.open("rb") as lines:
            lines.seek(start)
            for at, line in enumerate(lines, start=number):
                try:
                    record = parse(kind, line)
                except (ValueError, RecursionError) as error:
                    raise UsageError(f"{path}:{at}: {not_a(kind, error)}") from error
                yield start, record
                start += len(line)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
