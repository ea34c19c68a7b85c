"""Tables of rows → cases: which rows are taken, and what is wrong with the others."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tunegate.harness.contracts.source import make_case
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.records.problems import summarize_problems
from tunegate.harness.suite.sources._columns import ColumnMapping, Columns
from tunegate.harness.suite.sources._text import Row, json_rows

MOST_ROWS = 100_000
"""Most rows that become cases; suites run on every candidate, so they have thousands at most."""

Count = Annotated[int, Field(ge=1)]
Repeated = Literal["refuse", "drop"]
"""What to do with equal rows, which count once as evidence."""


@dataclass(frozen=True, slots=True)
class RowSelection:
    """Which rows become cases; every source of rows takes these keys."""

    limit: Count | None = None
    """Take the first N rows."""
    sample: Count | None = None
    """Draw N rows by seed; they stay in order."""
    seed: int = 0
    repeated: Repeated = "refuse"
    """What to do with rows without an id that repeat an earlier case."""

    def of(self, count: int) -> Sequence[int]:
        """Return the indexes of the chosen rows.

        Raises:
            ValueError: the table has too few rows, or too many are wanted.
        """
        if self.limit is not None and self.sample is not None:
            raise ValueError(f"limit={self.limit} and sample={self.sample}: give one of them")
        if self.sample is not None and self.sample > count:
            raise ValueError(f"sample={self.sample}, but there are {count} rows; at most {count}")
        taken = min(count, self.sample or self.limit or count)
        if taken > MOST_ROWS:
            raise ValueError(f"{taken} rows, at most {MOST_ROWS} become cases; set sample or limit")
        return draw_positions(count, taken, self.seed) if self.sample else range(taken)


ALL_ROWS = RowSelection()


def draw_positions(count: int, wanted: int, seed: int | str) -> list[int]:
    """Draw `wanted` of `count` positions, sorted; a smaller draw is part of a larger one."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return sorted(order[:wanted])


@dataclass(frozen=True, slots=True)
class RowTable:
    """The rows of a file or data set."""

    place: str
    """The file, and the line of its header where it has one."""
    columns: Sequence[str]
    count: int
    pick: Callable[[Sequence[int]], Iterable[Row]]
    """Returns the rows of the given numbers."""

    @classmethod
    def of(cls, place: str, rows: Sequence[Row], columns: Sequence[str] | None = None) -> RowTable:
        """Return a table of rows in memory; `columns` defaults to the keys of all rows."""
        keys = dict.fromkeys(k for _, row in rows if isinstance(row, Mapping) for k in row)
        names = tuple(keys) if columns is None else columns
        return cls(place, names, len(rows), lambda wanted: (rows[i] for i in wanted))

    @classmethod
    def of_json(cls, path: Path, *, form: str) -> RowTable:
        """Return the rows of a file of JSON lines, or of a `.json` file with a list.

        Raises:
            SuiteError: the file cannot be read, or is not a JSON list.
        """
        return cls.of(str(path), list(json_rows(path, form=form)))

    def with_fields(self, fields_of: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> RowTable:
        """Return the table with the fields added that `fields_of` makes of each row.

        A ValueError's text replaces its row.
        """

        def pick(wanted: Sequence[int]) -> Iterator[Row]:
            for where, row in self.pick(wanted):
                try:
                    yield where, row if isinstance(row, str) else {**row, **fields_of(row)}
                except ValueError as error:
                    yield where, str(error)

        return replace(self, pick=pick)


def map_columns(
    table: RowTable, columns: Columns | None, selection: RowSelection, always: Sequence[str] = ()
) -> Iterator[Case]:
    """Yield the cases of a table, its columns mapped to fields.

    Args:
        table: The rows.
        columns: Case field → column; if None, the columns named like fields.
        selection: Which rows are taken.
        always: Fields that the source has already put into columns of the same name.

    Raises:
        SuiteError: columns are missing, or rows are broken (every one is listed).
    """
    if always:
        columns = {**{field: field for field in always}, **(columns or {})}
    try:
        fields = ColumnMapping.of(columns, (*always, *table.columns))
    except ValueError as error:
        raise SuiteError([f"{table.place}: {line}" for line in str(error).splitlines()]) from error
    yield from table_cases(table, selection, fields.row)


def table_cases(
    table: RowTable,
    selection: RowSelection,
    form: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
) -> Iterator[Case]:
    """Yield the cases of a table; `form` turns a row into the form of case.schema.json.

    Raises:
        SuiteError: rows are broken (every one is listed).
    """
    problems: list[str] = []
    seen: dict[str, str] = {}
    again: list[str] = []
    try:
        wanted = selection.of(table.count)
    except ValueError as error:
        raise SuiteError([f"{table.place}: {error}"]) from error
    for where, row in table.pick(wanted):
        try:
            if isinstance(row, str):
                raise ValueError(row)
            fields = form(row)
            case = make_case(fields, where)
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        if "id" not in fields and case.id in seen:
            again.append(f"{where}: the same as {seen[case.id]}")
            continue
        seen[case.id] = where
        yield case
    if again and selection.repeated == "refuse":
        more = f", and {len(again) - 1} more rows like it" if len(again) > 1 else ""
        problems.append(f'{again[0]}{more}; remove them, give ids, or set repeated = "drop"')
    if problems:
        raise SuiteError(summarize_problems(problems))
