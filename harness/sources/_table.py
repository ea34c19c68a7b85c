"""Rows of a team's own file → cases: a part of them, drawn by seed, with their columns mapped."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from harness.errors import SuiteError
from harness.source import SourcedCase, make_case
from harness.sources._columns import Columns, Fields
from harness.sources._text import Row, some

MOST_ROWS = 100_000
"""Rows that become cases: a suite is run on every candidate, so it has thousands."""

Count = Annotated[int, Field(ge=1)]
"""A number of cases."""


Repeated = Literal["refuse", "drop"]
"""What to do with rows that say the same: as evidence they count once."""


@dataclass(frozen=True, slots=True)
class Part:
    """Which rows of a table are taken."""

    limit: int | None = None
    """The first so many."""
    sample: int | None = None
    """So many, drawn by seed and kept in their order."""
    seed: int = 0
    repeated: Repeated = "refuse"
    """What becomes of rows that are the same case as an earlier one and have no id."""

    def of(self, count: int) -> Sequence[int]:
        """Return the numbers of the rows, from 0.

        Raises:
            ValueError: the table has too few rows, or too many of them are wanted.
        """
        if self.limit is not None and self.sample is not None:
            raise ValueError(f"limit={self.limit} and sample={self.sample}: give one of them")
        if self.sample is not None and self.sample > count:
            raise ValueError(f"sample={self.sample}, but there are {count} rows; at most {count}")
        taken = min(count, self.sample or self.limit or count)
        if taken > MOST_ROWS:
            raise ValueError(f"{taken} rows, at most {MOST_ROWS} become cases; set sample or limit")
        return drawn(count, taken, self.seed) if self.sample else range(taken)


def drawn(count: int, wanted: int, seed: int | str) -> list[int]:
    """Return `wanted` of `count` positions in their order; a smaller draw is part of a larger."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return sorted(order[:wanted])


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a file or data set."""

    place: str
    """The file, and the line of its header where it has one."""
    columns: Sequence[str]
    count: int
    pick: Callable[[Sequence[int]], Iterable[Row]]
    """Returns the rows of the given numbers."""

    @classmethod
    def of(cls, place: str, rows: Sequence[Row], columns: Sequence[str] | None = None) -> Table:
        """Return a table of rows in memory; without `columns` they are the keys of all rows."""
        keys = dict.fromkeys(k for _, row in rows if isinstance(row, Mapping) for k in row)
        names = tuple(keys) if columns is None else columns
        return cls(place, names, len(rows), lambda wanted: (rows[i] for i in wanted))


def rewritten(
    rows: Iterable[Row], rewrite: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> Iterator[Row]:
    """Yield rows as `rewrite` returns them; what it raises stands in the row's stead."""
    for where, row in rows:
        try:
            yield where, row if isinstance(row, str) else {**row, **rewrite(row)}
        except ValueError as error:
            yield where, str(error)


def mapped(
    table: Table, columns: Columns | None, part: Part, always: Sequence[str] = ()
) -> Iterator[SourcedCase]:
    """Yield the cases of a table whose columns are mapped.

    Args:
        table: The rows.
        columns: Case field → column; those of the fields' names if None.
        part: Which rows are taken.
        always: Fields that the source itself has put into columns of their names.

    Raises:
        SuiteError: columns are missing, or rows are broken: every one with its place.
    """
    if always:
        columns = {**{field: field for field in always}, **(columns or {})}
    try:
        fields = Fields.of(columns, (*always, *table.columns))
    except ValueError as error:
        raise SuiteError([f"{table.place}: {line}" for line in str(error).splitlines()]) from error
    yield from cases(table, part, fields.row)


def cases(
    table: Table, part: Part, form: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
) -> Iterator[SourcedCase]:
    """Yield the cases of a table; `form` turns a row into the form of case.schema.json.

    Raises:
        SuiteError: rows are broken: every one with its place.
    """
    problems: list[str] = []
    seen: dict[str, str] = {}
    again: list[str] = []
    try:
        wanted = part.of(table.count)
    except ValueError as error:
        raise SuiteError([f"{table.place}: {error}"]) from error
    for where, row in table.pick(wanted):
        try:
            if isinstance(row, str):
                raise ValueError(row)
            found = form(row)
            case = make_case(found)
        except ValueError as error:
            problems.append(f"{where}: {error}")
            continue
        if "id" not in found and case.id in seen:
            again.append(f"{where}: the same as {seen[case.id]}")
            continue
        seen[case.id] = where
        yield SourcedCase(case, where)
    if again and part.repeated == "refuse":
        more = f", and {len(again) - 1} more rows like it" if len(again) > 1 else ""
        problems.append(f'{again[0]}{more}; remove them, give ids, or set repeated = "drop"')
    if problems:
        raise SuiteError(some(problems))
