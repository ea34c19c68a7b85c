"""`tunegate resume` goes on with the suites that the run was begun with, and with no others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.cli.gate import run_gate
from tunegate.harness.errors import UsageError
from tunegate.harness.suite import load_suite


def _resume() -> int:
    return CliRunner().invoke(app, ["resume", "run"], catch_exceptions=False).exit_code


@pytest.fixture(name="blocked")
def _blocked(project: Any) -> Any:
    """Return a project with a run of two suites that ends in BLOCK."""
    project.suite("demo", n=40)
    project.suite("other", n=40)
    models = project.models(base=38, tuned=5)
    assert run_gate(["suites", *models, f"--run-dir={project.run}"]) == 1
    return project


def test_the_same_suites_are_judged_again(blocked: Any) -> None:
    """Nothing has changed: the recorded command runs, with the verdict of before."""
    assert _resume() == 1


def _lower_the_floor(suite: Path) -> None:
    text = suite.read_text(encoding="utf-8")
    suite.write_text(text.replace("floor = 0.2", "floor = 0.1"), encoding="utf-8")


def _drop_a_case(suite: Path) -> None:
    cases = suite.with_name("cases.jsonl")
    lines = cases.read_text(encoding="utf-8").splitlines(keepends=True)
    cases.write_text("".join(lines[:-1]), encoding="utf-8")


@pytest.mark.parametrize("change", [_lower_the_floor, _drop_a_case])
def test_a_changed_suite_is_refused(blocked: Any, change: Callable[[Path], None]) -> None:
    """Another floor or a case less: named with both hashes, and the verdict stays as it was."""
    before = (blocked.run / "verdict.json").read_bytes()
    change(blocked.path / "suites" / "demo" / "suite.toml")

    with pytest.raises(
        UsageError, match=r"(?s)suites/demo/suite.toml: changed since .*\btunegate gate"
    ):
        _resume()
    assert (blocked.run / "verdict.json").read_bytes() == before


def test_a_suite_that_is_gone_is_refused(blocked: Any) -> None:
    """Without the suite that blocked, the other one alone would decide."""
    (blocked.path / "suites" / "other" / "suite.toml").unlink()

    with pytest.raises(UsageError, match=r"other/suite.toml: no such file"):
        _resume()


METRIC = """
def correct(case, completion):
    return float(completion.text == case.expected)
"""


def test_a_metrics_own_code_is_part_of_the_suites_hash(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another function of the same name is another suite; a bundled metric's code is not in it."""
    suite = project.suite("demo", n=40)
    bundled = load_suite(suite).hash
    text = suite.read_text(encoding="utf-8")
    suite.write_text(
        text.replace('use = "exact_match"', 'use = "own_score:correct"\nname = "exact_match"'),
        encoding="utf-8",
    )
    hashes = []
    for code in (METRIC, METRIC.replace("==", "!="), METRIC):
        (project.path / "own_score.py").write_text(code, encoding="utf-8")
        monkeypatch.delitem(sys.modules, "own_score", raising=False)
        hashes.append(load_suite(suite).hash)

    assert hashes[0] == hashes[2]
    assert len({bundled, *hashes}) == 3
