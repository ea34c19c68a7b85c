"""Queries that others wrote, on a SQLite database that they can only read.

This module runs in the child process of `child_process`. The limits count steps and bytes instead
of seconds, so that the same query has the same score on a busy machine.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.child_process import limit_cpu
from tunegate.harness.metrics._sql_comparison import Rows, difference, is_ordered
from tunegate.harness.records.errors import error_reason

NOW = "2026-01-01 00:00:00"
"""The current time of every query."""
LONGEST_VALUE = 1_000_000
"""Bytes of the longest text or blob, in tables too."""
LONGEST_QUERY = 100_000
LONGEST_PATTERN = 1_000
MOST_MEMORY = 256 * 2**20
"""Bytes that SQLite may take."""
MOST_ROWS = 100_000
MOST_RESULT_BYTES = 50_000_000
MOST_PROCESS_MEMORY = 2**30
"""Bytes that the process may take for an answer's query and its result, on Linux."""
_STEPS_A_LOOK = 10_000
_STEPS_A_CALL = 100
"""A call of Python takes as long as so many steps."""
_READS = (
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
)
_REFUSED_FUNCTIONS = ("load_extension", "fts3_tokenizer", "random", "randomblob")
_CLOCKS = {
    "date": (0,),
    "time": (0,),
    "datetime": (0,),
    "julianday": (0,),
    "unixepoch": (0,),
    "strftime": (1,),
    "timediff": (0, 1),
}
"""Function → positions of its times. SQLite reads the clock where one is `now` or left out."""
_NOW = ("now", "subsec", "subsecond")


class QueryFailed(Exception):
    """A query has no result; the message says why in one line."""


def compare_queries(
    path: str, answer: str, references: list[str], max_steps: int, cpu_s: float
) -> dict[str, str | None]:
    """Return `{"wrong": why}` for an answer, None if right, or `{"problem": …}` of the references.

    Args:
        path: A database file, or an SQL script that makes one.
        answer: The query to be judged.
        references: Right queries; the answer must have the result of one of them.
        max_steps: Steps of SQLite's virtual machine that a query may take.
        cpu_s: Seconds of processor time that the answer may take, even within one step; then this
            process ends.
    """
    try:
        with _open_database(path, max_steps) as database:
            wanted = [(database.run(query), is_ordered(query)) for query in references]
            most = max(len(rows) for rows, _ in wanted)
            try:
                with limit_cpu(cpu_s), _limited_memory():
                    answer_rows = database.run(answer, most_rows=most + 1)
            except QueryFailed as error:
                return {"wrong": str(error)}
    except QueryFailed as error:
        return {"problem": f"the reference fails: {error}"}
    except (sqlite3.Error, MemoryError, OSError, ValueError) as error:
        return {"problem": f"the database cannot be opened: {error_reason(error)}"}
    reasons = [difference(rows, answer_rows, ordered=ordered) for rows, ordered in wanted]
    return {"wrong": None if None in reasons else reasons[0]}


def reference_problem(path: str, query: str, max_steps: int, strict: bool) -> str | None:
    """Return why a query cannot be a reference, or None."""
    try:
        with _open_database(path, max_steps) as database:
            rows = database.run(query)
            again = database.run(query, reverse=True) if strict else rows
    except QueryFailed as error:
        return str(error)
    except (sqlite3.Error, MemoryError, OSError, ValueError) as error:
        return f"the database cannot be opened: {error_reason(error)}"
    if strict and not rows:
        return "it returns no row, as does any query that finds nothing; ask for what is there"
    if difference(rows, again, ordered=is_ordered(query)) is not None:
        return (
            "its result depends on the order in which SQLite reads the rows; give it an ORDER BY "
            "that decides every tie"
        )
    return None


class _Database:
    """A connection that can only read."""

    def __init__(self, connection: sqlite3.Connection, max_steps: int) -> None:
        self._connection = connection
        self._max_steps = max_steps
        self._steps_left = max_steps
        connection.execute("SELECT count(*) FROM sqlite_master")  # is it a database?
        connection.execute(f"PRAGMA hard_heap_limit = {MOST_MEMORY}")
        connection.execute("PRAGMA temp_store = MEMORY")  # large sorts would fill the disk
        connection.execute("PRAGMA query_only = ON")
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
        connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, LONGEST_QUERY)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, LONGEST_PATTERN)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
        connection.set_progress_handler(lambda: self._take(_STEPS_A_LOOK), _STEPS_A_LOOK)
        _stop_clock(connection, lambda: self._take(_STEPS_A_CALL))

    def run(self, query: str, *, most_rows: int = MOST_ROWS + 1, reverse: bool = False) -> Rows:
        """Return the first rows of a query's result.

        Args:
            query: The query.
            most_rows: Rows to be read.
            reverse: Whether SQLite reads rows from last to first where their order is free.

        Raises:
            QueryFailed: it has no result, or is beyond a limit.
        """
        self._connection.set_authorizer(None)
        self._connection.execute(f"PRAGMA reverse_unordered_selects = {reverse}")
        self._connection.set_authorizer(_allow_reading)
        self._steps_left = self._max_steps
        try:
            cursor = self._connection.execute(query)
            if cursor.description is None:
                raise QueryFailed("no query")
            rows = _fetch(cursor, most_rows)
        except MemoryError:
            raise QueryFailed(
                f"out of memory: more than {MOST_MEMORY // 2**20} MiB in SQLite or "
                f"{MOST_PROCESS_MEMORY // 2**20} MiB in all"
            ) from None
        except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
            if self._steps_left < 0:
                steps = f"{self._max_steps:,} steps of SQLite"
                raise QueryFailed(f"timed out: not done after {steps}") from None
            raise QueryFailed(f"SQL error: {error_reason(error):.200}") from error
        if len(rows) > MOST_ROWS:
            raise QueryFailed(f"more than {MOST_ROWS:,} rows")
        return rows

    def _take(self, steps: int) -> bool:
        """Count steps; true stops the query."""
        self._steps_left -= steps
        return self._steps_left < 0


def _fetch(cursor: sqlite3.Cursor, most_rows: int) -> Rows:
    rows: Rows = []
    size = 0
    for row in cursor:
        rows.append(row)
        size += sum(len(value) if isinstance(value, str | bytes) else 8 for value in row)
        if size > MOST_RESULT_BYTES:
            raise QueryFailed(f"a result of more than {MOST_RESULT_BYTES:,} bytes")
        if len(rows) == most_rows:
            break
    return rows


@contextmanager
def _limited_memory() -> Iterator[None]:
    """Limit what this process takes beyond what it has; a result is copied out of SQLite."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    taken = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (taken + MOST_PROCESS_MEMORY, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)


@contextmanager
def _open_database(path: str, max_steps: int) -> Iterator[_Database]:
    file = Path(path)
    if file.suffix == ".sql":
        state = file.stat()
        content = _build(path, state.st_mtime_ns, state.st_size)
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.deserialize(content)
    else:
        address = f"{file.resolve().as_uri()}?mode=ro&immutable=1"
        connection = sqlite3.connect(address, uri=True, isolation_level=None)
    with closing(connection):
        yield _Database(connection, max_steps)


@lru_cache(maxsize=4)
def _build(path: str, mtime_ns: int, size: int) -> bytes:
    """Return the database that an SQL script makes."""
    script = Path(path).read_text(encoding="utf-8-sig")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _stop_clock(connection, lambda: False)
        connection.set_authorizer(_allow_building)
        connection.executescript(script)
        connection.set_authorizer(None)
        if connection.in_transaction:
            connection.execute("COMMIT")
        return connection.serialize()


def _allow_building(action: int, first: str | None, second: str | None, *_: Any) -> int:
    refused = action in (sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH)
    refused |= action == sqlite3.SQLITE_PRAGMA and (first or "").lower() != "foreign_keys"
    refused |= action == sqlite3.SQLITE_FUNCTION and second in _REFUSED_FUNCTIONS
    return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK


def _allow_reading(action: int, _first: str | None, second: str | None, *_: Any) -> int:
    refused = action == sqlite3.SQLITE_FUNCTION and second in _REFUSED_FUNCTIONS
    return sqlite3.SQLITE_OK if action in _READS and not refused else sqlite3.SQLITE_DENY


def _stop_clock(connection: sqlite3.Connection, count_call: Callable[[], bool]) -> None:
    """Let it be `NOW` in all queries."""

    def call(name: str, places: tuple[int, ...], *arguments: Any) -> Any:
        count_call()
        values = list(arguments)
        for place in places:
            if place == len(values):
                values.append(NOW)
            elif place < len(values) and str(values[place]).lower() in _NOW:
                values[place] = NOW
        marks = ", ".join("?" * len(values))
        return _plain_connection().execute(f"SELECT {name}({marks})", values).fetchone()[0]

    for name, places in _CLOCKS.items():
        function = partial(call, name, places)
        connection.create_function(name, -1, function, deterministic=True)
    for name, value in (("date", NOW[:10]), ("time", NOW[11:]), ("timestamp", NOW)):
        connection.create_function(f"current_{name}", 0, partial(str, value), deterministic=True)


@lru_cache(maxsize=1)
def _plain_connection() -> sqlite3.Connection:
    return sqlite3.connect(":memory:")
