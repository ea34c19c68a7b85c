"""A suite whose answers are programs: verdicts, sandboxes, and what works without one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.decision.verdict.redecide import decide_again
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import record_json
from tunegate.harness.records.manifest import UNBOXED
from tunegate.harness.records.run_folder import Run
from tunegate.harness.run.verification import load_verified
from tunegate.harness.sandbox import chosen
from tunegate.harness.sandbox.bubblewrap import SANDBOX, _problem

TOML = """
name = "code"
cases = "cases.jsonl"
[generation]
max_new_tokens = 40
[[metrics]]
use = "code_tests"
[[gates]]
metric = "code_tests"
tolerance = 0.1
"""
RIGHT, WRONG = "def double(x): return 2 * x", "import os; os._exit(0)"
OTHER = "def double(x): return x + x"
N = 60


def prepared(project: Any, tuned: str = RIGHT) -> list[str]:
    """Write suite and arms; return the options that name the arms."""
    tests = ["assert double(4) == 8"]
    rows = [{"id": f"c{i:03}", "prompt": f"Write double. {i}", "tests": tests} for i in range(N)]
    project.raw_suite(TOML, rows, "code")
    for name, text in (("base", OTHER), ("tuned", tuned)):
        script = {"completions": {row["id"]: f"```python\n{text}\n```" for row in rows}}
        (project.path / f"{name}.json").write_text(json.dumps(script))
    return [f"--gate-{name}=scripted:{project.path / name}.json" for name in ("base", "tuned")]


def manifest(project: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.run / "manifest.json").read_text())
    return found


@pytest.fixture(autouse=True)
def default_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(chosen, "_chosen", chosen.DEFAULT)
    yield
    _problem.cache_clear()


def hide_sandboxes(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(chosen, "_chosen", chosen.DEFAULT)
    monkeypatch.setenv("PATH", str(folder))
    _problem.cache_clear()


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "-n2"])
@pytest.mark.parametrize(("tuned", "verdict", "code"), [(RIGHT, "SHIP", 0), (WRONG, "BLOCK", 1)])
def test_programs_decide_the_verdict(
    project: Any, workers: tuple[str, ...], tuned: str, verdict: str, code: int
) -> None:
    if problem := SANDBOX.problem():
        pytest.skip(problem)
    result = project.gate(*prepared(project, tuned), *workers)

    assert result.ret == code, result.stdout.str()
    assert project.verdict()["verdict"] == verdict
    assert manifest(project)["sandbox"].startswith("bubblewrap")
    assert "Traceback" not in result.stdout.str() + result.stderr.str()


def test_no_sandbox_is_named_and_said_once(project: Any) -> None:
    options = prepared(project)
    shutil.copytree(project.path / "suites" / "code", project.path / "suites" / "more")
    definition = project.path / "suites" / "more" / "suite.toml"
    definition.write_text(definition.read_text().replace('name = "code"', 'name = "more"'))
    result = project.gate(*options, "--gate-sandbox=none")

    assert result.ret == 0, result.stdout.str()
    assert manifest(project)["sandbox"] == "none"
    assert UNBOXED in (project.run / "verdict.json").read_text(encoding="utf-8")
    assert len(project.verdict()["suites"]) == 2
    assert result.stdout.str().count(UNBOXED) == 1
    assert UNBOXED in (project.run / "report.html").read_text(encoding="utf-8")


def test_no_sandbox_is_taken_from_the_command_line_only(project: Any) -> None:
    options = prepared(project)
    (project.path / "pytest.ini").write_text("[pytest]\ntunegate_sandbox = none\n")

    project.gate(*options)

    assert manifest(project).get("sandbox") != "none"


def test_an_unknown_sandbox_is_refused(project: Any) -> None:
    result = project.gate(*prepared(project), "--gate-sandbox=jail")

    assert result.ret == 4
    result.stderr.fnmatch_lines(["*--gate-sandbox: *jail*bubblewrap*docker*podman*none*"])


def test_a_gate_without_a_sandbox_says_how_to_install_one(
    project: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hide_sandboxes(monkeypatch, tmp_path)
    options = [option.replace("--gate-", "--") for option in prepared(project)]

    result = project.tunegate("gate", "suites", *options, "--run-dir", "run")

    assert result.ret == 2
    said = "\n".join((*result.outlines, *result.errlines))
    assert "programs in answers need a sandbox: bwrap is not installed: `apt install" in said
    assert "Traceback" not in said


def test_finished_runs_need_no_sandbox(
    project: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options = prepared(project)
    assert project.gate(*options, "--gate-sandbox=none").ret == 0
    arms = [option.replace("--gate-", "--") for option in options]
    hide_sandboxes(monkeypatch, tmp_path)

    for command in (
        ("report", "run"),
        ("replay", "run", "--case", "c000"),
        ("suite", "check", "suites"),
        ("plan", "suites"),
        ("resume", "run", "suites", *arms),
    ):
        result = project.tunegate(*command)
        said = "\n".join((*result.outlines, *result.errlines))
        assert "Traceback" not in said, command
        wanted = 2 if command[0] == "resume" else 0
        assert result.ret == wanted, (command, said)
    _, notes = load_verified(project.run, suites=[Path("suites/code/suite.toml")])
    assert notes == ("scores of programs taken as stored: they ran in none",)


def test_verifying_runs_programs_again_in_the_sandbox_of_the_run(project: Any) -> None:
    assert project.gate(*prepared(project), "--gate-sandbox=none").ret == 0
    scores = project.run / "scores.jsonl"
    rows = [json.loads(line) for line in scores.read_text().splitlines()]
    rows[-1].update(value=0.0)
    scores.write_text("".join(json.dumps(row) + "\n" for row in rows))

    verdict = decide_again(Run.load(project.run))
    (project.run / "verdict.json").write_text(record_json(verdict), encoding="utf-8")
    with pytest.raises(UsageError, match="code_tests of tuned on"):
        load_verified(project.run, suites=[Path("suites/code/suite.toml")])
