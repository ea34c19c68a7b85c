"""`make test-all`: which parts it has, and the table that it leaves."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest

from benchmarks import test_all as benchmark

PAGE = f"before\n{benchmark.BEGIN}| old | table |\n|---|---|\n{benchmark.END}after\n"


def test_the_page_has_a_place_for_the_table() -> None:
    page = benchmark.PAGE.read_text(encoding="utf-8")

    assert benchmark.written(page, {}).startswith(page.split(benchmark.BEGIN)[0])


def test_every_part_is_a_module_that_is_there() -> None:
    """Each is `python -m` something."""
    for part in benchmark.PARTS:
        flag, name, *_ = part.words
        assert flag == "-m"
        assert find_spec(name) is not None, name


def test_a_part_that_did_not_run_keeps_its_row() -> None:
    """A second call with `--only` replaces one row and leaves the other."""
    first, second = (part.name for part in benchmark.PARTS[:2])
    once = benchmark.written(PAGE, {first: f"| {first} | d1 |", second: f"| {second} | d1 |"})

    again = benchmark.written(once, {second: f"| {second} | d2 |"})

    assert f"| {first} | d1 |\n| {second} | d2 |\n" in again
    assert again.startswith("before\n")
    assert again.endswith("after\n")
    assert "old" not in again


def test_a_page_without_marks_is_an_error() -> None:
    with pytest.raises(ValueError, match="are missing"):
        benchmark.written("nothing here", {})


def test_a_failure_is_in_the_table_and_the_exit_code(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All parts run; the one that failed has its exit code, and 1 is returned."""
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    good = benchmark.Part("good", ("-c", "pass"), {})
    bad = benchmark.Part(
        "bad", ("-c", "import os; raise SystemExit(int(os.environ['X']))"), {"X": "3"}
    )
    monkeypatch.setattr(benchmark, "PAGE", page)
    monkeypatch.setattr(benchmark, "PARTS", (bad, good))

    assert benchmark.main([]) == 1

    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line[:5] != "| par"]
    assert [row.rsplit(" | ", 1)[1] for row in rows if row.startswith("| ")] == [
        "**exit code 3** |",
        "passed |",
    ]
    assert "failed: bad" in capsys.readouterr().out
