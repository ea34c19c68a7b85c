"""Suites that name a source, and small lm-eval tasks, for this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lm_eval_tasks import lm_eval_installed, task
from tunegate.harness import suite
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError

__all__ = ["lm_eval_installed", "task"]

HEAD = 'name = "s"\n[[metrics]]\nuse = "length"\n[cases]\n'


@pytest.fixture(name="cases")
def _cases(tmp_path: Path) -> Callable[[str], list[Case]]:
    def load(table: str) -> list[Case]:
        (tmp_path / "suite.toml").write_text(HEAD + table, encoding="utf-8")
        return list(suite.load_suite(tmp_path).cases)

    return load


@pytest.fixture(name="problems")
def _problems(cases: Callable[[str], Any], tmp_path: Path) -> Callable[[str], list[str]]:
    def refused(table: str) -> list[str]:
        with pytest.raises(SuiteError) as caught:
            cases(table)
        return [p.replace(f"{tmp_path}/", "") for p in caught.value.problems]

    return refused
