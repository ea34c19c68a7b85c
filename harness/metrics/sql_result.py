"""Whether the answer's SQL query returns what the reference query returns.

Both run in a child process, on a database that they can only read (`_sql_execution`).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tunegate.harness.contracts import child_process
from tunegate.harness.contracts.keyword_options import Folder, outside_problem
from tunegate.harness.contracts.metric import metric
from tunegate.harness.metrics import _sql_execution
from tunegate.harness.metrics._json_parsing import shorten_text
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

LIMIT_S = 60.0
"""Seconds after which the child is killed; queries that loop end at `max_steps` long before."""
CPU_S = 20.0
"""Seconds of processor time that an answer may take for each `MAX_STEPS` steps: five times what
they need, for a step may be a single long call, such as `replace` on large texts."""
_BUSY = 10.0
"""How many times slower than its processor time a query may be on a busy machine."""
MAX_STEPS = 200_000_000
_LAYOUTS = ("{}.sql", "{}.db", "{}.sqlite", "{0}/{0}.sqlite")
_EXECUTION = _sql_execution.__name__
_FENCE = re.compile(r"```(?:(\w*)[ \t]*\r?\n)?(.*?)(?:```|\Z)", re.DOTALL)


def _check(options: Mapping[str, Any], cases: Sequence[Case]) -> list[str]:
    problems: list[str] = []
    seen: set[tuple[str, str]] = set()
    for case in cases:
        for query in case.expected_texts() if case.database else ():
            if (case.database or "", query) in seen:
                continue
            seen.add((case.database or "", query))
            problem = _reference_problem(case.database or "", query, options)
            if problem is not None:
                problems.append(f"{case.where}: case {case.id!r}: {problem}")
    return problems


def _reference_problem(name: str, query: str, options: Mapping[str, Any]) -> str | None:
    limits = options.get("max_steps", MAX_STEPS), options.get("strict", True)
    try:
        file = _find_database(options["databases"], name)
        problem = child_process.run_with_timeout(
            _EXECUTION, "reference_problem", str(file), query, *limits, limit_s=LIMIT_S
        )
    except ValueError as error:
        return str(error)
    except (child_process.CallTimeout, child_process.CallFailed) as error:
        problem = f"cannot be run: {error}"
    return f"the reference {shorten_text(query, 60)!r}: {problem}" if problem else None


@metric(
    label="queries with the right result",
    binary=True,
    requires=("expected", "database"),
    check=_check,
    signature=lambda used, cases: f"SQLite {sqlite3.sqlite_version}",
)
def sql_result(
    case: Case,
    completion: Completion,
    *,
    databases: Folder,
    max_steps: int = MAX_STEPS,
    strict: bool = True,
) -> Score:
    """Score 1 if the answer's query returns what the reference query returns, else 0.

    Both run on the case's SQLite `database`; `expected` is the reference, or several, and the
    result of one must be met. The query is the first ``` fence tagged `sql` or `sqlite`, else the
    first fence, else the whole answer. Results are compared as Spider's test-suite accuracy does
    it: column names are free, columns may be in any order, duplicates count, and rows are in order
    only where the outermost query of the reference has an ORDER BY. Numbers are equal within 1e-6,
    or 1e-12 of their size; integers exactly.

    Queries can only read. `random()` is refused, and `now` is 2026-01-01 00:00 UTC. SQLite may take
    256 MiB, a value 1 MB, a result 100,000 rows or 50 MB, the process 1 GiB, the query 20 s of
    processor time. A query beyond a limit scores 0, and the reason says which.

    Known problems:
        BIRD's execution accuracy ignores order and duplicates, and wants the reference's order of
        columns. Spider's leaderboard drops DISTINCT from both queries; it counts here. Rows that
        tie in the reference's ORDER BY have no right order: add a column that decides. FTS5 and
        R-tree tables cannot be read.

    Example:
        ```toml
        [[metrics]]
        use = "sql_result"
        databases = "databases"   # shop.sql, shop.db, shop.sqlite or shop/shop.sqlite
        ```
        ```json
        {"prompt": "How many staff?", "database": "shop", "expected": "SELECT COUNT(*) FROM staff"}
        ```

    Options:
        databases: Folder with the databases, or SQL scripts that make them.
        max_steps: Steps of SQLite's virtual machine that a query may take; 200 million take about
            4 seconds, and an answer may use 20 s of processor time for as many.
        strict: false also takes references that return no row, or whose result depends on the
            order in which SQLite reads the rows; some of Spider's and BIRD's do.
    """
    if completion.text is None:
        return Score.unscored("the completion has no text")
    if case.database is None or not case.expected_texts():
        return Score.unscored("no reference: the case needs 'expected' and 'database'")
    query = _find_query(completion.text)
    cpu_s = CPU_S * max(1.0, max_steps / MAX_STEPS)
    try:
        file = _find_database(databases, case.database)
        result = child_process.run_with_timeout(
            _EXECUTION,
            "compare_queries",
            str(file),
            query,
            case.expected_texts(),
            max_steps,
            cpu_s,
            limit_s=LIMIT_S + _BUSY * cpu_s,
        )
    except ValueError as error:
        return Score.unscored(str(error))
    except child_process.OutOfCpuTime:
        return Score.of(0.0, f"timed out: not done after {cpu_s:g} s of processor time")
    except (child_process.CallTimeout, child_process.CallFailed) as error:
        return Score.unscored(f"check_error: the queries could not be run: {error}")
    if "problem" in result:
        return Score.unscored(result["problem"])
    return Score.of(float(result["wrong"] is None), result["wrong"])


def _find_query(text: str) -> str:
    """Return the query of an answer."""
    fences: list[tuple[str, str]] = _FENCE.findall(text)
    tagged = [body for tag, body in fences if tag.lower() in ("sql", "sqlite")]
    bodies = tagged or [body for _, body in fences] or [text]
    return bodies[0].strip()


def _find_database(folder: Path, name: str) -> Path:
    """Return the file of a database.

    Raises:
        ValueError: it is not there, or not the only one of that name.
    """
    tried = [layout.format(name) for layout in _LAYOUTS]
    is_plain = not set(name) & set("/\\:") and not name.startswith(".")
    files = [file for file in tried if (folder / file).is_file()] if is_plain else []
    if len(files) == 1:
        if problem := outside_problem(folder, files[0]):
            raise ValueError(f"database {name!r}: {problem}")
        return (folder / files[0]).absolute()  # read in a process that may be in another folder
    if files:
        raise ValueError(f"database {name!r}: {' and '.join(files)} are there; remove one")
    raise ValueError(
        f"no database {name!r}: {folder} has none of {', '.join(tried)}"
        if is_plain
        else f"database={name!r}: write a name without path and ending, such as 'shop'"
    )
