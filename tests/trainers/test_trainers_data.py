"""Training rows: every bad line is named at once, and a seed decides the order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.checks.weights import file_sha256
from harness.errors import UsageError
from trainers.data import load

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}


def test_the_last_turn_of_messages_is_the_completion(write_rows: Callable[..., Path]) -> None:
    """A conversation is split before the assistant's last turn; other columns are left out."""
    path = write_rows(rows=[{"messages": [USER, ANSWER, USER, ANSWER], "id": 7}])

    (row,) = load([str(path)], seed=0).rows

    assert {"prompt": [USER, ANSWER, USER], "completion": [ANSWER]} == row


def test_order_depends_on_the_seed_only(write_rows: Callable[..., Path]) -> None:
    """Two files are mixed in an order that repeats with the seed and changes with it."""
    paths = [
        str(write_rows(f"{n}.jsonl", [{"prompt": f"{n}{i}", "completion": "x"} for i in range(20)]))
        for n in "ab"
    ]

    def order(seed: int) -> list[str]:
        return [row["prompt"] for row in load(paths, seed=seed).rows]

    assert order(3) == order(3) != order(4)
    assert sorted(order(3)) == sorted(order(4))
    assert {"a", "b"} == {prompt[0] for prompt in order(3)[:10]}


def test_files_are_named_by_content(write_rows: Callable[..., Path]) -> None:
    """Each file is listed with its hash and its number of rows."""
    path = write_rows()

    (file,) = load([str(path)], seed=0).files

    assert (str(path), file_sha256(path), 12) == (file.path, file.sha256, file.rows)


def test_all_bad_lines_are_reported_at_once(tmp_path: Path) -> None:
    """Every unusable line of every file is one line of one error, with file and line number."""
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_text('{"prompt": "a"}\n\n{oops}\n["list"]\n{"prompt": "a", "completion": "b"}\n')
    second.write_bytes(b'{"prompt": "\xff", "completion": "x"}\n{"prompt": "a", "completion": " "}')

    with pytest.raises(UsageError) as raised:
        load([str(first), str(second)], seed=0)

    lines = str(raised.value).splitlines()
    places = [f"{first}:1", f"{first}:3", f"{first}:4", f"{second}:1", f"{second}:2"]
    assert len(places) == len(lines)
    assert all(line.startswith(f"{place}: ") for place, line in zip(places, lines, strict=True))
    assert "no `completion` (keys there: prompt)" in lines[0]
    assert "UTF-8" in lines[3]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": [USER], "completion": "x"}, "both be text, or both be messages"),
        ({"prompt": 5, "completion": "x"}, "`prompt` must be text or a list of messages, not 5"),
        ({"prompt": [], "completion": [ANSWER]}, "`prompt` must be text or a list"),
        ({"prompt": [{"role": "bot", "content": "x"}], "completion": [ANSWER]}, "role='bot'"),
        ({"prompt": [{"role": "user", "content": None}], "completion": [ANSWER]}, "content must"),
        ({"prompt": [USER | {"tool_calls": []}], "completion": [ANSWER]}, "and nothing else"),
        ({"prompt": [USER], "completion": [USER]}, "a user's turn"),
        ({"messages": [USER]}, "the last the assistant's"),
        ({"messages": [ANSWER]}, "two or more turns"),
    ],
)
def test_malformed_rows_say_what_is_wrong(
    row: dict[str, Any], said: str, write_rows: Callable[..., Path]
) -> None:
    """Each kind of malformed row is refused with its own sentence."""
    with pytest.raises(UsageError) as raised:
        load([str(write_rows(rows=[row]))], seed=0)

    assert said in str(raised.value)


def test_text_and_chats_do_not_mix(write_rows: Callable[..., Path]) -> None:
    """Plain text beside chats is refused, and one place of each is named."""
    text = write_rows("text.jsonl", [{"prompt": "a", "completion": "b"}])

    with pytest.raises(UsageError, match=r"text\.jsonl:1: plain text, but .*train\.jsonl:1"):
        load([str(write_rows()), str(text)], seed=0)


def test_empty_file_is_an_error(tmp_path: Path) -> None:
    """A file without rows is a mistake, not a training on nothing."""
    (tmp_path / "empty.jsonl").write_text("\n")

    with pytest.raises(UsageError, match=r"empty\.jsonl: no rows"):
        load([str(tmp_path / "empty.jsonl")], seed=0)


def test_many_problems_are_counted(write_rows: Callable[..., Path]) -> None:
    """After twenty problems the rest is a number."""
    with pytest.raises(UsageError, match="and 5 more problems"):
        load([str(write_rows(rows=[1] * 25))], seed=0)


def test_parquet_equals_jsonl(tmp_path: Path, write_rows: Callable[..., Path]) -> None:
    """The same rows from Parquet are the same training."""
    import pyarrow
    import pyarrow.parquet

    path = write_rows()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "train.parquet")

    assert load([str(path)], seed=1).rows == load([str(tmp_path / "train.parquet")], seed=1).rows


def test_broken_parquet_is_named(tmp_path: Path) -> None:
    """A file that is no Parquet is refused by name."""
    (tmp_path / "x.parquet").write_bytes(b"no")

    with pytest.raises(UsageError, match=r"x\.parquet: not readable as Parquet"):
        load([str(tmp_path / "x.parquet")], seed=0)
