"""JSON-lines files read a record at a time."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tunegate.harness.records import files
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import (
    numbered_lines,
    parse_record,
    read_file,
    read_record,
    write_atomic,
)
from tunegate.harness.records.jsonl import (
    FilteredRecords,
    IndexedRecords,
    JsonlRecords,
    read_jsonl,
    read_records,
    record_lines,
)
from tunegate.harness.records.scores import ScoreRow


def row(case: str, value: float | None = 1.0) -> ScoreRow:
    """Return the score of a case."""
    reason = "empty" if value is None else None
    return ScoreRow(suite="s", metric="m", case=case, arm="base", value=value, reason=reason)


ROWS = (row("a"), row("b\u2028é", 0.1 + 0.2), row("c", None))


@pytest.fixture(name="lines")
def _lines(tmp_path: Path) -> JsonlRecords[ScoreRow]:
    """Return the lines of a file of three scores."""
    write_atomic(tmp_path / "scores.jsonl", record_lines(ROWS))
    return JsonlRecords(tmp_path / "scores.jsonl", ScoreRow)


@pytest.mark.parametrize(
    "read",
    [
        lambda path: JsonlRecords(path, ScoreRow),
        lambda path: read_records(path, ScoreRow),
        lambda path: list(read_jsonl(path)),
        lambda path: list(numbered_lines(path)),
    ],
)
def test_a_line_beyond_the_limit_is_refused_by_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "scores.jsonl"
    write_atomic(path, record_lines([row("a"), row("b" * 200)]))
    short, long = (len(line) for line in path.read_bytes().splitlines(keepends=True))
    monkeypatch.setattr(files, "LONGEST_LINE", long)
    read(path)
    monkeypatch.setattr(files, "LONGEST_LINE", long - 1)
    with pytest.raises(UsageError, match=rf"scores\.jsonl:2: .* {long - 1} bytes"):
        read(path)
    assert short < long - 1


def test_lines_of_a_pipe_are_not_read(tmp_path: Path) -> None:
    """It would wait for a writer."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(OSError, match="a pipe or device"):
        list(numbered_lines(tmp_path / "pipe.jsonl"))


def test_lines_are_a_sequence_of_records(lines: JsonlRecords[ScoreRow]) -> None:
    assert len(lines) == 3
    assert tuple(lines) == ROWS
    assert tuple(lines) == ROWS
    assert (lines[1], lines[-1]) == (ROWS[1], ROWS[2])
    assert lines[::2] == (ROWS[0], ROWS[2])
    with pytest.raises(IndexError):
        lines[3]


def test_records_are_not_kept(lines: JsonlRecords[ScoreRow]) -> None:
    write_atomic(lines.path, record_lines([row("z"), *ROWS[1:]]))

    assert lines[0].case == "z"


def test_a_line_that_goes_bad_later_is_named(lines: JsonlRecords[ScoreRow]) -> None:
    text = lines.path.read_bytes()
    lines.path.write_bytes(text[:-5] + b"xxxx\n")

    with pytest.raises(UsageError, match=r"scores\.jsonl:3: not a ScoreRow"):
        lines[2]
    with pytest.raises(UsageError, match=r"scores\.jsonl:3: not a ScoreRow"):
        list(lines)


def test_records_are_found_by_key(lines: JsonlRecords[ScoreRow]) -> None:
    found = IndexedRecords.of(lines, lambda r: None if r.value is None else r.suite + r.case[:1])

    assert dict(found) == {"sa": ROWS[0], "sb": ROWS[1]}
    assert "sc" not in found
    assert len(found) == 2
    assert IndexedRecords.of(lines, lambda r: r.suite)["s"] == ROWS[2]


def test_chosen_records_can_be_gone_through_again(lines: JsonlRecords[ScoreRow]) -> None:
    scored = FilteredRecords(lines, lambda r: r.value is not None)

    assert list(scored) == list(scored) == list(ROWS[:2])


@pytest.mark.parametrize("value", [0.1, 1 / 3, 5e-324, 1.7976931348623157e99, -2.5, 1e22, 123456.7])
def test_floats_come_back_to_the_last_bit(value: float) -> None:
    line = json.dumps({"suite": "s", "metric": "m", "case": "c", "arm": "base", "value": value})

    assert parse_record(ScoreRow, line.encode()).value == value


def test_half_a_surrogate_pair_is_read(tmp_path: Path) -> None:
    line = rb'{"suite": "s", "metric": "m", "case": "c", "arm": "base", "reason": "\ud800"}'

    assert parse_record(ScoreRow, line).reason == "\ufffd"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(UsageError, match=r"cannot be read \(a pipe or device, not a regular file"):
        read_record(tmp_path / "manifest.json", ScoreRow)


def test_a_device_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path, kind in ((Path(os.devnull), "a pipe or device"), (tmp_path, "a folder")):
        with pytest.raises(OSError, match=f"{kind}, not a regular file"):
            read_file(path)


def test_a_sparse_file_of_200_gb_is_refused_unread(tmp_path: Path) -> None:
    """A sparse file of 200 gb is refused unread."""
    path = tmp_path / "verdict.json"
    with path.open("wb") as file:
        file.truncate(200 * 10**9)
    with pytest.raises(UsageError, match="200,000,000,000 bytes, at most 2,000,000,000 are read"):
        read_record(path, ScoreRow)
