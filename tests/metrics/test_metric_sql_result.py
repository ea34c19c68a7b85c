"""Execution accuracy of SQL queries: what is equal, what is wrong, and what cannot be scored."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tunegate.harness.contracts import child_process
from tunegate.harness.metrics import sql_result as module
from tunegate.harness.metrics._sql_comparison import difference, is_ordered
from tunegate.harness.metrics.sql_result import sql_result
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.records.scores import Score

SCRIPT = """
PRAGMA foreign_keys = OFF;
BEGIN TRANSACTION;
CREATE TABLE item (id INTEGER, name TEXT, price REAL, made TEXT DEFAULT CURRENT_DATE);
INSERT INTO item (id, name, price) VALUES (1, 'jam', 0.1), (2, 'tea', 0.2), (3, 'tea', NULL);
COMMIT;
"""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.sql").write_text(SCRIPT, encoding="utf-8")
    return tmp_path


def score(
    folder: Path, expected: str | tuple[str, ...], answer: str, database: str = "shop"
) -> Score:
    case = Case(id="a", prompt="p", expected=expected, database=database)
    return sql_result.score(case, Completion(text=answer), databases=folder)


EQUAL = [
    ("SELECT id, name FROM item", "select name, id as number from item"),
    ("SELECT id FROM item ORDER BY id", "SELECT id FROM item ORDER BY price IS NULL, price"),
    ("SELECT id FROM item", "SELECT id FROM item ORDER BY id DESC"),
    ("SELECT sum(price) FROM item", "SELECT 0.2 + 0.1"),
    ("SELECT sum(price) FROM item", "SELECT 0.3000009"),
    ("SELECT count(*) FROM item", "SELECT 3.0"),
    ("SELECT price FROM item WHERE id = 3", "SELECT NULL"),
    ("SELECT date('now')", "SELECT current_date"),
    ("SELECT made FROM item WHERE id = 1", "SELECT '2026-01-01'"),
    ("SELECT strftime('%H:%M', 'now', 'localtime')", "SELECT '00:00'"),
    ("SELECT id FROM item", "WITH x AS (SELECT id FROM item) SELECT id FROM x -- done"),
    ("SELECT 1", "Sure:\n```python\n1\n```\n```SQL\nSELECT 1;\n```"),
    ("SELECT 1", "```\nSELECT 1\n```"),
    ("SELECT 1", "```sql\nSELECT 1"),
    ("SELECT 1", "```SELECT 1```"),
]
DIFFERENT = [
    ("SELECT id FROM item ORDER BY id", "SELECT id FROM item ORDER BY id DESC", "another order"),
    ("SELECT name FROM item", "SELECT DISTINCT name FROM item", "2 rows instead of 3"),
    ("SELECT DISTINCT name FROM item", "SELECT name FROM item", "more than 2 rows instead of 2"),
    ("SELECT name FROM item", "SELECT 'jam' UNION ALL SELECT 'jam' UNION ALL SELECT 'tea'", "2 of"),
    ("SELECT id FROM item", "SELECT id, name FROM item", "2 columns instead of 1"),
    ("SELECT sum(price) FROM item", "SELECT 0.300002", "0 of 1 row"),
    ("SELECT 1000000", "SELECT 1000001", "0 of 1 row"),
    ("SELECT 1", "SELECT '1'", "0 of 1 row"),
    ("SELECT 'tea'", "SELECT 'Tea'", "0 of 1 row"),
    ("SELECT 0", "SELECT NULL", "0 of 1 row"),
    ("SELECT 1", "SELECT id FROM stock", "no such table: stock"),
    ("SELECT 1", "The answer is 1.", 'near "The": syntax error'),
    ("SELECT 1", "SELECT 1; SELECT 1", "one statement"),
    ("SELECT 1", "", "no query"),
    ("SELECT 1", "-- SELECT 1", "no query"),
    ("SELECT 1", "SELECT random() * 0 + 1", "not authorized to use function: random"),
]


@pytest.mark.parametrize(("expected", "answer"), EQUAL)
def test_an_equal_result_is_right(folder: Path, expected: str, answer: str) -> None:
    found = score(folder, expected, answer)

    assert (found.value, found.reason) == (1.0, None)


@pytest.mark.parametrize(("expected", "answer", "reason"), DIFFERENT)
def test_another_result_is_wrong_with_a_reason(
    folder: Path, expected: str, answer: str, reason: str
) -> None:
    found = score(folder, expected, answer)

    assert found.value == 0.0
    assert reason in (found.reason or "")


def test_any_of_several_references_is_right(folder: Path) -> None:
    expected = ("SELECT id FROM item", "SELECT name FROM item")

    assert score(folder, expected, expected[0]).value == 1.0
    assert score(folder, expected, expected[1]).value == 1.0
    assert score(folder, expected, "SELECT price FROM item").value == 0.0


@pytest.mark.parametrize(
    ("query", "ordered"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("WITH x AS (SELECT 1 ORDER BY 1) SELECT a FROM x order\n by a LIMIT 1", True),
        ("SELECT a FROM t ORDER /* not here */ BY a", True),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a)", False),
        ("SELECT row_number() OVER (ORDER BY a) FROM t", False),
        ("SELECT 'ORDER BY a' FROM t -- ORDER BY a", False),
        ('SELECT "order by" FROM [order by]', False),
    ],
)
def test_order_counts_only_where_the_outermost_query_sorts(query: str, ordered: bool) -> None:
    assert is_ordered(query) is ordered


def test_equal_columns_in_another_order_are_found_among_many() -> None:
    rows = [tuple(range(i, i + 30)) for i in range(50)]
    turned = [(*row[7:], *row[:7]) for row in rows]
    broken = [*turned[:-1], (*turned[-1][:-1], -1)]

    assert difference(rows, turned, ordered=True) is None
    assert difference(rows, turned[::-1], ordered=False) is None
    assert difference(rows, broken, ordered=False) is not None


def test_columns_must_move_as_a_whole() -> None:
    """Each row has the right values, but the columns of the second row are swapped."""
    assert difference([(1, 2), (3, 4)], [(1, 2), (4, 3)], ordered=False) is not None


def test_near_numbers_are_equal_wherever_their_rows_are() -> None:
    wanted = [(1.0, "b"), (1.0000004, "a")]

    assert difference(wanted, [(1.0, "a"), (1.0000002, "b")], ordered=False) is None
    assert difference(wanted, [(1.0, "a"), (1.00001, "b")], ordered=False) is not None


def test_symmetrical_results_are_compared_in_bounded_time() -> None:
    rows = [tuple(int(i == j) for j in range(40)) for i in range(40)]
    other = [(*row[:-1], 1 - row[-1]) for row in rows]

    assert difference(rows, rows[::-1], ordered=False) is None
    assert difference(rows, other, ordered=False) is not None


@pytest.mark.parametrize("place", ["shop.db", "shop.sqlite", "shop/shop.sqlite"])
def test_database_files_are_found_as_spider_and_bird_lay_them_out(
    tmp_path: Path, place: str
) -> None:
    file = tmp_path / place
    file.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(SCRIPT)

    assert score(tmp_path, "SELECT count(*) FROM item", "SELECT 3").value == 1.0
    assert [path for path in file.parent.iterdir() if path.is_file()] == [file]


@pytest.mark.parametrize(
    ("database", "reason"),
    [
        ("stock", "no database 'stock'"),
        ("../shop", "write a name without path"),
        (".shop", "write a name without path"),
        ("bad", "cannot be opened: no such table: nowhere"),
        ("text", "cannot be opened: file is not a database"),
        ("twin", "twin.sql and twin.db are there; remove one"),
        ("far", "outside the suite's folder"),
    ],
)
def test_a_missing_or_broken_database_leaves_the_case_unscored(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, database: str, reason: str
) -> None:
    (folder / "bad.sql").write_text("INSERT INTO nowhere VALUES (1)")
    (folder / "text.db").write_text("no database " * 100)
    (folder / "twin.sql").write_text(SCRIPT)
    (folder / "twin.db").write_text("")
    outside = tmp_path_factory.mktemp("outside") / "far.sql"
    outside.write_text(SCRIPT)
    (folder / "far.sql").symlink_to(outside)

    found = score(folder, "SELECT 1", "SELECT 1", database)

    assert found.value is None
    assert reason in (found.reason or "")


@pytest.mark.parametrize(
    "script", ["ATTACH 'x.db' AS x", "SELECT load_extension('x')", "PRAGMA writable_schema = 1"]
)
def test_a_script_can_only_make_its_own_database(tmp_path: Path, script: str) -> None:
    (tmp_path / "shop.sql").write_text(script)

    assert "not authorized" in (score(tmp_path, "SELECT 1", "SELECT 1").reason or "")


def test_a_reference_that_fails_leaves_the_case_unscored(folder: Path) -> None:
    found = score(folder, "SELECT id FROM stock", "SELECT 1")

    assert found.value is None
    assert found.reason == "the reference fails: SQL error: no such table: stock"


def test_a_script_that_changes_is_read_again(folder: Path) -> None:
    assert score(folder, "SELECT count(*) FROM item", "SELECT 3").value == 1.0
    (folder / "shop.sql").write_text(SCRIPT + "DELETE FROM item WHERE id = 1;")

    assert score(folder, "SELECT count(*) FROM item", "SELECT 2").value == 1.0


BAD_REFERENCES = [
    ("SELECT id FROM stock", "no such table: stock"),
    ("SELECT id FROM item WHERE id = 9", "returns no row"),
    ("SELECT id FROM item LIMIT 1", "depends on the order in which SQLite reads"),
    ("SELECT group_concat(id) FROM item", "depends on the order in which SQLite reads"),
    ("SELECT random()", "not authorized to use function: random"),
    ("DELETE FROM item", "not authorized"),
    ("", "no query"),
]


@pytest.mark.parametrize(("query", "reason"), BAD_REFERENCES)
def test_a_reference_that_cannot_judge_is_a_problem_of_the_suite(
    folder: Path, query: str, reason: str
) -> None:
    case = Case(id="c1", prompt="p", expected=query, database="shop").with_place("cases.jsonl:7")
    assert sql_result.check is not None
    (problem,) = sql_result.check({"databases": folder}, [case, case])

    assert problem.startswith("cases.jsonl:7: case 'c1': the reference ")
    assert reason in problem


def test_references_of_others_may_be_taken_as_they_are(folder: Path) -> None:
    """Some of Spider's and BIRD's return nothing; one that fails is a problem all the same."""
    queries = [query for query, _ in BAD_REFERENCES]
    cases = [Case(id=f"c{q}", prompt="p", expected=q, database="shop") for q in queries]
    assert sql_result.check is not None
    problems = sql_result.check({"databases": folder, "strict": False}, cases)

    assert len(problems) == 4
    assert score(folder, queries[1], "SELECT id FROM item WHERE id > 9").value == 1.0


COUNTING = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) "
ATTACKS = {
    "attach": ("ATTACH '{folder}/out.db' AS o", "not authorized"),
    "detach": ("DETACH main", "not authorized"),
    "vacuum into": ("VACUUM INTO '{folder}/out.db'", "authorization denied"),
    "write a file": ("SELECT writefile('{folder}/out.db', 'x')", "no such function"),
    "read a file": ("SELECT readfile('/etc/passwd')", "no such function"),
    "load code": ("SELECT load_extension('{folder}/out')", "not authorized"),
    "schema": ("PRAGMA writable_schema = 1", "not authorized"),
    "pragma as a table": ("SELECT * FROM pragma_table_info('item')", "not authorized"),
    "journal": ("PRAGMA journal_mode = WAL", "not authorized"),
    "raise the limit": ("PRAGMA hard_heap_limit = 0", "not authorized"),
    "delete": ("DELETE FROM item", "not authorized"),
    "insert": ("WITH x AS (SELECT 1) INSERT INTO item (id) SELECT * FROM x", "not authorized"),
    "temporary table": ("CREATE TEMP TABLE t AS SELECT 1", "not authorized"),
    "virtual table": ("CREATE VIRTUAL TABLE temp.t USING fts5(x)", "not authorized"),
    "transaction": ("BEGIN EXCLUSIVE", "not authorized"),
    "several statements": ("SELECT id FROM item; DELETE FROM item", "one statement"),
    "endless": (COUNTING + "SELECT count(*) FROM c", "timed out"),
    "endless dates": (COUNTING + "SELECT max(date(x)) FROM c", "timed out"),
    "endless rows": (COUNTING + "SELECT x FROM c", "more than 3 rows"),
    "cross join": (
        COUNTING + ", t AS (SELECT x FROM c LIMIT 5000) SELECT count(*) FROM t a, t b, t c",
        "timed out",
    ),
    "sort on disk": (
        "WITH RECURSIVE c(x) AS (SELECT zeroblob(900000) UNION ALL SELECT x FROM c) "
        "SELECT x FROM c ORDER BY 1",
        "out of memory",
    ),
    "distinct": (COUNTING + "SELECT count(DISTINCT hex(x) || printf('%.*c', 900, x)) FROM c", ""),
    "huge blob": ("SELECT zeroblob(2000000000)", "too big"),
    "random blob": ("SELECT randomblob(1000000000)", "not authorized"),
    "huge text": ("SELECT printf('%.*c', 2000000000, 'a')", "instead of 3"),
    "wide row": ("SELECT " + ", ".join(["zeroblob(999999)"] * 1500), "out of memory"),
    "large rows": (COUNTING + "SELECT zeroblob(900000) FROM c", "more than 3 rows"),
    "deep expression": ("SELECT " + "(1+" * 5000 + "1" + ")" * 5000, "Expression tree"),
    "long query": ("SELECT '" + "a" * 200_000 + "'", "too large"),
    "pattern": (
        "SELECT printf('%.*c', 900000, 'a') LIKE printf('%.*c', 90000, '%')",
        "LIKE or GLOB pattern too complex",
    ),
    "NUL": ("SELECT id FROM item\0; DELETE FROM item", "null character"),
    "lone surrogate": ("SELECT '\ud800'", "instead of 3"),
    "parameter": ("SELECT ?", "bindings"),
    "explain": ("EXPLAIN SELECT id FROM item", "instead of 3"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_query_is_wrong_and_does_nothing(folder: Path, name: str) -> None:
    query, reason = ATTACKS[name]
    before = {path: path.read_bytes() for path in folder.iterdir()}

    found = score(folder, "SELECT id FROM item", query.replace("{folder}", str(folder)))

    assert found.value == 0.0
    assert reason in (found.reason or "")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert score(folder, "SELECT id FROM item", "SELECT id FROM item").value == 1.0


def test_hostile_queries_take_bounded_memory(folder: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc")
    child_process.end_child()  # other tests may have had it hold more
    for name in ("sort on disk", "wide row", "distinct"):
        score(folder, "SELECT id FROM item", ATTACKS[name][0])
    # Not ru_maxrss: a child that was spawned starts with its parent's.
    status = child_process.run_with_timeout(
        "linecache", "getlines", "/proc/self/status", limit_s=1.0
    )
    (highest,) = (int(line.split()[1]) for line in status if line.startswith("VmHWM:"))

    assert highest < 400_000  # KiB; SQLite may take 256 MiB, and a row is copied


SLOW = "instr(printf('%.*c', 999000, 'a'), printf('%.*c', 499000, 'a') || 'b')"
"""Compares 250 billion bytes in one step."""
IN_ONE_STEP = {
    "find": f"SELECT {SLOW}, {SLOW}",
    "replace": f"SELECT {SLOW.replace('instr', 'replace')[:-1]}, 'c'), {SLOW}",
    "few steps": COUNTING + "SELECT count(substr(printf('%.*c', 999000, 'a'), x)) FROM c",
}


@pytest.mark.parametrize("name", IN_ONE_STEP)
def test_a_long_time_within_one_step_is_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(module, "CPU_S", 0.5)

    found = score(folder, "SELECT 1", IN_ONE_STEP[name])

    assert (found.value, found.reason) == (
        0.0,
        "timed out: not done after 0.5 s of processor time",
    )
    assert score(folder, "SELECT 1", "SELECT 1").value == 1.0


def test_much_memory_outside_of_sqlite_is_wrong(folder: Path) -> None:
    """A row of 240 texts of 0.9 MB, which Python keeps as 4 bytes a letter."""
    texts = ", ".join(["t || 'x'"] * 240)
    wide = f"SELECT {texts} FROM (SELECT printf('%.*c', 900000, 'a') || '😀' AS t LIMIT 1)"

    found = score(folder, "SELECT 1", wide)

    assert (found.value, found.reason) == (
        0.0,
        "out of memory: more than 256 MiB in SQLite or 1024 MiB in all",
    )


def test_a_child_that_hangs_leaves_the_case_unscored(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT_S", 1.0)
    monkeypatch.setattr(module, "_BUSY", 0.0)

    found = score(folder, "SELECT 1", f"SELECT {SLOW}")

    assert found.value is None
    assert found.reason == "check_error: the queries could not be run: not done after 1 s"
    assert score(folder, "SELECT 1", "SELECT 1").value == 1.0
