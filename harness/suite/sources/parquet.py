r"""Cases from a parquet file, or from a folder of them.

Example:
    [cases]
    from = "parquet"
    file = "squad/validation-00000-of-00001.parquet"
    columns = { prompt = "{context}\n\n{question}", expected = "answers.text", cluster = "title" }
    sample = 500
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra, SuiteError, error_reason
from tunegate.harness.records.problems import lfs_problem
from tunegate.harness.suite.sources._columns import Columns
from tunegate.harness.suite.sources._conversations import conversation_cases
from tunegate.harness.suite.sources._table import ALL_ROWS, RowSelection, RowTable, map_columns
from tunegate.harness.suite.sources._text import Row


def parquet(
    folder: Path,
    *,
    file: str,
    chat: bool = False,
    columns: Columns | None = None,
    selection: RowSelection = ALL_ROWS,
) -> Iterator[Case]:
    """Yield the cases of `file`; null and NaN count as missing.

    Args:
        folder: The suite's folder.
        file: Path from the suite's folder; for a folder, all its `*.parquet` by name.
        chat: Whether the rows are conversations of a training file, as the source chat reads them.
        columns: Case field → column; without it, the columns named like case fields.
        selection: Which rows are taken.

    Raises:
        SuiteError: files are missing, broken or differ in their columns, a column does not
            exist, or rows are broken (every one is listed).
        MissingExtra: pyarrow is not installed.
    """
    path = folder / file
    paths = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not paths:
        raise SuiteError([f"{path}: no *.parquet in this folder; name a file or another folder"])
    tables = [read_parquet(part) for part in paths]
    names = tables[0].column_names
    for part, table in zip(paths, tables, strict=True):
        if table.column_names != names:
            raise SuiteError(
                [f"{part}: its columns differ from those of {paths[0].name}; name a single file"]
            )
    starts = [sum(t.num_rows for t in tables[:i]) for i in range(len(tables))]

    def pick(wanted: Sequence[int]) -> Iterator[Row]:
        for part, table, start in zip(paths, tables, starts, strict=True):
            mine = [i - start for i in wanted if start <= i < start + table.num_rows]
            rows = table.take(mine).to_pylist() if mine else []
            yield from ((f"{part}: row {i + 1}", row) for i, row in zip(mine, rows, strict=True))

    rows = RowTable(str(path), names, sum(t.num_rows for t in tables), pick)
    read = conversation_cases if chat else map_columns
    yield from read(rows, columns, selection)


def read_parquet(path: Path) -> Any:
    """Return the rows of a parquet file as a `pyarrow.Table`.

    Raises:
        SuiteError: the file is missing or broken.
        MissingExtra: pyarrow is not installed.
    """
    try:
        from pyarrow import ArrowException  # type: ignore[import-untyped]  # ships no types
        from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtra("a parquet file", "sources") from error
    if not path.is_file():
        raise SuiteError([f"{path}: no such file; paths start at the suite's folder"])
    if pointer := lfs_problem(path):
        raise SuiteError([pointer])
    try:
        with ParquetFile(path) as file:
            return file.read()
    except (ArrowException, OSError) as error:
        reason = error_reason(error)
        raise SuiteError([f"{path}: cannot be read ({reason}); download it again"]) from error
