"""Cases from a Hugging Face data set: on disk, in files that `datasets` reads, or on the hub.

Labels are read as their names. No code of a data set is run.

Example:
    [cases]
    from = "datasets"
    path = "data/banking77"     # save_to_disk's folder, a folder or file of data, or a hub id
    split = "test"
    columns = { prompt = "text", expected = "label", tags = ["label"] }
    sample = 500
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.quiet import quiet_libraries
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import (
    MissingExtra,
    SuiteError,
    error_reason,
    unknown_name_message,
)
from tunegate.harness.suite.sources._columns import Columns
from tunegate.harness.suite.sources._conversations import conversation_cases
from tunegate.harness.suite.sources._table import ALL_ROWS, RowSelection, RowTable, map_columns
from tunegate.harness.suite.sources._text import Row

BUILDERS = {
    ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet",
    ".arrow": "arrow", ".txt": "text",
}  # fmt: skip
"""Ending of a file → what `load_dataset` calls its form."""
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def datasets(  # noqa: PLR0913 - each is a key of the suite file
    folder: Path,
    *,
    path: str,
    name: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    chat: bool = False,
    columns: Columns | None = None,
    selection: RowSelection = ALL_ROWS,
) -> Iterator[Case]:
    """Yield the rows of a data set as cases.

    Args:
        folder: The suite's folder.
        path: Folder or file from the suite's folder, or else a hub id.
        name: The configuration, if the data set has several.
        split: The split; optional if there is only one.
        revision: Commit or tag of a hub id.
        chat: Whether the rows are conversations of a training file, as the source chat reads them.
        columns: Case field → column; without it, the columns named like case fields.
        selection: Which rows are taken.

    Raises:
        SuiteError: the data set is out of reach or broken, a split or column does not exist, or
            rows are broken (every one is listed).
        MissingExtra: datasets is not installed.
    """
    library = _library()
    with quiet_libraries("huggingface_hub.repocard"):  # it warns about a folder's README
        hub = {"path": path, "name": name, "revision": revision}
        data = _open_split(library, folder / path, split, hub)
        place = str(folder / path) if (folder / path).exists() else path
        place = f"{place}, split {split}" if split else place
        if unseen := [c for c, f in data.features.items() if hasattr(f, "decode")]:
            raise SuiteError(
                [
                    f"{place}: column {unseen[0]!r} holds images, sounds or videos, which this "
                    "source does not read: save images as files and name them in messages, or "
                    "save the data set without the column"
                ]
            )
        labels = {c: f for c, f in data.features.items() if isinstance(f, library.ClassLabel)}

        def pick(wanted: Sequence[int]) -> Iterator[Row]:
            for number, row in zip(wanted, data.select(wanted), strict=True):
                yield f"{place}: row {number + 1}", _label_names(row, labels)

        table = RowTable(place, data.column_names, len(data), pick)
        read = conversation_cases if chat else map_columns
        yield from read(table, columns, selection)


def _library() -> Any:
    try:
        import datasets as library  # type: ignore[import-untyped]  # ships no types
    except ImportError as error:
        raise MissingExtra("the case source 'datasets'", "sources") from error
    return library


def _open_split(library: Any, where: Path, split: str | None, hub: dict[str, str | None]) -> Any:
    """Return the split that is meant; `hub` are the arguments for the hub.

    Raises:
        SuiteError: it is out of reach, broken or ambiguous.
    """
    try:
        if where.exists():
            opened = _local(library, where, hub["name"])
        else:
            opened = _from_hub(library, where, split, hub)
    except (ValueError, OSError, library.exceptions.DatasetsError) as error:
        raise SuiteError(
            [f"{where}: cannot be read as a data set ({error_reason(error):.200})"]
        ) from error
    return opened if isinstance(opened, library.Dataset) else _split(where, opened, split)


def _local(library: Any, path: Path, name: str | None) -> Any:
    if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
        return library.load_from_disk(str(path))
    if path.is_dir():
        return library.load_dataset(str(path), name)
    builder = BUILDERS.get(path.suffix)
    if builder is None:
        raise SuiteError([f"{path}: unknown form; give one of {', '.join(BUILDERS)}"])
    return library.load_dataset(builder, data_files=str(path))


def _from_hub(library: Any, where: Path, split: str | None, hub: dict[str, str | None]) -> Any:
    path = hub["path"] or ""
    if not _HUB_ID.fullmatch(path):
        raise SuiteError([f"{where}: no such file or folder; paths start at the suite's folder"])
    if split is None:
        raise SuiteError([f"{where}: not there, and the hub's {path!r} needs a split; set split"])
    try:
        return library.load_dataset(**hub, split=split)
    except (ConnectionError, FileNotFoundError) as error:
        raise SuiteError([_out_of_reach(path, split, error)]) from error


def _split(where: Path, splits: Any, split: str | None) -> Any:
    if split is None and len(splits) == 1:
        return next(iter(splits.values()))
    if split is None:
        raise SuiteError([f"{where}: has the splits {', '.join(splits)}; set split"])
    if split not in splits:
        raise SuiteError([f"{where}: {unknown_name_message(split, tuple(splits), what='split')}"])
    return splits[split]


def _label_names(row: dict[str, Any], labels: dict[str, Any]) -> dict[str, Any]:
    """Return a row with its labels as names; -1 means no label."""
    named = {
        column: None if row[column] in (None, -1) else label.int2str(row[column])
        for column, label in labels.items()
    }
    return {**row, **named}


def _out_of_reach(path: str, split: str, error: Exception) -> str:
    return (
        f"{path}: this data set is not on this machine and the hub is out of reach "
        f"({error_reason(error):.200}); on a machine that reaches it: "
        f"datasets.load_dataset({path!r}, split={split!r})"
        f".save_to_disk({path.rpartition('/')[2]!r}), then set path to that folder"
    )
