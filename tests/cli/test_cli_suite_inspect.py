"""`tunegate suite new --from inspect:TASK` and what other commands say of such a suite."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.scripted_inspect import write_scripted_inspect
from tunegate.harness.cli import app
from tunegate.harness.contracts.inspect_task import INSPECT_PYTHON
from tunegate.harness.suite import load_suite


@pytest.fixture(name="here")
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working directory, with a task and a program that plays it."""
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "desk_task.py").write_text("task = 'desk'\n")
    monkeypatch.setenv(INSPECT_PYTHON, str(write_scripted_inspect(tmp_path)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _new() -> str:
    words = ["suite", "new", "suites/desk", "--from", "inspect:desk_task.py@desk"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_suite_is_made_of_a_task(here: Path) -> None:
    """Its samples are the cases, its first score the reward; what silence is paid is said."""
    text = _new()

    assert "3 cases, scores told, brevity" in text
    assert "a model that writes nothing gets told above 0 on 0 of 3 cases (mean 0)" in text
    rows = [json.loads(x) for x in Path("suites/desk/cases.jsonl").read_text().splitlines()]
    assert rows[0] == {
        "id": "desk/A1",
        "prompt": "Where is A1?",
        "expected": "lost",
        "row": {"sample": "A1"},
    }
    given = tomllib.loads(Path("suites/desk/suite.toml").read_text())
    assert given["episode"]["inspect"] == "../../desk_task.py@desk"
    suite = load_suite(Path("suites/desk"))
    assert (len(suite.cases), [metric.name for metric in suite.metrics]) == (
        3,
        ["episode_pass", "tool_errors"],
    )


def test_commands_tell_what_inspect_will_play(here: Path) -> None:
    _new()
    Path("fails").touch()
    checked = CliRunner().invoke(app, ["suite", "check", "suites/desk"])
    planned = CliRunner().invoke(app, ["plan", "suites/desk"])

    told = "plays 6 episodes of ../../desk_task.py@desk with each model"
    assert f"Inspect 0.3.285 {told}" in checked.output
    assert f"Inspect {told}" in planned.output


def test_a_missing_inspect_is_said_in_one_line(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a model is opened, with what to install; a check warns."""
    _new()
    monkeypatch.delenv(INSPECT_PYTHON)
    gate = ["gate", "suites/desk", "--base", "nowhere", "--tuned", "nowhere"]
    refused = CliRunner().invoke(app, gate)
    checked = CliRunner().invoke(app, ["suite", "check", "suites/desk"])
    made = CliRunner().invoke(app, ["suite", "new", "other", "--from", "inspect:desk_task.py@desk"])

    part = "has no inspect-ai; `pip install inspect-ai openai` into an environment"
    assert refused.exit_code == 2
    assert part in refused.output
    assert "warning: inspect='../../desk_task.py@desk': " in checked.output
    assert checked.exit_code == 0
    assert part in str(made.exception)
