"""jsonl with `columns`, `limit` and `sample`; its own form is in the contract tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from tunegate.harness.records.cases import Case

TABLE = 'from = "jsonl"\nfile = "c.jsonl"\n'


def test_lines_of_any_form_are_mapped(tmp_path: Path, cases: Callable[[str], list[Case]]) -> None:
    (tmp_path / "c.jsonl").write_text(
        '{"item": {"q": "a", "gold": "x"}, "by": "u1"}\n{"item": {"q": "b"}, "extra": 1}\n'
    )
    found = cases(
        TABLE
        + 'columns = { prompt = "item.q", expected = "item.gold", cluster = "by", id = "item.q" }'
    )

    assert found == [
        Case(id="a", prompt="a", expected="x", cluster="u1"),
        Case(id="b", prompt="b"),
    ]


def test_without_columns_lines_are_cases(
    tmp_path: Path, problems: Callable[[str], list[str]], cases: Callable[[str], list[Case]]
) -> None:
    (tmp_path / "c.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b", "x": 1}\n')

    assert [c.prompt for c in cases(TABLE + "limit = 1")] == ["a"]
    assert problems(TABLE + "sample = 2")[0].startswith("c.jsonl:2: unknown key 'x'")


def test_a_json_file_holds_a_list(
    tmp_path: Path, problems: Callable[[str], list[str]], cases: Callable[[str], list[Case]]
) -> None:
    """Its rows are counted; broken JSON is reported with line and column."""
    table = TABLE.replace("c.jsonl", "c.json")
    (tmp_path / "c.json").write_text('[{"prompt": "a"},\n {"prompt": "b"}]')
    assert [c.prompt for c in cases(table)] == ["a", "b"]

    (tmp_path / "c.json").write_text('[{"prompt": "a"},\n 3]')
    assert problems(table)[0].startswith("c.json: row 2: a row must be an object")
    (tmp_path / "c.json").write_text('[{"prompt": "a"},\n {"prompt" "b"}]')
    assert problems(table)[0].startswith("c.json: broken JSON at line 2, column 12: Expecting ':'")
    (tmp_path / "c.json").write_text('{"prompt": "a"}')
    assert problems(table)[0].startswith("c.json: must be a list of objects; write JSON lines")


def test_many_keys_are_looked_through_once(
    tmp_path: Path, problems: Callable[[str], list[str]]
) -> None:
    """Of 200,000 keys the last one occurs twice: found in a pass, not in one for each key."""
    keys = ", ".join(f'"k{i}": 0' for i in range(200_000))
    (tmp_path / "c.jsonl").write_text(f'{{{keys}, "k199999": 1}}\n', encoding="utf-8")
    start = time.process_time()

    (found,) = problems(TABLE)

    assert "the key 'k199999' occurs twice" in found
    assert time.process_time() - start < 5
