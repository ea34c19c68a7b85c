"""JSON lines, documents, tables and zip archives, and nested values, for all readers.

Members of an archive are read on their own, each with a limit; nothing is unpacked to the disk.
Python reads members compressed with Zstandard from 3.14 on; before that a package does it.
"""

from __future__ import annotations

import csv
import io
import json
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from tunegate.harness.contracts.result_reader import UnreadLine
from tunegate.harness.records.errors import MissingExtra, UsageError, error_reason
from tunegate.harness.records.files import check_regular, read_file

LARGEST_DOCUMENT = 2_000_000_000
"""Bytes of a JSON document that is read; JSON lines are streamed and have no limit."""
LONGEST_LINE = 100_000_000
"""Bytes of a line that is read."""
ZSTANDARD = 93
"""Number of the compression in a zip archive."""
LARGEST_MEMBER = 500_000_000
"""Bytes of a member, decompressed."""
LARGEST_RATIO = 1000
"""Times that a member of more than a megabyte may be as large as it is stored: text of a log is
compressed to a twentieth, a bomb to a thousandth and less."""
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


def json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any] | UnreadLine]]:
    """Yield each line's place with its object; blank lines are left out.

    NaN and Infinity are read, as tools write them. The last line is `cut` where it does not end and
    is no JSON.

    Raises:
        UsageError: the file cannot be opened.
    """
    try:
        check_regular(path)
        with path.open("rb") as file:
            for number, raw in enumerate(_raw_lines(file), start=1):
                where = f"{path}:{number}"
                if not raw.strip(b" \t\r\n\x0b\x0c\xef\xbb\xbf\0"):
                    continue
                try:
                    yield where, _object(raw.decode("utf-8-sig"))
                except ValueError as error:
                    cut = not raw.endswith(b"\n")
                    yield where, UnreadLine(where, _reason(error), cut)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def _raw_lines(file: Any) -> Iterator[bytes]:
    while raw := file.readline(LONGEST_LINE):
        yield raw


def json_document(path: Path) -> Any:
    """Return what a JSON file holds; NaN and Infinity are read.

    Raises:
        UsageError: it cannot be read, or is no JSON: the tool may still be writing it.
    """
    try:
        return json_text(read_file(path, LARGEST_DOCUMENT), str(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error


def json_text(raw: bytes, where: str) -> Any:
    """Return what a JSON text holds.

    Raises:
        UsageError: it is no JSON, with the place.
    """
    try:
        return _value(raw.decode("utf-8-sig"))
    except ValueError as error:
        raise UsageError(
            f"{where}: {_reason(error)}; wait until the tool has written it, or run it again"
        ) from error


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply to be read") from error


def _object(text: str) -> dict[str, Any]:
    value = _value(text)
    if not isinstance(value, dict):
        raise ValueError(f"a line must be an object, not {type(value).__name__}")
    return value


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"broken JSON at column {error.colno} ({error.msg})"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 at byte {error.start}"
    return "a number with thousands of digits" if "int_max_str" in str(error) else str(error)


def text_of(value: Any) -> str | None:
    """Return a value as text: texts as they are, others as JSON writes them; None stays None."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def first_bytes(path: Path, count: int = 4096) -> bytes:
    """Return the beginning of a file; nothing where there is none to be read."""
    try:
        check_regular(path)
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def csv_records(path: Path, delimiter: str) -> Iterator[tuple[str, dict[str, Any] | UnreadLine]]:
    """Yield each record's place with column → text, as `json_lines` does.

    Raises:
        UsageError: the file cannot be opened, or its first line names a column twice.
    """
    try:
        check_regular(path)
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            names = [name.strip() for name in next(reader, [])]
            twice = next((name for name, times in Counter(names).items() if times > 1), None)
            if twice is not None:
                raise UsageError(f"{path}:1: two columns are called {twice!r}; rename one")
            yield from _records(path, names, reader)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8; save the file as UTF-8") from error


def _records(
    path: Path, names: list[str], reader: Any
) -> Iterator[tuple[str, dict[str, Any] | UnreadLine]]:
    where = f"{path}:{reader.line_num + 1}"
    try:
        for values in reader:
            if values and len(values) != len(names):
                problem = f"{len(values)} columns, the first line has {len(names)}"
                yield where, UnreadLine(where, problem)
            elif values:
                yield where, dict(zip(names, values, strict=True))
            where = f"{path}:{reader.line_num + 1}"
    except csv.Error as error:
        yield where, UnreadLine(where, f"broken CSV ({error}); check the quotes", cut=True)


def parquet_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each row's place with its columns; batches are read one after the other.

    Raises:
        UsageError: the file cannot be read.
        MissingExtra: pyarrow is not installed.
    """
    try:
        from pyarrow import ArrowException  # type: ignore[import-untyped]  # ships no types
        from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("a parquet file", "sources") from error
    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", row
    except (ArrowException, OSError) as error:
        raise UsageError(
            f"{path}: cannot be read ({error_reason(error)}); write it again"
        ) from error


TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
"""Endings of the files that `table_records` reads."""


def table_records(path: Path) -> Iterator[tuple[str, dict[str, Any] | UnreadLine]]:
    """Yield each record of a table with its place; the form follows from the file's ending.

    Raises:
        UsageError: the file cannot be read, or a .json holds no list.
    """
    forms: dict[str, Callable[[], Iterator[tuple[str, dict[str, Any] | UnreadLine]]]] = {
        ".csv": lambda: csv_records(path, ","),
        ".tsv": lambda: csv_records(path, "\t"),
        ".parquet": lambda: parquet_records(path),
        ".json": lambda: _list_records(path),
    }
    return forms.get(path.suffix, lambda: json_lines(path))()


def _list_records(path: Path) -> Iterator[tuple[str, dict[str, Any] | UnreadLine]]:
    found = json_document(path)
    if not isinstance(found, list):
        raise UsageError(f"{path}: must be a list of objects; write JSON lines as .jsonl")
    for number, record in enumerate(found, start=1):
        where = f"{path}: record {number}"
        if isinstance(record, dict):
            yield where, record
        else:
            yield where, UnreadLine(where, "must be an object")


def token_count(raw: Any) -> int | None:
    """Return a number of tokens; None for 0, which tools write where they know nothing."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 < raw < LARGEST_COUNT:
        return None
    return int(raw)


LARGEST_COUNT = 10**12
"""Tokens; more is no measurement."""


class ZipMembers:
    """An open archive."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, file: BinaryIO) -> None:
        """Keep the archive and its file; `open_zip` makes one."""
        self.path = path
        self._archive = archive
        self._file = file

    @property
    def names(self) -> list[str]:
        """The names of the members, in their order."""
        return self._archive.namelist()

    def read(self, name: str) -> bytes:
        """Return a member's content.

        Raises:
            UsageError: it is damaged, or larger than what is read.
            MissingExtra: it is compressed with Zstandard, and nothing here can read that.
        """
        member = self._archive.getinfo(name)
        where = f"{self.path}: {name!r:.80}"
        most = min(LARGEST_MEMBER, max(1_000_000, LARGEST_RATIO * member.compress_size))
        try:
            if member.compress_type == ZSTANDARD:
                content = _zstandard_reader()(self._compressed_bytes(member), most + 1)
            else:
                with self._archive.open(member) as stream:
                    content = stream.read(most + 1)
        except MissingExtra:
            raise
        except Exception as error:  # each library has errors of its own for damaged data
            raise UsageError(f"{where}: cannot be decompressed ({error}); copy it again") from error
        if len(content) > most:
            raise UsageError(f"{where}: more than {most} bytes when decompressed; not read")
        if member.compress_type == ZSTANDARD and zlib.crc32(content) != member.CRC:
            raise UsageError(f"{where}: damaged (its checksum differs); copy it again")
        return content

    def _compressed_bytes(self, member: zipfile.ZipInfo) -> bytes:
        """Return a member as it is stored, compressed."""
        self._file.seek(member.header_offset)
        fields = _LOCAL_HEADER.unpack(self._file.read(_LOCAL_HEADER.size))
        self._file.seek(fields[9] + fields[10], io.SEEK_CUR)
        return self._file.read(member.compress_size)


@contextmanager
def open_zip(path: Path) -> Iterator[ZipMembers]:
    """Open an archive.

    Raises:
        UsageError: it is no zip archive, or its end is missing.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            yield ZipMembers(path, archive, file)
    except (zipfile.BadZipFile, struct.error) as error:
        raise UsageError(
            f"{path}: no whole zip archive ({error}); wait until the tool has written it, or copy "
            "it again"
        ) from error


def _zstandard_reader() -> Callable[[bytes, int], bytes]:
    """Return a function of compressed bytes and the most bytes to return."""
    with suppress(ImportError):
        from compression.zstd import ZstdFile  # type: ignore[import-not-found]  # Python 3.14

        return lambda raw, most: bytes(ZstdFile(io.BytesIO(raw)).read(most))
    with suppress(ImportError):
        from zstandard import ZstdDecompressor  # type: ignore[import-not-found]  # an extra

        return lambda raw, most: ZstdDecompressor().stream_reader(io.BytesIO(raw)).read(most)
    with suppress(ImportError):
        from pyarrow import BufferReader, CompressedInputStream

        return lambda raw, most: CompressedInputStream(BufferReader(raw), "zstd").read(most)
    raise MissingExtra("an Inspect log", "inspect-logs")
