"""Cases from a JSON-lines file, one a line. With `columns` the lines may have any form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunegate.harness.records.cases import Case
from tunegate.harness.sources import _text
from tunegate.harness.sources._table import (
    Columns,
    Count,
    Repeated,
    RowSelection,
    RowTable,
    map_columns,
    table_cases,
)


def jsonl(  # noqa: PLR0913 - each is a key of the suite file
    folder: Path,
    *,
    file: str,
    columns: Columns | None = None,
    limit: Count | None = None,
    sample: Count | None = None,
    seed: int = 0,
    repeated: Repeated = "refuse",
) -> Iterator[Case]:
    """Yield the cases of `file`; blank lines are skipped.

    Args:
        folder: The suite's folder.
        file: Path from the suite's folder; a `.json` file holds a list instead of lines.
        columns: Case field → key of the lines; without it the lines are cases.
        limit: The first so many lines.
        sample: So many lines, drawn by seed.
        seed: Seed of the draw.
        repeated: Whether rows that are the same as an earlier one are refused or dropped.

    Raises:
        SuiteError: the file is missing, too large or not UTF-8, or lines are broken: every one
            with its number.
    """
    path = folder / file
    rows = list(_text.json_rows(path, form="write one case a line"))
    table, part = RowTable.of(str(path), rows), RowSelection(limit, sample, seed, repeated)
    yield from table_cases(table, part) if columns is None else map_columns(table, columns, part)
