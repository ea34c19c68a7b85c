"""parquet: typed columns, nested columns, several files."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra

pa = pytest.importorskip("pyarrow")
TABLE = 'from = "parquet"\nfile = "t.parquet"\n'


def _write(path: Path, columns: dict[str, list[Any]]) -> None:
    from pyarrow.parquet import write_table

    write_table(pa.table(columns), path)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["yes"], "yes"),
        ([42], "42"),
        ([4.5], "4.5"),
        ([True], "true"),
        ([datetime.date(2024, 2, 29)], "2024-02-29"),
        ([{"a": 1, "b": "ü"}], '{"a": 1, "b": "ü"}'),
        ([["x", "y"]], ("x", "y")),
        ([["x", None]], ("x",)),
        ([None], None),
        ([float("nan")], None),
        ([""], None),
    ],
)
def test_a_value_becomes_the_expected_text(
    tmp_path: Path, cases: Callable[[str], list[Case]], values: list[Any], expected: object
) -> None:
    _write(tmp_path / "t.parquet", {"prompt": ["p"], "expected": values})

    assert cases(TABLE)[0].expected == expected


def test_a_column_within_another_is_named_with_a_dot(
    tmp_path: Path, cases: Callable[[str], list[Case]]
) -> None:
    """SQuAD's answers are a list within an object; a passage stands in front of its question."""
    answers = {"text": ["Paris", "the city of Paris"], "answer_start": [0, 0]}
    _write(
        tmp_path / "t.parquet",
        {"context": ["Paris is."], "question": ["Where?"], "answers": [answers]},
    )
    (case,) = cases(
        TABLE + r'columns = { prompt = "{context}\n\n{question}", expected = "answers.text" }'
    )

    assert case.prompt == "Paris is.\n\nWhere?"
    assert case.expected == ("Paris", "the city of Paris")


def test_a_folder_is_read_in_the_order_of_its_files(
    tmp_path: Path, cases: Callable[[str], list[Case]]
) -> None:
    from tunegate.harness import suite

    (tmp_path / "t.parquet").mkdir()
    for part in range(3):
        ids = [f"{part}{i}" for i in range(4)]
        _write(tmp_path / "t.parquet" / f"{part}.parquet", {"id": ids, "prompt": ids})

    assert [c.id for c in cases(TABLE)] == [f"{p}{i}" for p in range(3) for i in range(4)]
    drawn = [c.id for c in cases(TABLE + "sample = 6")]
    assert drawn == sorted(drawn)
    assert len({*drawn}) == 6
    wheres = [case.where for case in suite.load_suite(tmp_path).cases]
    assert all(
        where == f"{tmp_path}/t.parquet/{i[0]}.parquet: row {int(i[1]) + 1}"
        for where, i in zip(wheres, drawn, strict=True)
    )


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"promt": ["p"]}, "t.parquet: no column is the prompt; name it: columns = { prompt = …"),
        ({"prompt": ["p", None]}, "t.parquet: row 2: the prompt is empty (column 'prompt')"),
        ({"prompt": ["p"], "answer": [1]}, "t.parquet: row 1: 'answer' needs 'choices' next to it"),
        ({"prompt": [b"p"]}, "t.parquet: row 1: prompt: bytes is not a text; name a column that"),
        ({"prompt": ["p"], "tools": ["{"]}, "t.parquet: row 1: tools: broken JSON at column 2"),
        ({"id": ["a", "a"], "prompt": ["p", "q"]},
         "t.parquet: row 2: id 'a' is already used at t.parquet: row 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_rows(
    tmp_path: Path,
    problems: Callable[[str], list[str]],
    columns: dict[str, list[Any]],
    problem: str,
) -> None:
    """Rows are counted from 1."""
    _write(tmp_path / "t.parquet", columns)

    (found,) = problems(TABLE)
    assert found.startswith(problem)


def test_files_that_are_none(tmp_path: Path, problems: Callable[[str], list[str]]) -> None:
    assert problems(TABLE)[0].startswith("t.parquet: no such file; paths start at the suite's")
    (tmp_path / "t.parquet").mkdir()
    assert problems(TABLE)[0].startswith("t.parquet: no *.parquet in this folder; name a file")
    _write(tmp_path / "t.parquet" / "a.parquet", {"prompt": ["p"]})
    _write(tmp_path / "t.parquet" / "b.parquet", {"question": ["p"]})
    assert problems(TABLE) == [
        "t.parquet/b.parquet: its columns differ from those of a.parquet; name a single file"
    ]
    (tmp_path / "t.parquet" / "b.parquet").write_bytes(b"PAR1")
    assert problems(TABLE)[0].startswith("t.parquet/b.parquet: cannot be read (")


def test_the_extra_is_named(
    tmp_path: Path, cases: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(MissingExtra, match=r"pip install 'tunegate\[sources\]'"):
        cases(TABLE)


def test_conversations_of_a_training_set(
    tmp_path: Path, cases: Callable[[str], list[Case]]
) -> None:
    """`chat = true` reads rows as the source chat does; a key that a turn lacks stays absent."""
    ask: dict[str, Any] = {"role": "user", "content": "Where?"}
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "f", "arguments": "{}"}]}
    say = {"role": "assistant", "content": "Here."}
    rows = [[ask, say, ask, call], [ask, say, ask, say]]
    _write(tmp_path / "t.parquet", {"messages": rows, "topic": ["t", "u"]})
    found = cases(TABLE + 'chat = true\ncolumns = { tags = "topic" }')

    assert [c.messages for c in found] == [(ask, say, ask)] * 2
    assert [(c.expected, c.expected_calls, c.tags) for c in found] == [
        (None, ({"name": "f", "arguments": {}},), ("t",)),
        ("Here.", None, ("u",)),
    ]
