"""The reader of plain tables: columns, scores of any spelling, and what is wrong with a file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tunegate.harness.contracts.result_reader import ResultRow, UnreadLine, content_id, score_value
from tunegate.harness.contracts.result_spec import ResultSpec, read_logs
from tunegate.harness.records.errors import UsageError


def rows(spec: str) -> list[ResultRow | UnreadLine]:
    """Return all rows of a spec with one run."""
    _, (log,) = read_logs(ResultSpec.parse(spec))
    return list(log.rows())


def good_rows(spec: str) -> list[ResultRow]:
    """Return all rows, which must be readable."""
    found = rows(spec)
    assert all(isinstance(row, ResultRow) for row in found)
    return [row for row in found if isinstance(row, ResultRow)]


def write(folder: Path, name: str, text: str) -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_csv_of_id_and_score_needs_no_option(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "id,score\nr1,1\nr2,0.5\n")

    found = good_rows(str(path))

    assert [(r.key, dict(r.scores), r.where) for r in found] == [
        ("r1", {"score": 1.0}, f"{path}:2"),
        ("r2", {"score": 0.5}, f"{path}:3"),
    ]
    assert [r.prompt_hash for r in found] == [None, None]


def test_columns_within_others_are_named_in_the_spec(tmp_path: Path) -> None:
    """A dot goes into an object; several scores are separated by commas."""
    line = {
        "ref": {"id": 7}, "inputs": {"question": "2 + 2?"}, "out": {"text": "4"},
        "feedback": {"correct": True, "tone": "0.25"}, "trial": 3,
    }  # fmt: skip
    path = write(tmp_path, "a.jsonl", json.dumps(line) + "\n")
    query = (
        "id=ref.id&prompt=inputs.question&completion=out.text&sample=trial"
        "&scores=feedback.correct,feedback.tone"
    )

    (row,) = good_rows(f"{path}?{query}")

    assert row.id == "7"
    assert (row.prompt, row.completion, row.sample) == ("2 + 2?", "4", 3)
    assert row.scores == {"feedback.correct": 1.0, "feedback.tone": 0.25}


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (1, 1.0), (0, 0.0), (True, 1.0), (False, 0.0), (0.5, 0.5), ("0.5", 0.5), (" 1 ", 1.0),
        ("yes", 1.0), ("No", 0.0), ("PASS", 1.0), ("1e-3", 0.001),
        (None, None), ("", None), ("  ", None), ("nan", None), ("NaN", None), ("inf", None),
        ("-Infinity", None), (float("nan"), None), (float("inf"), None), ("good", None),
        ("1_000", None), ([1], None), ({"a": 1}, None), (10**200, None), (1e300, None),
    ],
)  # fmt: skip
def test_a_score_is_a_finite_number_or_a_reason(raw: object, value: float | None) -> None:
    found, reason = score_value(raw)

    assert found == value
    assert (reason is None) == (value is not None)


def test_a_row_with_an_error_says_so_and_an_empty_score_has_its_reason(tmp_path: Path) -> None:
    """A failed call is not a score of 0, even where one is written."""
    path = write(tmp_path, "a.csv", "id,score,error\nr1,0,timeout\nr2,,\n")

    failed, empty = good_rows(str(path))

    assert failed.error == "timeout"
    assert (empty.error, dict(empty.scores)) == (None, {"score": None})
    assert set(empty.errors) == {"score"}


def test_without_ids_the_hash_of_the_prompt_is_the_id(tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": p, "score": 1}) + "\n" for p in ("a", "b")]
    forward = good_rows(str(write(tmp_path, "a.jsonl", "".join(lines))))
    backward = good_rows(str(write(tmp_path, "b.jsonl", "".join(reversed(lines)))))

    assert [r.id for r in forward] == [content_id("a"), content_id("b")]
    assert {r.id for r in forward} == {r.id for r in backward}


def test_broken_lines_are_yielded_with_their_places(tmp_path: Path) -> None:
    """A line in the middle is broken; the last one is cut off by the end of the file."""
    path = write(
        tmp_path, "a.jsonl", '{"id": "1", "score": 1}\nnonsense\n{"id": "", "score": 1}\n{"id": "2'
    )

    first, broken, nameless, cut = rows(str(path))

    assert isinstance(first, ResultRow)
    assert isinstance(broken, UnreadLine)
    assert isinstance(nameless, UnreadLine)
    assert isinstance(cut, UnreadLine)
    assert [broken.where, nameless.where, cut.where] == [f"{path}:{n}" for n in (2, 3, 4)]
    assert [broken.cut, nameless.cut, cut.cut] == [False, False, True]


@pytest.mark.parametrize("nested", ["[" * 100_000, '{"id": "1", "score": ' + "9" * 5000 + "}"])
def test_hostile_lines_are_unread(tmp_path: Path, nested: str) -> None:
    """Deep nesting and numbers of thousands of digits are a line each, not a traceback."""
    path = write(tmp_path, "a.jsonl", '{"id": "1", "score": 1}\n' + nested + "\n")

    _, hostile = rows(str(path))

    assert isinstance(hostile, UnreadLine)


@pytest.mark.parametrize(
    ("name", "text", "spec", "told"),
    [
        ("a.csv", "id,grade\nr1,1\n", "", "grade"),
        ("a.csv", "name,score\nr1,1\n", "", "name"),
        ("a.csv", "id,score\nr1,1\n", "?id=nme", "nme"),
        ("a.csv", "id,score\nr1,1\n", "?idd=id", "idd"),
        ("a.csv", "id,score\nr1,1\n", "?format=tabel", "table"),
        ("a.csv", "id,score\nr1,1\n", "#tuned", "without a name; remove #tuned"),
        ("a.csv", "id,id\nr1,1\n", "", "'id'"),
        ("a.csv", "", "", "no records"),
        ("a.txt", "id,score\nr1,1\n", "", "not recognized"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    tmp_path: Path, name: str, text: str, spec: str, told: str
) -> None:
    path = write(tmp_path, name, text)

    with pytest.raises(UsageError) as caught:
        rows(f"{path}{spec}")

    assert str(path) in str(caught.value) or told in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_spec_without_a_path_is_refused() -> None:
    """The current folder is `results:.`."""
    with pytest.raises(UsageError, match="names no path"):
        ResultSpec.parse("results:")
    assert ResultSpec.parse("results:.").path == Path()


def test_csv_tsv_json_and_parquet_hold_the_same(tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    records = [{"id": "a", "score": 1.0}, {"id": "b", "score": 0.0}]
    paths = [
        write(tmp_path, "a.csv", "id,score\na,1.0\nb,0.0\n"),
        write(tmp_path, "a.tsv", "id\tscore\na\t1.0\nb\t0.0\n"),
        write(tmp_path, "a.json", json.dumps(records)),
        write(tmp_path, "a.jsonl", "".join(json.dumps(r) + "\n" for r in records)),
        tmp_path / "a.parquet",
    ]
    parquet.write_table(pyarrow.Table.from_pylist(records), paths[-1])

    found = [[(r.id, r.scores["score"]) for r in good_rows(str(path))] for path in paths]

    assert found == [[("a", 1.0), ("b", 0.0)]] * 5
