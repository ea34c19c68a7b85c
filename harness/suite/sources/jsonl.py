"""Cases from a JSON Lines file, one per line; with `columns` the lines may have any form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunegate.harness.records.cases import Case
from tunegate.harness.suite.sources._columns import Columns
from tunegate.harness.suite.sources._table import (
    ALL_ROWS,
    RowSelection,
    RowTable,
    map_columns,
    table_cases,
)


def jsonl(
    folder: Path,
    *,
    file: str,
    columns: Columns | None = None,
    selection: RowSelection = ALL_ROWS,
) -> Iterator[Case]:
    """Yield the cases of `file`; blank lines are skipped.

    Args:
        folder: The suite's folder.
        file: Path from the suite's folder; a `.json` file holds a list instead of lines.
        columns: Case field → key of the lines; without it, the lines are cases.
        selection: Which rows are taken.

    Raises:
        SuiteError: the file is missing, too large or not UTF-8, or lines are broken (every
            one is listed).
    """
    table = RowTable.of_json(folder / file, form="write one case a line")
    if columns is None:
        yield from table_cases(table, selection)
    else:
        yield from map_columns(table, columns, selection)
