"""Reading and writing of record files: strict JSON, atomic writes, JSON lines of any size.

`JsonlRecords` knows where each line begins and parses it when it is asked for; `IndexedRecords`
finds records by a key and keeps nothing but the keys.
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import threading
from array import array
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Any, BinaryIO, Generic, TextIO, TypeVar, cast, overload

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from tunegate.harness.records.cases import SCHEMA_VERSION
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.problems import validation_problem

K = TypeVar("K", bound=Hashable)

R = TypeVar("R")


class JsonlRecords(Sequence[R]):
    """The records of a file; none if it does not exist."""

    def __init__(self, path: Path, kind: type[R]) -> None:
        """Read every line once, so that a damaged file is refused before anything is made of it.

        Raises:
            UsageError: in one line, which line cannot be read and why.
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
        """Yield the records in the order of the file; those of a small file are then kept."""
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
        # Whoever asks for the line after one that was read goes through the file: read ahead.
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
"""Records that are read ahead, and places at which a reader may be expected next."""
_MOST_KEPT = 32 << 20
"""Bytes of the file whose records are kept, for the next question is often about the same case."""


class FilteredRecords(Iterable[R]):
    """The records that pass a test, read anew in each iteration."""

    def __init__(self, records: Iterable[R], test: Callable[[R], bool]) -> None:
        """Take records that can be iterated several times."""
        self._records = records
        self._test = test

    def __iter__(self) -> Iterator[R]:
        """Yield the records in their order."""
        return filter(self._test, self._records)


class IndexedRecords(Mapping[K, R], Generic[K, R]):
    """Records by key; of a sequence that reads them from a file, each is read when asked for."""

    def __init__(self, records: Sequence[R], places: Mapping[K, int]) -> None:
        """Take the records, and key → place in the sequence."""
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


LARGEST_FILE = 2_000_000_000
"""Bytes of a file that is read as a whole."""


def check_regular(path: Path, most: int | None = None) -> None:
    """Refuse what is not a regular file of at most `most` bytes: a pipe without a writer hangs.

    Raises:
        OSError: why it is not read.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or device"
        raise OSError(errno.EINVAL, f"{kind}, not a regular file")
    if most is not None and found.st_size > most:
        raise OSError(errno.EFBIG, f"{found.st_size:,} bytes, at most {most:,} are read")


def read_file(path: Path, most: int = LARGEST_FILE) -> bytes:
    """Return the content of a regular file of at most `most` bytes.

    Raises:
        OSError: it cannot be read, or is another kind of file or larger.
    """
    check_regular(path, most)
    return path.read_bytes()


def parse_record(kind: type[R], text: bytes) -> R:
    """Return the record that a JSON text holds.

    Raises:
        ValueError: it holds none; `record_problem` gives the cause.
        RecursionError: it is nested too deeply.
    """
    reader = _reader(kind)
    try:
        return reader.validate_json(text)
    except ValidationError:
        # For half a surrogate pair, which only `json` reads, and for better words on what is wrong.
        return reader.validate_python(json.loads(text))


def record_problem(kind: type[Any], error: Exception) -> str:
    """Return in one line why something is no record of that kind."""
    if isinstance(error, ValidationError):
        return f"not a {kind.__name__}: {validation_problem(kind, error)}"
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
                    record = parse_record(kind, line)
                except (ValueError, RecursionError) as error:
                    raise UsageError(f"{path}:{at}: {record_problem(kind, error)}") from error
                yield start, record
                start += len(line)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error


_NUMBERS = count()
"""Of the files that this process has written."""


def read_record(path: Path, kind: type[R]) -> R:
    """Read one record from a JSON file.

    Raises:
        UsageError: in one line, why it cannot be read.
    """
    try:
        return _parse_current(kind, read_file(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {record_problem(kind, error)}") from error


def read_records(path: Path, kind: type[R]) -> tuple[R, ...]:
    """Read the records of a JSON-lines file of ours; none if it does not exist.

    Raises:
        UsageError: in one line, which line cannot be read and why.
    """
    return tuple(record for _, record in _scan(path, kind))


def _parse_current(kind: type[R], text: bytes) -> R:
    """Return the record of a text; that it is of another version comes before other complaints."""
    try:
        record = parse_record(kind, text)
    except ValueError:
        content = json.loads(text)
        _refuse_other_version(content.get("schema_version") if isinstance(content, dict) else None)
        raise
    _refuse_other_version(getattr(record, "schema_version", None))
    return record


def _refuse_other_version(version: object) -> None:
    if version not in (None, SCHEMA_VERSION):
        raise ValueError(
            f"written in version {version} of the format, and this tunegate reads version "
            f"{SCHEMA_VERSION}: install the tunegate that wrote it"
        )


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON-lines file of ours; nothing if it does not exist."""
    if path.is_file():
        with path.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                yield json.loads(line)


@contextmanager
def open_atomic(path: Path) -> Iterator[TextIO]:
    """Return a file to write: readers see the old content, or all of the new once it is closed.

    What a name that ends in `.gz` is given is packed, the same bytes for the same text.

    Raises:
        OSError: writing failed; the old file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of our own naming: tempfile's files are readable by their owner alone, and stay so.
    temporary = path.parent / f".writing-{os.getpid()}-{threading.get_ident()}-{next(_NUMBERS)}"
    try:
        with temporary.open("wb") as raw:
            with _text_into(raw, packed=path.suffix == ".gz") as file:
                yield file
            os.fsync(raw.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _text_into(raw: BinaryIO, *, packed: bool) -> Iterator[TextIO]:
    """Return a text file that is written to `raw`, which stays open."""
    target = raw
    if packed:
        import gzip

        target = cast("BinaryIO", gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0))
    text = io.TextIOWrapper(target, "utf-8", errors="backslashreplace", newline="")
    try:
        yield text
    finally:
        text.detach()
        if packed:
            target.close()
        raw.flush()


def write_atomic(path: Path, text: str | Iterable[str]) -> None:
    """Write a file so that readers see the old content or the new, never a part.

    Args:
        path: The file.
        text: Its content, or the pieces of it, which are never held together.

    Raises:
        OSError: writing failed; the old file is untouched.
    """
    with open_atomic(path) as file:
        file.writelines((text,) if isinstance(text, str) else text)


def record_json(record: BaseModel) -> str:
    """Return the one text of a record for a file of its own: sorted keys, two-space indent."""
    return "".join(record_pieces(record))


def record_pieces(record: BaseModel) -> Iterator[str]:
    """Yield the pieces of `record_json`, which together take more memory than the record."""
    value = record.model_dump(mode="json", by_alias=True)
    # Half a surrogate pair in an identity, which is any JSON, leaves as the escape `\\ud800`.
    writer = json.JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    yield from writer.iterencode(value)
    yield "\n"


def record_lines(records: Iterable[object], *, packed: bool = False) -> Iterator[str]:
    """Yield the JSON lines of records, fields that are None left out.

    Args:
        records: The records.
        packed: Whether no space follows a comma or colon.
    """
    separators = (",", ":") if packed else None
    encode = json.JSONEncoder(allow_nan=False, separators=separators).encode
    for record in records:
        yield encode(to_jsonable_python(record, by_alias=True, exclude_none=True)) + "\n"
