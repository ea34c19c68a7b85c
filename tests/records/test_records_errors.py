"""A file that cannot be read or written is one line: where, why, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunegate.harness.records.errors import UsageError, refuse_unreadable, refuse_unwritable


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")

    with pytest.raises(UsageError) as gone, refuse_unreadable("--config x", "give a file"):
        (tmp_path / "gone").read_text(encoding="utf-8")
    with pytest.raises(UsageError) as latin, refuse_unreadable("latin.txt"):
        (tmp_path / "latin.txt").read_text(encoding="utf-8")

    assert str(gone.value) == (
        "--config x: cannot be read (No such file or directory); give a file"
    )
    assert str(latin.value) == "latin.txt: not UTF-8 (unexpected end of data); save it as UTF-8"


def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error, refuse_unwritable("out"):
        tmp_path.write_text("", encoding="utf-8")

    assert str(error.value) == "out: cannot be written (Is a directory); choose another place"


def test_an_error_without_an_operating_systems_reason_keeps_its_text() -> None:
    with pytest.raises(UsageError, match=r"p: cannot be read \(a pipe\)"), refuse_unreadable("p"):
        raise OSError("a pipe")
