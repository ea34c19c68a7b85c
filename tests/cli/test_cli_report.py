"""`tunegate report` and `tunegate resume`: work on stored runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.records.errors import UsageError


def _refused(*args: str) -> str:
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(app, list(args), catch_exceptions=False)
    return str(caught.value)


@pytest.mark.parametrize("command", ["report", "resume"])
def test_without_runs_the_way_in_is_named(project: Any, command: str) -> None:
    assert "no runs here; name a run folder, or start with `tunegate gate`" in _refused(command)


@pytest.mark.parametrize(
    ("command", "said"), [("report", "no such run folder"), ("resume", "no manifest.json")]
)
def test_a_folder_without_a_run_is_named(project: Any, command: str, said: str) -> None:
    message = _refused(command, "nowhere")

    assert message.startswith(f"nowhere: {said}")
    assert "\n" not in message


def test_a_viewer_can_be_named_afterwards(project: Any) -> None:
    """The page written again links to it; what makes no link is refused."""
    project.suite()
    project.pytest_here("suites", *project.models())
    link = "https://viewer.test/{span_id}"

    CliRunner().invoke(app, ["report", "-o", "out", "--trace-link", link], catch_exceptions=False)

    assert f'"link":"{link}"' in Path("out/report.html").read_text(encoding="utf-8")
    assert _refused("report", "--trace-link", "viewer.test").startswith("trace link 'viewer.test'")


def test_a_run_of_another_version_is_refused(project: Any) -> None:
    Path("run").mkdir()
    Path("run/manifest.json").write_text(json.dumps({"schema_version": 99}), encoding="utf-8")

    message = _refused("resume", "run")

    assert message.startswith("run/manifest.json: ")
    assert "\n" not in message


def test_the_newest_run_is_the_default(project: Any) -> None:
    """`tunegate report` after `tunegate gate` needs no path."""
    project.suite()
    project.pytest_here("suites", *project.models())

    result = CliRunner().invoke(app, ["report", "-o", "out"], catch_exceptions=False)

    assert result.exit_code == 0
    assert "SHIP: demo" in result.output
    assert {p.name for p in Path("out").iterdir()} == {
        "report.html",
        "summary.md",
        "comment.md",
        "junit.xml",
        "metrics.txt",
        "codequality.json",
    }


def test_a_report_that_cannot_be_written_is_refused(project: Any) -> None:
    project.suite()
    project.gate(*project.models())
    Path("file").write_text("", encoding="utf-8")

    assert _refused("report", "run", "-o", "file/x").startswith("file/x: cannot be written")


def test_the_verdicts_sentence_is_not_obeyed(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    project.suite()
    project.pytest_here("suites", *project.models())

    lines = CliRunner().invoke(app, ["report"], catch_exceptions=False).output.splitlines()

    begin = next(i for i, line in enumerate(lines) if line.startswith("::stop-commands::"))
    token = lines[begin].removeprefix("::stop-commands::")
    assert lines[-1] == f"::{token}::"
    assert any("SHIP" in line or "BLOCK" in line or "HOLD" in line for line in lines[begin:])
