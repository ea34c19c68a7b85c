"""Cases from a CSV file whose first line names its columns.

Example:
    [cases]
    from = "csv"
    file = "tickets.csv"
    columns = { prompt = "question", expected = "answer", tags = ["topic"], cluster = "customer" }
    sample = 500
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from tunegate.harness.records.cases import Case
from tunegate.harness.suite.sources import _text
from tunegate.harness.suite.sources._columns import Columns
from tunegate.harness.suite.sources._table import ALL_ROWS, RowSelection, RowTable, map_columns


def csv(
    folder: Path,
    *,
    file: str,
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ",",
    columns: Columns | None = None,
    selection: RowSelection = ALL_ROWS,
) -> Iterator[Case]:
    r"""Yield the cases of `file`; all cells are texts, and empty ones count as missing.

    Args:
        folder: The suite's folder.
        file: Path from the suite's folder.
        delimiter: Separator of the columns, such as ";" or "\t".
        columns: Case field → column; without it, the columns named like case fields.
        selection: Which rows are taken.

    Raises:
        SuiteError: the file cannot be read, a column does not exist, or rows are broken
            (every one is listed).
    """
    path = folder / file
    names, rows = _text.csv_rows(path, delimiter)
    table = RowTable.of(f"{path}:1", rows, names)
    yield from map_columns(table, columns, selection)
