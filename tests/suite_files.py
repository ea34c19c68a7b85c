"""Fixtures of the contract tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tunegate.harness.records.errors import SuiteError
from tunegate.harness.suite import load_suite

HEAD = 'name = "s"\ncases = "cases.jsonl"\n[[metrics]]\nuse = "exact_match"\n'
"""Four lines of a suite that is in order."""
CASE = '{"id": "a", "prompt": "p", "expected": "x"}\n'


@pytest.fixture(name="written")
def _written(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a suite's two files as they are given, bytes or text."""

    def write(toml: str | bytes = HEAD, cases: str | bytes = CASE, name: str = "s") -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for file, content in (("suite.toml", toml), ("cases.jsonl", cases)):
            data = content.encode("utf-8") if isinstance(content, str) else content
            (folder / file).write_bytes(data)
        return folder

    return write


@pytest.fixture(name="refused")
def _refused(written: Callable[..., Path]) -> Callable[..., list[str]]:
    """Return a function that writes a suite and returns its problems, without the folder's name."""

    def problems(toml: str | bytes = HEAD, cases: str | bytes = CASE) -> list[str]:
        folder = written(toml, cases)
        with pytest.raises(SuiteError) as caught:
            load_suite(folder)
        return [p.replace(f"{folder}/", "") for p in caught.value.problems]

    return problems


@pytest.fixture(name="head")
def _head() -> str:
    """Return four lines of a suite that is in order."""
    return HEAD


@pytest.fixture(name="case_line")
def _case_line() -> str:
    """Return one line of cases that is in order."""
    return CASE
