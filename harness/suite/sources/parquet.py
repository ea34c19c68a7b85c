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

from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.suite.sources._conversations import conversation_cases
from tunegate.harness.suite.sources._table import (
    ALL_ROWS,
    Columns,
    RowSelection,
    RowTable,
    map_columns,
    read_parquet,
)
from tunegate.harness.suite.sources._text import Row


def parquet(
    folder: Path,
    *,
    file: str,
    chat: bool = False,
    columns: Columns | None = None,
    selection: RowSelection = ALL_ROWS,
) -> Iterator[Case]:
    """Yield the cases of `file`; null and NaN are no values.

    Args:
        folder: The suite's folder.
        file: Path from the suite's folder; of a folder all `*.parquet` in the order of names.
        chat: Whether the rows are conversations of a training file, as the source chat reads them.
        columns: Case field → column; without it those that are called as a case's fields.
        selection: Which rows are taken.

    Raises:
        SuiteError: files are missing, broken or of different columns, a column does not exist, or
            rows are broken: every one with its number.
        MissingExtra: pyarrow is not installed.
    """
    path = folder / file
    paths = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not paths:
        raise SuiteError([f"{path}: no *.parquet in this folder; name a file or another folder"])
    tables = [read_parquet(one) for one in paths]
    names = tables[0].column_names
    for one, table in zip(paths, tables, strict=True):
        if table.column_names != names:
            raise SuiteError(
                [f"{one}: its columns are not those of {paths[0].name}; name a single file"]
            )
    starts = [sum(t.num_rows for t in tables[:i]) for i in range(len(tables))]

    def pick(wanted: Sequence[int]) -> Iterator[Row]:
        for one, table, start in zip(paths, tables, starts, strict=True):
            mine = [i - start for i in wanted if start <= i < start + table.num_rows]
            rows = table.take(mine).to_pylist() if mine else []
            yield from ((f"{one}: row {i + 1}", row) for i, row in zip(mine, rows, strict=True))

    rows = RowTable(str(path), names, sum(t.num_rows for t in tables), pick)
    read = conversation_cases if chat else map_columns
    yield from read(rows, columns, selection)
