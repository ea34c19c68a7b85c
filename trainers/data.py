"""Training rows from local files, checked before a model is loaded.

A file is JSONL (one row a line), Parquet, or a folder that `datasets` saved (`save_to_disk`; of
one with splits the split `train`, unless `FOLDER/SPLIT` is named). What a row holds is the method's
format: `trainers/row_format.py`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.checks.weights import content_sha256
from harness.errors import UsageError
from trainers.row_format import Bad, RowFormat, guess, is_text

if TYPE_CHECKING:
    from datasets import Dataset  # type: ignore[import-untyped]  # ships no types

_SHOWN = 20
"""Problems that are listed; more are counted."""


@dataclass(frozen=True, slots=True)
class TrainingFile:
    """One file that rows came from."""

    path: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """The rows of all files in the order of training, and where they came from."""

    rows: tuple[Mapping[str, Any], ...] = field(repr=False)
    files: tuple[TrainingFile, ...]
    places: tuple[str, ...] = field(repr=False, default=())
    """File and line of each row."""

    def to_dataset(self) -> Dataset:
        """Return the rows as TRL takes them."""
        from datasets import Dataset

        return Dataset.from_list([dict(row) for row in self.rows])


def load(paths: Sequence[str], form: RowFormat, *, seed: int) -> TrainingRows:
    """Read the rows of all files and mix them in an order that `seed` decides.

    Raises:
        UsageError: a file or some of its lines cannot be used; one line a problem.
    """
    rows: list[tuple[str, Mapping[str, Any]]] = []
    files, problems = [], []
    first_of: dict[bool, str] = {}
    for path in map(Path, paths):
        count = 0
        for where, value in _read(path):
            try:
                row = form.row(value)
            except Bad as error:
                problems.append(f"{where}: {error}")
            else:
                first_of.setdefault(is_text(row), where)
                rows.append((where, row))
            count += 1
        if not count:
            problems.append(f"{path}: no rows in this file")
        files.append(TrainingFile(str(path), content_sha256(path), count))
    if len(first_of) == 2:
        problems.append(
            f"{first_of[True]}: plain text, but {first_of[False]} is a chat; a training takes one "
            "kind: write both as lists of messages, or both as text"
        )
    raise_all(problems)
    random.Random(seed).shuffle(rows)
    places, values = zip(*rows, strict=True)
    return TrainingRows(values, tuple(files), places)


def form_of(path: str) -> RowFormat:
    """Return the format that a file seems to have, by its first row.

    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    if not Path(path).exists():
        raise UsageError(f"{path}: no such file")
    return guess(next((value for _, value in _read(Path(path))), None))


def raise_all(problems: list[str]) -> None:
    """Raise the problems, one a line, where there are any; the first ones of many."""
    if problems:
        more = len(problems) - _SHOWN
        tail = [f"… and {more} more problems"] if more > 0 else []
        raise UsageError("\n".join(problems[:_SHOWN] + tail))


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (place, value) of each row; an unreadable line is a `Bad` as its value."""
    if path.is_dir():
        yield from _read_folder(path)
        return
    if path.suffix == ".parquet":
        yield from _read_parquet(path)
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield f"{path}:{number}", _parse(line)


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return Bad("not UTF-8; save the file as UTF-8")
    except ValueError as error:
        return Bad(f"not one JSON object a line ({error})")


def _read_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow.parquet  # type: ignore[import-untyped]  # ships no types

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except (OSError, pyarrow.ArrowException) as error:
        raise UsageError(f"{path}: not readable as Parquet ({error})") from error
    yield from _numbered(path, rows)


def _read_folder(path: Path) -> Iterator[tuple[str, Any]]:
    import datasets

    try:
        rows = datasets.load_from_disk(str(path))
    except (ValueError, OSError) as error:
        raise UsageError(
            f"{path}: not a folder that `datasets` saved ({str(error).splitlines()[0]:.200})"
        ) from error
    if isinstance(rows, datasets.DatasetDict):
        if "train" not in rows:
            raise UsageError(f"{path}: no split 'train'; name one: {_splits(path, rows)}")
        rows = rows["train"]
    yield from _numbered(path, rows)


def _splits(path: Path, rows: Mapping[str, Any]) -> str:
    return ", ".join(str(path / split) for split in rows)


def _numbered(path: Path, rows: Any) -> Iterator[tuple[str, Any]]:
    """Yield rows of a table; its empty cells are columns that the row does not have."""
    for number, row in enumerate(rows, start=1):
        yield f"{path}:row {number}", {k: v for k, v in row.items() if v is not None}
