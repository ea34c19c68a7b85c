"""`tunegate gate` succeeds only with a verdict of its own, whatever pytest leaves out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.cli.gate import run_gate


def _gate(project: Any, *rest: str, suites: tuple[str, ...] = ("suites",)) -> int:
    """Run `tunegate gate` in this process, on a fine-tune that is better."""
    return run_gate([*suites, *project.models(), f"--run-dir={project.run}", *rest])


def _settings(project: Any, addopts: str) -> None:
    (project.path / "pytest.ini").write_text(f"[pytest]\naddopts = {addopts}\n", encoding="utf-8")


ADDOPTS = (
    "--collect-only --setup-plan --setup-only --fixtures --version",
    "-k floor --deselect suites/demo/suite.toml -m nothing",
    "--ignore suites/demo --ignore-glob */suite.toml --lf",
    "-p no:tunegate -p no:terminal --maxfail 1 -x",
)


@pytest.mark.parametrize("addopts", ADDOPTS)
def test_a_projects_options_for_its_tests_do_not_reach_a_gate(project: Any, addopts: str) -> None:
    project.suite()
    _settings(project, addopts)

    assert _gate(project) == 0
    assert project.verdict()["verdict"] == "SHIP"
    assert [gate["status"] for gate in project.verdict()["suites"][0]["gates"]] == ["pass", "pass"]


def test_the_environments_options_do_not_reach_a_gate(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.suite()
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")

    assert _gate(project) == 0
    assert project.verdict()["verdict"] == "SHIP"
    assert os.environ["PYTEST_ADDOPTS"] == "--collect-only"


@pytest.mark.parametrize("asked", ["--collect-only", "--setup-only", "--version"])
def test_an_option_that_lists_or_plans_is_no_success(
    project: Any, asked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given on purpose, after `--`, it ends in 13: nothing was judged."""
    project.suite()

    assert _gate(project, "--", asked) == 13
    assert not (project.run / "verdict.json").exists()
    assert "no verdict" in capsys.readouterr().err


CONFTEST = {
    "skip marks": """
import pytest
def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.skip(reason="later"))
""",
    "early exit": """
import pytest
def pytest_runtest_setup(item):
    pytest.exit("enough", returncode=0)
""",
    "no protocol": """
def pytest_runtest_protocol(item, nextitem):
    return True
""",
    "no loop": """
def pytest_runtestloop(session):
    return True
""",
}


@pytest.mark.parametrize("conftest", CONFTEST.values(), ids=CONFTEST)
def test_a_conftest_that_keeps_gates_from_running_is_no_success(
    project: Any, conftest: str
) -> None:
    """Skipped, left out or ended before the first gate: 13."""
    project.suite()
    (project.path / "conftest.py").write_text(conftest, encoding="utf-8")

    assert _gate(project) == 13


def test_a_conftest_cannot_turn_a_block_into_success(project: Any) -> None:
    """The verdict's own exit code counts, not what another hook writes after it."""
    project.suite()
    hook = "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n"
    (project.path / "conftest.py").write_text(hook, encoding="utf-8")

    code = run_gate(["suites", *project.models(base=95, tuned=30), f"--run-dir={project.run}"])

    assert project.verdict()["verdict"] == "BLOCK"
    assert code == 1


def test_plain_pytest_says_that_nothing_was_evaluated(project: Any) -> None:
    project.suite()

    result = project.gate(*project.models(), "--setup-plan")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["no verdict: no gate was evaluated: --setup-plan"])
    assert not Path(project.run / "verdict.json").exists()
