"""Suites that name a source, for this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness import suite
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError

HEAD = 'name = "s"\n[[metrics]]\nuse = "length"\n[cases]\n'


@pytest.fixture(name="cases")
def _cases(tmp_path: Path) -> Callable[[str], list[Case]]:
    """Return a function that loads a suite with a `[cases]` table and returns its cases."""

    def load(table: str) -> list[Case]:
        (tmp_path / "suite.toml").write_text(HEAD + table, encoding="utf-8")
        return list(suite.load_suite(tmp_path).cases)

    return load


@pytest.fixture(name="problems")
def _problems(cases: Callable[[str], Any], tmp_path: Path) -> Callable[[str], list[str]]:
    """Return a function that returns the problems of a `[cases]` table that is refused."""

    def refused(table: str) -> list[str]:
        with pytest.raises(SuiteError) as caught:
            cases(table)
        return [p.replace(f"{tmp_path}/", "") for p in caught.value.problems]

    return refused
