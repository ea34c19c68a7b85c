"""A run folder: written whole or not at all, read back as it was, refused in one line."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.decided_suites import manifest_of
from tunegate.harness.decision.verdict.decide import failed_verdict
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import read_record, record_json, write_atomic
from tunegate.harness.records.jsonl import read_jsonl, read_records, record_lines
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.run_folder import Run, RunCase
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import VerdictRecord

ODD = 'quote " backslash \\ NUL \x00 line \u2028 bidi \u202e emoji \N{GRINNING FACE} \ufffd\n'
"""A text with everything that breaks careless writers."""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """Return a finished run with one case, two cells and a score."""
    case = RunCase(suite="s", case=Case(id="a", prompt=ODD), where="c.jsonl:1", rendered=ODD)
    cells = [
        StoredAnswer(
            cell=Cell(suite="s", case="a", arm=arm, kind=CellKind.GENERATE, sample=i, key=f"{i}"),
            status="ok",
            completion=Completion(text=f"{arm} {i} {ODD}"),
        )
        for arm in ("base", "tuned")
        for i in (0, 1)
    ]
    score = ScoreRow(suite="s", metric="m", case="a", arm="base", value=0.1, reason=ODD)
    run = manifest_of(())
    write_atomic(tmp_path / "manifest.json", record_json(run))
    write_atomic(tmp_path / "verdict.json", record_json(failed_verdict(run, ODD)))
    write_atomic(tmp_path / "cases.jsonl", record_lines([case]))
    write_atomic(tmp_path / "cells.jsonl", record_lines(cells))
    write_atomic(tmp_path / "scores.jsonl", record_lines([score]))
    return tmp_path


def test_a_run_comes_back_as_it_was(folder: Path) -> None:
    run = Run.load(folder)

    assert run.cases["s", "a"].case.prompt == ODD
    assert run.cases["s", "a"].rendered == ODD
    assert run.scores[0].value == 0.1
    assert run.verdict.sentence == ODD
    assert run.manifest == manifest_of(())
    # the first sample of each arm, by place
    first = run.completions["s", "a", "tuned"].completion
    assert first is not None
    assert first.text == f"tuned 0 {ODD}"
    assert len(run.completions) == 2
    assert run.score_table["s", "m", "a", "base"].reason == ODD


def test_every_line_is_one_line(folder: Path) -> None:
    for name, count in (("cases.jsonl", 1), ("cells.jsonl", 4), ("scores.jsonl", 1)):
        assert len((folder / name).read_text(encoding="utf-8").splitlines()) == count
        assert len(list(read_jsonl(folder / name))) == count


def test_no_file_is_no_rows(tmp_path: Path) -> None:
    """A refused run has no cells, which is not an error."""
    assert list(read_jsonl(tmp_path / "none.jsonl")) == []
    assert read_records(tmp_path / "none.jsonl", ScoreRow) == ()


def problem(folder: Path) -> str:
    """Return the one line that refuses a run."""
    with pytest.raises(UsageError) as caught:
        Run.load(folder)
    text = str(caught.value)
    assert "\n" not in text
    return text.replace(f"{folder}/", "").replace(str(folder), "RUN")


def test_a_folder_that_is_not_there_is_no_interrupted_run(folder: Path) -> None:
    assert problem(folder / "typo") == (
        "RUN: no such run folder; `tunegate history` lists the runs"
    )


@pytest.mark.parametrize("name", ["manifest.json", "verdict.json"])
def test_an_unfinished_run_names_the_command(folder: Path, name: str) -> None:
    (folder / name).unlink()

    assert problem(folder) == (
        f"RUN: no {name}: not a finished run; `tunegate resume RUN` finishes an interrupted one"
    )


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("manifest.json", "{", "manifest.json: not a Manifest: Expecting property name"),
        ("manifest.json", "[]", "manifest.json: not a Manifest: Input should be a valid"),
        ("manifest.json", "", "manifest.json: not a Manifest: Expecting value"),
        (
            "verdict.json",
            '{"schema_version": 2}',
            "verdict.json: not a VerdictRecord: written in version 2 of the format, and this "
            "tunegate reads version 1: install the tunegate that wrote it",
        ),
        ("verdict.json", '{"schema_version": 1}', "verdict.json: not a VerdictRecord: the key "),
        ("cells.jsonl", '{"cell": {}}\n', "cells.jsonl:1: not a StoredAnswer: cell: the key "),
        ("scores.jsonl", '{"suite": "s"', "scores.jsonl:1: not a ScoreRow: Expecting ','"),
        ("scores.jsonl", "\n", "scores.jsonl:1: not a ScoreRow: Expecting value"),
        ("cases.jsonl", "[" * 5000, "cases.jsonl:1: not a RunCase: "),
    ],
)
def test_a_damaged_run_is_refused_in_one_line(
    folder: Path, name: str, content: str, expected: str
) -> None:
    (folder / name).write_text(content, encoding="utf-8")

    assert problem(folder).startswith(expected)


def test_bytes_that_are_no_text_are_refused_in_one_line(folder: Path) -> None:
    """A flipped byte is a sentence, not a traceback."""
    for name in ("cells.jsonl", "manifest.json"):
        (folder / name).write_bytes(b'{"\xff": 1}\n')
        assert name in problem(folder)


def test_unknown_fields_are_refused(folder: Path) -> None:
    """A newer format would be misread in silence."""
    content = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    (folder / "verdict.json").write_text(json.dumps({**content, "new": 1}), encoding="utf-8")

    assert problem(folder).startswith("verdict.json: not a VerdictRecord: unknown key 'new'")


def test_a_records_file_is_one_text(tmp_path: Path) -> None:
    """Sorted keys, two spaces, a line end; the same record gives the same bytes."""
    text = record_json(Case(id="é", prompt="p"))

    assert text.startswith('{\n  "answer": null,\n  "choices": null,')
    assert text.endswith("}\n")
    assert '"id": "é"' in text
    write_atomic(tmp_path / "a.json", text)
    assert (tmp_path / "a.json").read_bytes() == text.encode("utf-8")


def test_half_characters_in_an_identity_leave_as_escapes(tmp_path: Path) -> None:
    """An arm may say anything of itself; the file is UTF-8 and comes back the same."""
    odd = manifest_of((), arms={"base": {"spec": "b\ud800"}, "tuned": {"spec": "t"}})
    write_atomic(tmp_path / "manifest.json", record_json(odd))

    assert b"b\\ud800" in (tmp_path / "manifest.json").read_bytes()
    assert read_record(tmp_path / "manifest.json", Manifest) == odd


def test_not_a_number_never_reaches_a_file() -> None:
    odd = manifest_of((), arms={"base": {"x": float("nan")}, "tuned": {}})

    assert json.loads(record_json(odd))["arms"]["base"] == {"x": None}


def test_writing_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "v.json"
    write_atomic(path, "old and long")
    write_atomic(path, "new\r\n")

    assert path.read_bytes() == b"new\r\n"
    assert list(path.parent.iterdir()) == [path]


def test_other_people_may_read_what_is_written(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_atomic(tmp_path / "v.json", "x")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "v.json").stat().st_mode) == 0o644


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "v.json"
    write_atomic(path, "old")

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")

    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_verdict_comes_back_equal(folder: Path) -> None:
    text = (folder / "verdict.json").read_text(encoding="utf-8")

    assert record_json(read_record(folder / "verdict.json", VerdictRecord)) == text
