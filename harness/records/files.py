"""Record files: checked reads, and writes that readers never see in part."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.problems import validation_problem
from tunegate.harness.records.record import SCHEMA_VERSION

R = TypeVar("R")

LARGEST_FILE = 2_000_000_000
"""Bytes of the largest file that is read as a whole."""


def check_regular(path: Path, most: int | None = None) -> None:
    """Raise OSError unless a path is a regular file of at most `most` bytes.

    A pipe without a writer would hang.
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
        OSError: it cannot be read, is not a regular file, or is larger.
    """
    check_regular(path, most)
    return path.read_bytes()


LONGEST_LINE = 1 << 27
"""Bytes of the longest line that is read: 128 MiB, more than twice a whole file of cases."""


def bounded_lines(
    file: io.BufferedIOBase, place: object, number: int = 1
) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of an open file with their numbers; no line is ever read beyond the limit.

    Raises:
        UsageError: a line is longer than `LONGEST_LINE`.
    """
    lines = iter(partial(file.readline, LONGEST_LINE + 1), b"")
    for at, line in enumerate(lines, start=number):
        if len(line) > LONGEST_LINE:
            raise UsageError(
                f"{place}:{at}: a line of more than {LONGEST_LINE:,} bytes, and at most as many "
                "are read; the file is damaged: restore it, or shorten the line"
            )
        yield at, line


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a regular file with their numbers.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        UsageError: a line is longer than `LONGEST_LINE`.
    """
    check_regular(path)
    with path.open("rb") as file:
        yield from bounded_lines(file, path)


def split_fragment(target: str) -> tuple[Path, str]:
    """Return a path, and what follows the last `#`; a path that exists is not split."""
    place, mark, fragment = target.rpartition("#")
    whole = not mark or Path(target).exists()
    return (Path(target), "") if whole else (Path(place), fragment)


def parse_record(kind: type[R], text: bytes) -> R:
    """Parse a record from JSON.

    Raises:
        ValueError: the text is not such a record; `record_problem` says why.
        RecursionError: it is nested too deeply.
    """
    if kind not in _READERS:
        _READERS[kind] = TypeAdapter(kind)
    reader: TypeAdapter[R] = _READERS[kind]
    try:
        return reader.validate_json(text)
    except ValidationError:
        # `json` reads half a surrogate pair, and gives better reasons.
        return reader.validate_python(json.loads(text))


def record_problem(kind: type[Any], error: Exception) -> str:
    """Return in one line why something is not a record of that kind."""
    if isinstance(error, ValidationError):
        return f"not a {kind.__name__}: {validation_problem(kind, error)}"
    return f"not a {kind.__name__}: {error or 'nested too deeply'}"


_READERS: dict[type[Any], TypeAdapter[Any]] = {}
"""Kind → its parser: making one takes longer than reading a thousand records."""


_NUMBERS = count()
"""Numbers of the files that this process writes."""


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


def _parse_current(kind: type[R], text: bytes) -> R:
    """Parse a record; refuse another version of the format before any other problem."""
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


@contextmanager
def open_atomic(path: Path) -> Iterator[TextIO]:
    """Open a file to write, whose readers see the old content until it is closed.

    A file named `.gz` is compressed, the same bytes for the same text.

    Raises:
        OSError: writing failed; the old file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile's, which only their owner can read.
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
    """Open a text file that writes to `raw`, which stays open."""
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
    """Write a text, or its pieces, so that readers see the old content or the new, never a part.

    Raises:
        OSError: writing failed; the old file is untouched.
    """
    with open_atomic(path) as file:
        file.writelines((text,) if isinstance(text, str) else text)


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write bytes so that readers see the whole file or none.

    Raises:
        OSError: writing failed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".writing-{os.getpid()}-{threading.get_ident()}-{next(_NUMBERS)}"
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def record_json(record: BaseModel) -> str:
    """Return a record as a JSON file: sorted keys, two-space indent."""
    return "".join(record_pieces(record))


def record_pieces(record: BaseModel) -> Iterator[str]:
    """Yield `record_json` in pieces, to save memory."""
    value = record.model_dump(mode="json", by_alias=True)
    # Half a surrogate pair in an identity, which is any JSON, is written as `\\ud800`.
    writer = json.JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    yield from writer.iterencode(value)
    yield "\n"


def relative_path(path: Path) -> Path:
    """Return a path as people type it, relative to the current folder if it is inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
