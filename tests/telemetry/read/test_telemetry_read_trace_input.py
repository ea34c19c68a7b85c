"""Which files are read, and their bytes: folders, patterns, gzip, and files that are damaged."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.errors import UsageError
from tunegate.harness.telemetry.read import trace_input
from tunegate.harness.telemetry.read.trace_input import open_contents, trace_files
from tunegate.harness.telemetry.read.trace_types import ImportReport, OccurrenceCount

Make = Callable[..., Any]


def touched(folder: Path, *names: str) -> None:
    """Make empty files."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_stands_for_its_trace_files(tmp_path: Path) -> None:
    touched(tmp_path, "b.jsonl", "a.json.gz", "c/d.pb", "notes.md", "c/e.NDJSON", "z.gz")

    assert [path.relative_to(tmp_path).as_posix() for path in trace_files([tmp_path])] == [
        "a.json.gz",
        "b.jsonl",
        "c/d.pb",
        "c/e.NDJSON",
    ]


def test_of_a_runs_folder_the_traces_are_read(tmp_path: Path) -> None:
    touched(tmp_path, "manifest.json", "cells.jsonl", "traces.jsonl", "logs.jsonl", "verdict.json")

    assert [path.name for path in trace_files([tmp_path])] == ["traces.jsonl", "logs.jsonl"]


def test_logs_beside_traces_are_found_and_no_file_is_read_twice(tmp_path: Path) -> None:
    touched(tmp_path, "traces-1.jsonl.gz", "logs-1.jsonl.gz", "other.jsonl")

    found = trace_files(
        [str(tmp_path / "tra*.gz"), tmp_path / "traces-1.jsonl.gz", tmp_path / "other.jsonl"]
    )

    assert [path.name for path in found] == ["traces-1.jsonl.gz", "other.jsonl", "logs-1.jsonl.gz"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nothing.jsonl", "no such file or folder; name trace files, a folder or a pattern"),
        ("*.jsonl", "no file matches"),
        ("empty", "no traces in it; names end in .json .jsonl"),
        ("run", "no traces in it; names end in .json .jsonl"),
    ],
)
def test_a_path_that_names_nothing_is_refused(path: str, message: str, tmp_path: Path) -> None:
    touched(tmp_path, "empty/notes.md", "run/manifest.json", "run/cells.jsonl")

    with pytest.raises(UsageError) as raised:
        trace_files([tmp_path / path])

    assert str(raised.value).startswith(f"{tmp_path / path}: {message}")
    assert "\n" not in str(raised.value)


def test_gzip_is_unpacked_whatever_the_name(
    otlp: Make, otlp_span: Make, tmp_path: Path, reading_of: Make
) -> None:
    lines = "".join(json.dumps(otlp(otlp_span(name=f"chat {n}"))) + "\n" for n in range(2_000))
    packed = gzip.compress(lines.encode())
    (tmp_path / "a.jsonl").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "b.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "c.jsonl.gz").write_bytes(packed[:-6] + b"\0" * 6)

    spans, reading = reading_of(tmp_path)

    read = {name: [s for s in spans if name in s.where] for name in ("a.", "b.", "c.")}
    assert len(read["a."]) == 2_000
    assert 500 < len(read["b."]) < 1_500
    assert read["b."][-1].name == f"chat {len(read['b.']) - 1}"
    assert len(read["c."]) > 1_900  # the last buffer comes together with its checksum
    assert reading.left_out == {
        "the rest of a truncated gzip file": OccurrenceCount(1, f"{tmp_path}/b.jsonl.gz"),
        "the rest of a gzip file that is damaged": OccurrenceCount(1, f"{tmp_path}/c.jsonl.gz"),
    }


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"\xef\xbb\xbf \n\n", "an empty file"),
        (b"\x28\xb5\x2f\xfd\x00", "a file compressed with zstd (decompress it: zstd -d)"),
        (
            b"\x00\x00\x01\x00\x28\xb5\x2f\xfd\x00",
            "a file compressed with zstd (decompress it: zstd -d)",
        ),
    ],
)
def test_files_that_hold_nothing_readable_are_counted(
    content: bytes, reason: str, tmp_path: Path, reading_of: Make
) -> None:
    path = tmp_path / "traces.json"
    path.write_bytes(content)

    spans, reading = reading_of(path)

    assert spans == []
    assert reading.left_out == {reason: OccurrenceCount(1, str(path))}


def test_a_line_that_is_too_long_is_passed_over(
    otlp: Make,
    otlp_span: Make,
    written: Make,
    reading_of: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trace_input, "LONGEST_LINE", 1_000)
    whole = otlp(otlp_span())
    path = written("traces.jsonl", whole, otlp(otlp_span(name="x" * 5_000)), whole)

    spans, reading = reading_of(path)

    assert [span.where for span in spans] == [f"{path}:1", f"{path}:3"]
    assert reading.left_out == {"a line of over 256 MB": OccurrenceCount(1, f"{path}:2")}


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "traces.jsonl"
    os.mkfifo(pipe)

    with pytest.raises(UsageError, match="not a regular file"), open_contents(pipe, ImportReport()):
        pass
