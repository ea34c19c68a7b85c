"""Comparison of two query results, as the test-suite accuracy of Spider does it.

Source: Zhong, Yu and Klein (EMNLP 2020), `result_eq` in taoyds/test-suite-sql-eval. The columns may
have any names and any order, rows that occur twice count twice, and the order of the rows counts
only where the reference sorts them. Spider compares numbers exactly; here sums may be added up in
another order.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from tunegate.harness.records.wording import count_noun

Rows = list[tuple[Any, ...]]
Column = tuple[Any, ...]

TOLERANCE = 1e-6
"""Largest difference of equal numbers, unless both are integers."""
RELATIVE_TOLERANCE = 1e-12
"""Rounding errors of sums of large numbers, relative to them."""
MOST_CELLS = 2_000_000
"""Cells that the search for an order of the columns reads. Only symmetrical rows need so many."""
_TOKENS = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)|[()]|\w+",
    re.DOTALL,
)


def is_ordered(query: str) -> bool:
    """Return whether the outermost query has an ORDER BY."""
    depth, previous = 0, ""
    for token in _TOKENS.findall(query):
        depth += (token == "(") - (token == ")")
        word = token.upper()
        if depth == 0 and (previous, word) == ("ORDER", "BY"):
            return True
        if not token.startswith(("--", "/*")):
            previous = word
    return False


def difference(wanted: Rows, rows: Rows, *, ordered: bool) -> str | None:
    """Return why `rows` is not the result that is wanted, or None."""
    if len(wanted) != len(rows):
        some = count_noun(len(rows), "row")
        # a result is read only until it is too long
        some = some if len(rows) < len(wanted) else f"more than {count_noun(len(wanted), 'row')}"
        return f"wrong result: {some} instead of {len(wanted)}"
    if not wanted:
        return None
    if len(wanted[0]) != len(rows[0]):
        some = count_noun(len(rows[0]), "column")
        return f"wrong result: {some} instead of {len(wanted[0])}"
    wanted, rows = _unify_numbers(wanted, rows)
    if _have_equal_rows(wanted, rows, ordered=ordered):
        return None
    if ordered and _have_equal_rows(wanted, rows, ordered=False):
        return "wrong result: the right rows in another order"
    right = (Counter(wanted) & Counter(rows)).total()
    return f"wrong result: {right} of {count_noun(len(wanted), 'row')} right"


def _unify_numbers(wanted: Rows, answer_rows: Rows) -> tuple[Rows, Rows]:
    """Return the rows with one value for all numbers that are equal within the tolerance."""
    numbers = {v for rows in (wanted, answer_rows) for row in rows for v in row if _is_number(v)}
    if not any(isinstance(number, float) for number in numbers):
        return wanted, answer_rows
    same: dict[Any, Any] = {}
    previous = None
    for number in sorted(numbers):
        near = previous is not None and _are_equal(previous, number)
        same[number] = same[previous] if near else number
        previous = number
    return _replace(wanted, same), _replace(answer_rows, same)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _are_equal(one: float, other: float) -> bool:
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    return math.isclose(one, other, rel_tol=RELATIVE_TOLERANCE, abs_tol=TOLERANCE)


def _replace(rows: Rows, same: dict[Any, Any]) -> Rows:
    return [tuple(same[v] if _is_number(v) else v for v in row) for row in rows]


def _have_equal_rows(wanted: Rows, rows: Rows, *, ordered: bool) -> bool:
    """Return whether some order of the columns makes the results equal."""
    ours, theirs = list(zip(*wanted, strict=True)), list(zip(*rows, strict=True))
    tries = iter(range(max(len(ours) ** 2, MOST_CELLS // len(wanted))))
    start = [0] * len(wanted)
    return _match_columns(ours, theirs, start, start, ordered, tries)


def _match_columns(
    ours: Sequence[Column],
    theirs: Sequence[Column],
    our_rows: Sequence[int],
    their_rows: Sequence[int],
    ordered: bool,
    tries: Iterator[int],
) -> bool:
    """Return whether some order of the columns that are left makes the results equal.

    `our_rows` and `their_rows` are the rows of the columns that are matched already, as numbers
    that are equal if the rows are.
    """
    if not ours:
        return True
    numbers: dict[Any, int] = {}
    mine = _add_column(our_rows, ours[0], numbers)
    wanted = mine if ordered else Counter(mine)
    for column in dict.fromkeys(theirs):
        if next(tries, None) is None:
            return False
        rows = _add_column(their_rows, column, numbers)
        rest = list(theirs)
        rest.remove(column)
        if (rows if ordered else Counter(rows)) == wanted and _match_columns(
            ours[1:], rest, mine, rows, ordered, tries
        ):
            return True
    return False


def _add_column(rows: Sequence[int], column: Column, numbers: dict[Any, int]) -> list[int]:
    pairs = zip(rows, column, strict=True)
    return [numbers.setdefault(pair, len(numbers)) for pair in pairs]
