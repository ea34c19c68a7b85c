"""Training rows of a model, found by the card of the training or named by the user.

A file is the one of the training only if its hash is equal. It is searched for at the path in the
card, next to the weights, and among the files that the user names.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tunegate.harness.checks.contamination.scan import TrainingText
from tunegate.harness.checks.contamination.text import row_texts
from tunegate.harness.records.contamination import FileState, TrainingDataFile
from tunegate.harness.records.errors import MissingExtra, UsageError, error_reason
from tunegate.harness.records.files import check_regular, read_file
from tunegate.harness.records.hashing import content_sha256
from tunegate.harness.records.training_card import TrainingSummary
from tunegate.harness.results._files import parquet_records

_LARGEST = 20_000_000_000
"""Bytes of the largest file that a card may name, as a card may come from anywhere."""
_LONGEST_LINE = 100_000_000
"""Bytes of the longest row."""


@dataclass(frozen=True, slots=True)
class TrainingSource:
    """A file of training rows and its state."""

    file: TrainingDataFile
    path: Path | None
    """Where to read it; None if it is not read."""


def find_training_files(
    training: TrainingSummary, folder: Path | None, named_paths: Sequence[Path]
) -> list[TrainingSource]:
    """Return the files that the card in `folder` or the user names."""
    named = {}
    for path in named_paths:
        if not path.exists():
            raise UsageError(f"--gate-training-data={path}: no such file or folder")
        named[path] = content_sha256(path)
    sources = [_training_source(file, folder, named) for file in training.files]
    used = {source.path for source in sources}
    for path, digest in named.items():
        if path not in used:
            state = TrainingDataFile(
                path=str(path), sha256=digest, rows=None, state=FileState.GIVEN
            )
            sources.append(TrainingSource(state, path))
    return sources


def _training_source(
    file: Any, folder: Path | None, named_hashes: dict[Path, str]
) -> TrainingSource:
    """Return the file that a card names, if its content has not changed."""
    wanted, path = file["sha256"], Path(file["path"])
    places = [path] + ([] if folder is None else [folder / path.name])
    unread = TrainingDataFile(path=str(path), sha256=wanted, rows=None, state=FileState.UNREADABLE)
    try:
        # A card may come from anywhere: anything but files and saved data sets is ignored.
        there = [place for place in places if _is_file_of_rows(place) or _is_folder_of_rows(place)]
        if any(map(_is_too_large, there)):
            return TrainingSource(unread, None)
        hashes = {place: content_sha256(place) for place in there} | named_hashes
    except OSError:
        return TrainingSource(unread, None)
    same = next((place for place, digest in hashes.items() if digest == wanted), None)
    state = FileState.SAME
    if same is None:
        state = FileState.CHANGED if there else FileState.MISSING
    return TrainingSource(
        TrainingDataFile(path=str(same or path), sha256=wanted, rows=None, state=state), same
    )


def _is_file_of_rows(path: Path) -> bool:
    """Return whether it is a regular file with content: those of /proc may wait, and have none."""
    return path.is_file() and path.stat().st_size > 0


def _is_folder_of_rows(path: Path) -> bool:
    """Return whether `datasets` saved a folder."""
    return any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


def _is_too_large(path: Path) -> bool:
    files = (path,) if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file()) > _LARGEST


class TrainingRowStream:
    """The rows of all files that are read, one after the other."""

    def __init__(self, sources: Sequence[TrainingSource]) -> None:
        """Store the files; iterating reads them."""
        self._sources = sources
        self.files = [source.file for source in sources]
        """The state of each file; complete after the last row."""

    def __iter__(self) -> Iterator[TrainingText]:
        """Yield every row."""
        for number, (file, path) in enumerate((s.file, s.path) for s in self._sources):
            if path is None:
                continue
            count = 0
            state = file.state
            try:
                for where, row in _read(path):
                    yield TrainingText(f"{path.name}:{where}", tuple(row_texts(row)))
                    count += 1
            except (ValueError, OSError, RecursionError, MissingExtra) as error:
                reason = error_reason(error)
                if file.state is FileState.GIVEN:
                    raise UsageError(
                        f"--gate-training-data={path}: after {count} rows: {reason}; give JSONL "
                        "with a row per line, a JSON list, CSV, Parquet, or a folder of `datasets`"
                    ) from error
                state = FileState.UNREADABLE
            self.files[number] = file.model_copy(update={"rows": count, "state": state})


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (place within the file, row)."""
    if path.is_dir():
        yield from _folder(path)
        return
    check_regular(path)
    if path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix in (".csv", ".tsv"):
        yield from _table(path, "," if path.suffix == ".csv" else "\t")
    elif path.suffix == ".json":
        rows = json.loads(read_file(path))
        if not isinstance(rows, list):
            raise ValueError("not a list of rows")
        yield from ((f"row {number}", row) for number, row in enumerate(rows, start=1))
    else:
        with path.open("rb") as lines:
            parts = iter(partial(lines.readline, _LONGEST_LINE), b"")
            for number, line in enumerate(parts, start=1):
                if line.strip():
                    yield str(number), _object(line, number)


def _table(path: Path, delimiter: str) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_LINE))
    with path.open(encoding="utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines, delimiter=delimiter)
        try:
            yield from ((str(rows.line_num), row) for row in rows)
        except csv.Error as error:
            raise ValueError(f"after line {rows.line_num}: {error}") from error


def _object(line: bytes, number: int) -> Any:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"line {number} is not one JSON object ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(f"line {number} is not one JSON object")
    return row


def _folder(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the rows of a folder that `datasets` saved, or of its split `train`."""
    try:
        import datasets  # type: ignore[import-untyped]  # ships no types
    except ImportError as error:
        raise MissingExtra("a folder of rows", "train") from error
    rows = datasets.load_from_disk(str(path))
    if isinstance(rows, datasets.DatasetDict):
        if "train" not in rows:
            raise ValueError("no split 'train'; name one of its folders")
        rows = rows["train"]
    yield from ((f"row {number}", row) for number, row in enumerate(rows, start=1))


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        for where, row in parquet_records(path):
            yield where.removeprefix(f"{path}: "), row
    except UsageError as error:
        raise ValueError(str(error)) from error
