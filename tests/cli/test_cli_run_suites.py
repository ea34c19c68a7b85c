"""A run folder is data: no command that opens one imports, runs or reads what it names."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.cli.gate import run_gate
from tunegate.harness.contracts import metric_loading
from tunegate.harness.records.errors import TunegateError, UsageError
from tunegate.harness.suite import load_suite

EVIL = """
from pathlib import Path
Path("imported").touch()
def score(case, completion):
    return 1.0
"""
SUITE = """name = "demo"
cases = "cases.jsonl"
[[metrics]]
use = "run.evil:score"
"""
COMMANDS = {
    "report": ["report", "run"],
    "history": ["history", "--runs", "."],
    "compare": ["compare", "run", "run"],
    "promote": ["promote", "run", "--anyway", "why"],
    "card": ["card", "run", "--adapter", "adapter"],
    "attest": ["attest", "run", "--key", "key"],
    "watch": ["watch", "traces.jsonl", "--run", "run"],
    "judge run": ["judge", "run", "run", "--judge", "scripted:judge.json"],
    "judge label": ["judge", "label", "run", "--metric", "exact_match"],
    "resume": ["resume", "run"],
    "plan": ["plan", "suites/demo", "--from", "run"],
    "replay": ["replay", "run", "--case", "c001"],
    "resend": ["resend", "run"],
    "gate": ["gate", "suites", "--base", "replay:run#base", "--tuned", "replay:run"],
}
"""Every command that opens a run folder."""


def _edit(change: Callable[[Any], Any]) -> None:
    file = Path("run/manifest.json")
    record = json.loads(file.read_text(encoding="utf-8"))
    change(record)
    file.write_text(json.dumps(record), encoding="utf-8")


def _name_a_suite(record: Any) -> None:
    record["suites"][0]["path"] = "run/planted/suite.toml"


def _name_a_corpus_metric(record: Any) -> None:
    record["suites"][0]["metrics"][0].update(use="run.evil:score", corpus={})
    file = Path("run/scores.jsonl")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    lines = (json.dumps({**row, "counts": [row["value"], 1.0]}) + "\n" for row in rows)
    file.write_text("".join(lines), encoding="utf-8")


def _name_a_command(record: Any) -> None:
    Path("run/verdict.json").unlink()
    models = ["--gate-base=scripted:base.json", "--gate-tuned=scripted:tuned.json"]
    record["command"] = ["run/planted/suite.toml", *models]


@pytest.fixture(name="project")
def _project(project: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a project with a run that holds a suite and a module of a stranger."""
    project.suite("demo", n=40)
    for name in ("adapter", "elsewhere", "run/planted"):
        Path(name).mkdir(parents=True)
    models = [word.replace("--gate-", "--") for word in project.models(20, 38)]
    assert run_gate(["suites", *models, "--run-dir=run"]) == 0
    Path("run/evil.py").write_text(EVIL, encoding="utf-8")
    Path("run/planted/suite.toml").write_text(SUITE, encoding="utf-8")
    shutil.copy("suites/demo/cases.jsonl", "run/planted")
    monkeypatch.setattr(metric_loading, "_OF_SUITES", {})
    monkeypatch.delitem(sys.modules, "run", raising=False)
    monkeypatch.delitem(sys.modules, "run.evil", raising=False)
    CliRunner().invoke(app, ["attest", "--new-key", "key"], catch_exceptions=False)
    return project


@pytest.mark.parametrize("name", [_name_a_suite, _name_a_corpus_metric, _name_a_command])
def test_nothing_that_a_run_folder_names_is_imported(project: Any, name: Any) -> None:
    """Each command ends, or is refused; the module was never run."""
    _edit(name)

    for command, words in COMMANDS.items():
        with contextlib.suppress(TunegateError):
            CliRunner().invoke(app, words, catch_exceptions=False)
        assert not Path("imported").exists(), command


def test_the_planted_suite_would_be_noticed(project: Any) -> None:
    load_suite(Path("run/planted/suite.toml"))

    assert Path("imported").exists()


@pytest.mark.parametrize("command", ["resume", "judge run", "watch"])
def test_what_needs_the_suites_code_says_how_to_give_it(project: Any, command: str) -> None:
    if command == "resume":
        Path("run/verdict.json").unlink()

    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(app, COMMANDS[command], catch_exceptions=False)

    way = "tunegate resume run suites/demo/suite.toml --base=" if command == "resume" else "--suite"
    assert way in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recorded_metric_that_is_code_decides_nothing(project: Any) -> None:
    _edit(_name_a_corpus_metric)

    result = CliRunner().invoke(app, ["report", "run"], catch_exceptions=False)

    assert "metric 'run.evil:score' is a suite's code" in result.output
    with pytest.raises(UsageError, match="name the suite with --suite DIR"):
        CliRunner().invoke(app, ["promote", "run"], catch_exceptions=False)


@pytest.mark.parametrize("name", ["cells.jsonl", "cases.jsonl", "report.html", "holder.json"])
def test_a_link_in_a_run_folder_is_not_followed(project: Any, name: str) -> None:
    """What it leads to would be shown on the page, or written over."""
    link = Path("run", name)
    Path("elsewhere/file").write_bytes(link.read_bytes() if link.exists() else b"mine")
    link.unlink(missing_ok=True)
    link.symlink_to(Path("elsewhere/file").absolute())
    before = Path("elsewhere/file").read_bytes()
    os.utime("elsewhere/file", (1, 1))

    for command, words in COMMANDS.items():
        if command == "history":
            result = CliRunner().invoke(app, words, catch_exceptions=False)
            assert f"skipped run: {name}: a link" in result.output
        elif command == "resend":
            continue  # sends what it wrote to a collector that the user names
        elif command == "gate":
            result = CliRunner().invoke(app, words, catch_exceptions=False)
            assert result.exit_code == 2
        else:
            with pytest.raises(UsageError, match=rf"run/{name}: a link"):
                CliRunner().invoke(app, words, catch_exceptions=False)
    assert Path("elsewhere/file").read_bytes() == before
    assert Path("elsewhere/file").stat().st_mtime == 1
