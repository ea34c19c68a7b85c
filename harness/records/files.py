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
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.problems import validation_problem
from tunegate.harness.records.record import SCHEMA_VERSION

R = TypeVar("R")

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
