"""Trace files: discovery, format detection and decompression."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tunegate.harness.records.errors import UsageError
from tunegate.harness.telemetry.read.trace_types import ImportReport

SUFFIXES = (
    ".json", ".jsonl", ".ndjson", ".pb", ".binpb", ".bin", ".otlp", ".proto", ".csv", ".parquet",
)  # fmt: skip
"""Ends of the names that are looked for in a folder, each also with `.gz`."""
LONGEST_LINE = 1 << 28
"""Bytes of a line that is held in memory; a longer one is left out."""
PARQUET = b"PAR1"
_FIRST_PRINTED = 0x20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class FileFormat(Enum):
    """How a file's content is written."""

    JSON = "json"
    PROTOBUF = "protobuf"
    TABLE = "table"
    """CSV or Parquet."""
    NONE = "none"
    """Nothing that can be read; the reason has been counted."""


@dataclass(slots=True)
class FileContent:
    """A file's bytes from the beginning, and what they are."""

    name: str
    """The path as it was given, for messages."""
    form: FileFormat
    stream: io.BufferedReader
    reading: ImportReport

    @property
    def holds_logs(self) -> bool:
        """Whether these are log records by the file's name: protobuf itself does not show it."""
        return Path(self.name).name.lower().startswith("logs")

    def head(self, size: int) -> bytes:
        """Return the bytes up to the end of the first line, at most `size`, and go back."""
        found = self._try_read(self.stream.readline, size)
        self.stream.seek(0)
        return found

    def begin(self, size: int) -> bytes:
        """Return the next bytes, at most `size`, and leave them there."""
        return self._try_read(self._peek, size)[:size]

    def more(self) -> bool:
        """Return whether there are bytes left."""
        return bool(self.begin(1))

    def read(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer at the end; a broken gzip stream ends early."""
        # In single reads: a longer one that fails would lose what it had so far.
        pieces = []
        while size > 0 and (piece := self._try_read(self.stream.read1, size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def line(self) -> bytes:
        """Return the next line; a broken gzip stream ends early."""
        return self._try_read(self.stream.readline, LONGEST_LINE)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines that are not blank, each with its number from 1."""
        number = 0
        while line := self._try_read(self.stream.readline, LONGEST_LINE):
            number += 1
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                self.reading.leave_out("a line of over 256 MB", f"{self.name}:{number}")
                while line and not line.endswith(b"\n"):
                    line = self._try_read(self.stream.readline, LONGEST_LINE)
            elif not line.isspace():
                yield number, line

    def _peek(self, size: int) -> bytes:
        return self.stream.peek(size)

    def _try_read(self, read: Callable[[int], bytes], size: int) -> bytes:
        try:
            return read(size)
        except (EOFError, OSError, zlib.error) as error:
            self.reading.leave_out(_format_error(error), self.name)
            return b""


@contextmanager
def open_contents(path: Path, reading: ImportReport) -> Iterator[FileContent]:
    """Open a trace file and find out its form."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: not a regular file; save what a pipe or device yields to a file")
    try:
        raw = path.open("rb", buffering=0)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror or error})") from error
    with raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        stream = gzip.GzipFile(fileobj=raw) if packed else raw
        content = FileContent(str(path), FileFormat.NONE, io.BufferedReader(stream), reading)
        content.form = _form(content)
        yield content


def _form(content: FileContent) -> FileFormat:
    """Return the form by the first bytes, which are left where they are."""
    try:
        head = content.stream.peek(64)
    except (EOFError, OSError, zlib.error) as error:
        content.reading.leave_out(_format_error(error), content.name)
        return FileFormat.NONE
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"{", b"["):
        return FileFormat.JSON
    if not text:
        reason = "an empty file"
    elif _ZSTD in head[:8]:
        reason = "a file compressed with zstd (decompress it: zstd -d)"
    elif head[:4] == PARQUET or all(byte >= _FIRST_PRINTED or byte in b"\t\r\n" for byte in head):
        return FileFormat.TABLE
    else:  # the lengths in protobuf are characters of no text
        return FileFormat.PROTOBUF
    content.reading.leave_out(reason, content.name)
    return FileFormat.NONE


def trace_files(paths: Sequence[Path | str]) -> list[Path]:
    """Return the files that paths, folders and patterns stand for, each once, with their logs."""
    found = [file for path in paths for file in _expand_path(Path(path))]
    found += [logs for file in found if (logs := _sibling_logs(file)) is not None]
    return list({file.resolve(): file for file in reversed(found)}.values())[::-1]


def _expand_path(path: Path) -> list[Path]:
    if path.is_dir():
        return _folder_files(path)
    if path.exists():
        return [path]
    if any(mark in str(path) for mark in "*?["):
        base = Path(path.anchor or ".")
        matched = sorted(base.glob(str(path.relative_to(path.anchor))))
        if matched:
            return [file for one in matched for file in _expand_path(one)]
        raise UsageError(f"{path}: no file matches")
    raise UsageError(f"{path}: no such file or folder; name trace files, a folder or a pattern")


def _folder_files(folder: Path) -> list[Path]:
    """Return the traces of a run folder, or every file with a suffix of traces."""
    named = [
        path
        for pattern in ("traces*", "logs*")
        for path in sorted(folder.glob(pattern))
        if path.is_file() and _has_suffix(path)
    ]
    if any(path.name.startswith("traces") for path in named):
        return named
    files = sorted(path for path in folder.rglob("*") if path.is_file() and _has_suffix(path))
    if (folder / "manifest.json").is_file() or not files:
        ends = " ".join(SUFFIXES)
        raise UsageError(f"{folder}: no traces in it; names end in {ends} or one of them with .gz")
    return files


def _has_suffix(path: Path) -> bool:
    return path.name.lower().removesuffix(".gz").endswith(SUFFIXES)


def _sibling_logs(path: Path) -> Path | None:
    if not path.name.startswith("traces"):
        return None
    beside = path.with_name("logs" + path.name.removeprefix("traces"))
    return beside if beside.is_file() else None


def _format_error(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "the rest of a truncated gzip file"
    if isinstance(error, gzip.BadGzipFile | zlib.error):
        return "the rest of a gzip file that is damaged"
    return f"the rest of a file that cannot be read ({error})"
