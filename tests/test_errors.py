"""Errors: what a message shows of the values that it quotes, and of a file that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tunegate.harness.records.errors import (
    ModelError,
    SuiteError,
    UsageError,
    error_reason,
    error_summary,
    hide_credentials,
    refuse_unreadable,
    refuse_unwritable,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("server:http://bob:pw@h:8000/v1#m: no", "server:http://…@h:8000/v1#m: no"),
        ("server:http://token@h/v1", "server:http://…@h/v1"),
        ("http://bob:p/w#?:@x@h/v1 fails", "http://…@h/v1 fails"),
        ("htp://bob:pw@h", "htp://…@h"),
        ("http:/bob:pw@h/v1: no such file", "http:/…@h/v1: no such file"),
        ("write to a@b.org, or see http://h/v1", "write to a@b.org, or see http://h/v1"),
        ("hf:org/model@main", "hf:org/model@main"),
        ("a http://u:p@h\n  b  http://u:p@i", "a http://…@h\n  b  http://…@i"),
    ],
)
def test_user_and_password_of_addresses_are_hidden(text: str, shown: str) -> None:
    """Between `://` and the last `@` of a word; all else stays as it is."""
    assert hide_credentials(text) == shown


def test_no_error_of_ours_prints_a_password() -> None:
    text = "file 'https://bob:pw@h/x.csv' is not there"
    broken = SuiteError([text])

    assert "pw" not in f"{ModelError(text)}{broken}{broken.problems}"


def test_a_long_text_without_an_address_costs_nothing() -> None:
    assert hide_credentials("@" + "://" * 700_000)[:4] == "@://"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no such file\nhint: look", "no such file"),
        ("\n  broken\n", "broken"),
        ("cannot load:\n  no memory\nmore", "cannot load: no memory"),
        ("", "ValueError"),
    ],
)
def test_the_reason_of_an_error_is_one_line(text: str, reason: str) -> None:
    assert error_reason(ValueError(text)) == reason


def test_the_summary_of_an_error_has_its_type_and_a_length_that_fits() -> None:
    assert error_summary(KeyError("x")) == "KeyError: 'x'"
    assert error_summary(KeyError()) == "KeyError"
    assert len(error_summary(ValueError("x" * 1000))) == 300


def test_an_error_whose_text_fails_is_named_by_its_type() -> None:
    class NoText(ValueError):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert error_summary(NoText()) == "NoText"


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
