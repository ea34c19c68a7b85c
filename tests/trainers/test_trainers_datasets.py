"""Training rows: every bad line is named at once, and a seed decides the order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.hashing import file_sha256
from tunegate.trainers.datasets import (
    COMPLETIONS,
    LABELLED,
    PREFERENCES,
    PROMPTS,
    RowFormat,
    TrainingRows,
    load_rows,
    thinking_rows,
)

USER = {"role": "user", "content": "Hi"}
ANSWER = {"role": "assistant", "content": "Hello"}
OTHER = {"role": "assistant", "content": "What?"}


def load(paths: list[str], *, seed: int, form: RowFormat = COMPLETIONS) -> TrainingRows:
    """Load rows, of `prompt` and `completion` where nothing else is said."""
    return load_rows(paths, form, seed=seed)


def test_the_last_turn_of_messages_is_the_completion(write_rows: Callable[..., Path]) -> None:
    """A conversation is split before the assistant's last turn; other columns are left out."""
    path = write_rows(rows=[{"messages": [USER, ANSWER, USER, ANSWER], "id": 7}])

    (row,) = load([str(path)], seed=0).rows

    assert {"prompt": [USER, ANSWER, USER], "completion": [ANSWER]} == row


def test_order_depends_on_the_seed_only(write_rows: Callable[..., Path]) -> None:
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
    path = write_rows()

    (file,) = load([str(path)], seed=0).files

    assert (str(path), file_sha256(path), 12) == (file.path, file.sha256, file.rows)


def test_all_bad_lines_are_reported_at_once(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_text('{"prompt": "a"}\n\n{oops}\n["list"]\n{"prompt": "a", "completion": "b"}\n')
    second.write_bytes(b'{"prompt": "\xff", "completion": "x"}\n{"prompt": "a", "completion": " "}')

    with pytest.raises(UsageError) as raised:
        load([str(first), str(second)], seed=0)

    lines = str(raised.value).splitlines()
    places = [f"{first}:1", f"{first}:3", f"{first}:4", f"{second}:1", f"{second}:2"]
    assert len(places) == len(lines)
    assert all(line.startswith(f"{place}: ") for place, line in zip(places, lines, strict=True))
    assert "no `completion` (keys: prompt)" in lines[0]
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
    with pytest.raises(UsageError) as raised:
        load([str(write_rows(rows=[row]))], seed=0)

    assert said in str(raised.value)


def test_text_and_chats_do_not_mix(write_rows: Callable[..., Path]) -> None:
    text = write_rows("text.jsonl", [{"prompt": "a", "completion": "b"}])

    with pytest.raises(UsageError, match=r"text\.jsonl:1: plain text, but .*train\.jsonl:1"):
        load([str(write_rows()), str(text)], seed=0)


def test_empty_file_is_an_error(tmp_path: Path) -> None:
    """A file without rows is a mistake, not a training on nothing."""
    (tmp_path / "empty.jsonl").write_text("\n")

    with pytest.raises(UsageError, match=r"empty\.jsonl: no rows"):
        load([str(tmp_path / "empty.jsonl")], seed=0)


def test_many_problems_are_counted(write_rows: Callable[..., Path]) -> None:
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
    (tmp_path / "x.parquet").write_bytes(b"no")

    with pytest.raises(UsageError, match=r"x\.parquet: not readable as Parquet"):
        load([str(tmp_path / "x.parquet")], seed=0)


@pytest.mark.parametrize(
    ("form", "row", "read"),
    [
        (
            PREFERENCES,
            {"prompt": [USER], "chosen": [ANSWER], "rejected": [OTHER], "margin": 1},
            {"prompt": [USER], "chosen": [ANSWER], "rejected": [OTHER]},
        ),
        (
            PREFERENCES,
            {"chosen": [USER, ANSWER], "rejected": [USER, OTHER]},
            {"prompt": [USER], "chosen": [ANSWER], "rejected": [OTHER]},
        ),
        (
            PREFERENCES,
            {"prompt": "a", "chosen": "b", "rejected": "c"},
            {"prompt": "a", "chosen": "b", "rejected": "c"},
        ),
        (
            LABELLED,
            {"prompt": [USER], "completion": [ANSWER], "label": False},
            {"prompt": [USER], "completion": [ANSWER], "label": False},
        ),
        (PROMPTS, {"prompt": [USER], "answer": 4}, {"prompt": [USER], "answer": 4}),
    ],
)
def test_each_method_has_its_columns(
    form: RowFormat, row: dict[str, Any], read: dict[str, Any], write_rows: Callable[..., Path]
) -> None:
    (found,) = load([str(write_rows(rows=[row]))], seed=0, form=form).rows

    assert read == found


@pytest.mark.parametrize(
    ("form", "row", "said"),
    [
        (PREFERENCES, {"prompt": "a", "chosen": "b"}, "no `rejected` (keys: prompt, chosen)"),
        (PREFERENCES, {"chosen": "b", "rejected": "c"}, "no `prompt`"),
        (PREFERENCES, {"chosen": [ANSWER], "rejected": [OTHER]}, "no common turn"),
        (PREFERENCES, {"prompt": "a", "chosen": "b", "rejected": "b"}, "nothing to prefer"),
        (PREFERENCES, {"prompt": "a", "chosen": "b", "rejected": " "}, "`rejected` is empty"),
        (PREFERENCES, {"prompt": [USER], "chosen": "b", "rejected": "c"}, "both be text"),
        (LABELLED, {"prompt": "a", "completion": "b"}, "no `label`"),
        (LABELLED, {"prompt": "a", "completion": "b", "label": 1}, "true or false, not 1"),
        (PROMPTS, {"question": "a"}, "no `prompt` (keys: question)"),
        (PROMPTS, {"prompt": [USER, ANSWER]}, "ends with the assistant's turn"),
        (PROMPTS, {"prompt": " "}, "`prompt` is empty"),
    ],
)
def test_rows_of_another_method_are_refused(
    form: RowFormat, row: dict[str, Any], said: str, write_rows: Callable[..., Path]
) -> None:
    path = write_rows(rows=[row])

    with pytest.raises(UsageError) as raised:
        load([str(path)], seed=0, form=form)

    assert str(raised.value).startswith(f"{path}:1: ")
    assert said in str(raised.value)


def test_a_saved_data_set_equals_jsonl(tmp_path: Path, write_rows: Callable[..., Path]) -> None:
    """A folder of `datasets`, and the split `train` of one with splits, are the same training."""
    import datasets

    path = write_rows()
    rows = datasets.Dataset.from_list([json.loads(line) for line in path.read_text().splitlines()])
    rows.save_to_disk(tmp_path / "plain")
    datasets.DatasetDict({"train": rows, "test": rows}).save_to_disk(tmp_path / "splits")

    expected = load([str(path)], seed=1).rows
    for name in ("plain", "splits", "splits/test"):
        found = load([str(tmp_path / name)], seed=1)
        assert expected == found.rows
        assert [12] == [file.rows for file in found.files]


def test_a_data_set_that_changed_has_another_hash(tmp_path: Path) -> None:
    import datasets

    hashes = set()
    for name, answer in (("a", "x"), ("b", "y")):
        rows = datasets.Dataset.from_list([{"prompt": "a", "completion": answer}])
        rows.save_to_disk(tmp_path / name)
        hashes.add(load([str(tmp_path / name)], seed=0).files[0].sha256)

    assert 2 == len(hashes)


def test_folders_without_rows_are_named(tmp_path: Path) -> None:
    import datasets

    with pytest.raises(UsageError, match="not a folder that `datasets` saved"):
        load([str(tmp_path)], seed=0)

    rows = datasets.Dataset.from_list([{"prompt": "a", "completion": "b"}])
    datasets.DatasetDict({"test": rows}).save_to_disk(tmp_path / "s")
    with pytest.raises(UsageError, match=r"no split 'train'; name one: .*s/test"):
        load([str(tmp_path / "s")], seed=0)


@pytest.mark.parametrize(
    ("rows", "count"),
    [
        (
            [
                {"prompt": "a", "completion": "<think>b</think>c"},
                {"prompt": "a", "completion": "c"},
            ],
            1,
        ),
        ([{"prompt": "a\n<think>\n", "completion": "b</think>c"}], 1),
        ([{"prompt": "a", "completion": "b</think>c"}], 0),
        (
            [
                {
                    "prompt": [{"role": "user", "content": "a"}],
                    "completion": [{"role": "assistant", "content": "[THINK]b[/THINK]c"}],
                }
            ],
            1,
        ),
        ([{"prompt": "a", "chosen": "<think>b</think>c", "rejected": "d"}], 1),
        ([{"prompt": "a"}], None),
        ([], 0),
    ],
)
def test_rows_with_thoughts_are_counted(rows: list[dict[str, Any]], count: int | None) -> None:
    """As completions are split; rows of prompts alone hold no answer that could have any."""
    assert thinking_rows(rows) == count
