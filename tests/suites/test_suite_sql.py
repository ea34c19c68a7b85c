"""The bundled suite `sql`: its references are right, and wrong queries have other results."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tunegate.harness.cli.suite import copy_suite
from tunegate.harness.metrics._sql_comparison import is_ordered
from tunegate.harness.metrics._sql_execution import compare_queries
from tunegate.harness.records.answers import Completion
from tunegate.harness.records.cases import Case
from tunegate.harness.suite import Suite, load_suite
from tunegate.suites.sql import make

FOLDER = Path(__file__).parents[2] / "suites/sql"

MISTAKES = {
    "no DISTINCT": (r"DISTINCT ", ""),
    "> for >=": (r">=", ">"),
    "<= for <": (r"<(?![=>])", "<="),
    ">= for >": (r"(?<![<>])>(?!=)", ">="),
    "< for >": (r"(?<![<>])>", "<"),
    "> for <": (r"<(?![>])", ">"),
    "= for <>": (r"<>", "="),
    "<> for =": (r"= '", "<> '"),
    "another aggregate": (r"(MAX|MIN|AVG|SUM)\(", lambda m: f"{AGGREGATES[m[1]]}("),
    "a sum for an average": (r"AVG\(", "SUM("),
    "a count for a sum": (r"SUM\(", "COUNT("),
    "all rows counted": (r"COUNT\((DISTINCT )?[a-z_.]+\)", "COUNT(*)"),
    "another rank": (r"RANK\(\)", "ROW_NUMBER()"),
    "an inner join": (r"LEFT JOIN", "JOIN"),
    "a join without condition": (r"[a-z]+\.(id|[a-z]+_id) = [a-z]+\.(id|[a-z]+_id)", "1 = 1"),
    "no WHERE": (r" WHERE [^()]*?(?= GROUP| ORDER| EXCEPT|$)", ""),
    "no HAVING": (r" HAVING .*?(?= ORDER|$)", ""),
    "no GROUP BY": (r" GROUP BY [a-z_.]+", ""),
    "no ORDER BY": (r" ORDER BY [^()]*?(?= LIMIT|$)", ""),
    "ascending": (r" DESC", ""),
    "no LIMIT": (r" LIMIT \d+", ""),
    "NULL as a text": (r"IS NULL", "= ''"),
    "known for unknown": (r"IS NULL", "IS NOT NULL"),
    "not left out": (r"NOT (IN|EXISTS)", r"\1"),
    "another set": (r"EXCEPT", "UNION"),
    "division of integers": (r"100\.0", "100"),
    "one too high": (r"(?<=[<>=] )(\d+)(?!\.)", lambda m: str(int(m[1]) + 1)),
}
AGGREGATES = {"MAX": "MIN", "MIN": "MAX", "AVG": "MAX", "SUM": "AVG"}


def spoil(query: str) -> Iterator[tuple[str, str]]:
    """Yield each mistake with a query that makes it, once for each place."""
    seen = {query}
    for name, (pattern, by) in MISTAKES.items():
        for found in re.finditer(pattern, query):
            text = by(found) if callable(by) else found.expand(by)
            spoiled = query[: found.start()] + text + query[found.end() :]
            if spoiled not in seen:
                yield name, spoiled
            seen.add(spoiled)


def is_right(case: Case, query: str) -> bool:
    database = str(FOLDER / f"databases/{case.database}.sql")
    return (
        compare_queries(database, query, list(case.expected_texts()), 20_000_000, 20.0)["wrong"]
        is None
    )


def test_the_files_are_what_the_material_makes() -> None:
    cases = [json.dumps(case, ensure_ascii=False) for case in make.make_cases()]

    assert (FOLDER / "cases.jsonl").read_text(encoding="utf-8").splitlines() == cases
    for name, tables in (("shop", make.make_shop()), ("library", make.make_library())):
        script = (FOLDER / f"databases/{name}.sql").read_text(encoding="utf-8")
        assert script == "".join(f"{line}\n" for line in make.script_lines(name, tables))


def test_there_are_sixty_questions_of_three_levels(cases: list[Case]) -> None:
    levels = Counter(case.tags[0] for case in cases)

    assert levels == {"easy": 20, "medium": 22, "hard": 18}
    assert Counter(case.database for case in cases) == {"shop": 30, "library": 30}
    assert len({case.prompt for case in cases}) == 60


def test_at_least_95_of_100_spoiled_queries_are_wrong(cases: list[Case]) -> None:
    """An undiscovered mistake is listed in the message."""
    spoiled = [(case, *pair) for case in cases for pair in spoil(case.expected_texts()[0])]
    right = [f"{case.id}: {name}: {q}" for case, name, q in spoiled if is_right(case, q)]

    assert len(spoiled) > 200
    assert {name for _, name, _ in spoiled} == set(MISTAKES)
    assert len(right) <= 0.05 * len(spoiled), "\n".join(right)


def test_no_tie_decides_an_order(cases: list[Case]) -> None:
    ordered = [case for case in cases if is_ordered(case.expected_texts()[0])]
    for case in ordered:
        query = case.expected_texts()[0]
        end = re.search(r"(?= LIMIT \d+$)|$", query)
        assert end is not None
        for direction in ("ASC", "DESC"):
            tied = f"{query[: end.start()]}, 1 {direction}{query[end.start() :]}"
            assert is_right(case, tied), tied

    assert len(ordered) == 8


def test_the_references_score_1_and_a_constant_answer_0(suite: Suite) -> None:
    metric = suite.metric("sql_result")

    for case in suite.cases:
        fenced = f"```sql\n{case.expected_texts()[0]};\n```"
        assert metric(case, Completion(text=fenced)).value == 1.0
        assert metric(case, Completion(text="SELECT 1")).value == 0.0


def test_a_copy_has_its_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    copy_suite("sql", tmp_path / "mine")

    assert load_suite(tmp_path / "mine").hash == load_suite(FOLDER).hash
    assert sorted(p.name for p in (tmp_path / "mine/databases").iterdir()) == [
        "library.sql",
        "shop.sql",
    ]
