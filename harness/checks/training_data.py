"""The rows that a model was trained on: found again by the card of the training, or given.

A file counts as the one of the training only if its hash says so. It is looked for where the card
says it was, then beside the weights, then among the files that the user names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.checks.overlap.scan import TrainingText
from harness.checks.overlap.texts import row_texts
from harness.checks.weights import content_sha256
from harness.errors import MissingExtra, UsageError
from harness.leakage import DataFile, FileState
from harness.training import Training


@dataclass(frozen=True, slots=True)
class Source:
    """A file of training rows and what became of it."""

    file: DataFile
    path: Path | None
    """Where it is read from; None if it is not."""


def find(training: Training, folder: Path | None, given: Sequence[Path]) -> list[Source]:
    """Return the files of the card and those that the user names.

    Args:
        training: The card.
        folder: Where the card lies.
        given: Files of rows that the user says tuned was trained on.

    Raises:
        UsageError: a file that the user names is not there.
    """
    named = {}
    for path in given:
        if not path.exists():
            raise UsageError(f"--gate-training-data={path}: no such file or folder")
        named[path] = content_sha256(path)
    sources = [_recorded(file, folder, named) for file in training.files]
    used = {source.path for source in sources}
    for path, digest in named.items():
        if path not in used:
            state = DataFile(path=str(path), sha256=digest, rows=None, state=FileState.GIVEN)
            sources.append(Source(state, path))
    return sources


def _recorded(file: Any, folder: Path | None, given: dict[Path, str]) -> Source:
    """Return the file that a card names, if its content is still that of the training."""
    wanted, path = file["sha256"], Path(file["path"])
    places = [path] + ([] if folder is None else [folder / path.name])
    # A card may come from anywhere: what holds no rows is not read, however much of it there is.
    there = [place for place in places if place.is_file() or _is_folder_of_rows(place)]
    hashes = {place: content_sha256(place) for place in there} | given
    same = next((place for place, digest in hashes.items() if digest == wanted), None)
    state = FileState.SAME
    if same is None:
        state = FileState.CHANGED if there else FileState.MISSING
    return Source(DataFile(path=str(same or path), sha256=wanted, rows=None, state=state), same)


def _is_folder_of_rows(path: Path) -> bool:
    """Return whether `datasets` saved a folder."""
    return any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


class Rows:
    """The rows of all files that are read, one after the other."""

    def __init__(self, sources: Sequence[Source]) -> None:
        """Take the files; nothing is read yet."""
        self._sources = sources
        self.files = [source.file for source in sources]
        """What became of the files; complete once all rows were gone through."""

    def __iter__(self) -> Iterator[TrainingText]:
        """Yield every row.

        Raises:
            UsageError: a file that the user names is no file of rows.
        """
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
                reason = str(error).splitlines()[0]
                if file.state is FileState.GIVEN:
                    raise UsageError(
                        f"--gate-training-data={path}: after {count} rows: {reason}; give JSONL "
                        "with a row a line, a JSON list, Parquet, or a folder of `datasets`"
                    ) from error
                state = FileState.UNREADABLE
            self.files[number] = file.model_copy(update={"rows": count, "state": state})


def _read(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (place within the file, row).

    Raises:
        ValueError: the file is not in the form that its name promises.
    """
    if path.is_dir():
        yield from _folder(path)
    elif path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix == ".json":
        rows = json.loads(path.read_bytes())
        if not isinstance(rows, list):
            raise ValueError("not a list of rows")
        yield from ((f"row {number}", row) for number, row in enumerate(rows, start=1))
    else:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield str(number), _object(line, number)


def _object(line: bytes, number: int) -> Any:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"line {number} is not one JSON object ({error})") from error
    if not isinstance(row, dict):
        raise ValueError(f"line {number} is not one JSON object")
    return row


def _folder(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the rows of a folder that `datasets` saved; of one with splits, those of `train`."""
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
        from pyarrow import ArrowException  # type: ignore[import-untyped]  # ships no types
        from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("a parquet file", "sources") from error
    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield f"row {number}", row
    except ArrowException as error:
        raise ValueError(str(error)) from error
