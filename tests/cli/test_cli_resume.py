"""`tunegate resume` goes on with the suites that the run was started with, and with no others."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.cli.gate import run_gate
from tunegate.harness.records.errors import UsageError
from tunegate.harness.suite import hash_without_code, load_suite

OPTIONS = ("--base=scripted:base.json", "--tuned=scripted:tuned.json")


def _resume(*words: str) -> int:
    arguments = words or ("suites", *OPTIONS)
    return CliRunner().invoke(app, ["resume", "run", *arguments], catch_exceptions=False).exit_code


@pytest.fixture(name="finished")
def _finished(project: Any) -> Any:
    """Return a project with a run of two suites that ended in BLOCK."""
    project.suite("demo", n=40)
    project.suite("other", n=40)
    project.models(base=38, tuned=5)
    assert run_gate(["suites", *OPTIONS, "--run-dir=run"]) == 1
    return project


@pytest.fixture(name="begun")
def _begun(finished: Any) -> Any:
    """Return the project with the run as it is before its verdict."""
    (finished.run / "verdict.json").unlink()
    return finished


def test_the_same_suites_are_judged_again(begun: Any) -> None:
    assert _resume() == 1


def test_a_finished_block_stays_one_whatever_its_files_are_now(finished: Any) -> None:
    """Tuned's file is another model's by now: resuming would end in SHIP, with 0."""
    before = (finished.run / "verdict.json").read_bytes()
    finished.models(base=5, tuned=38)

    with pytest.raises(UsageError, match="finished with BLOCK: nothing"):
        _resume()
    assert (finished.run / "verdict.json").read_bytes() == before


def test_without_suites_the_command_is_shown_and_not_run(begun: Any) -> None:
    """One line to read and type; what the folder records is a stranger's word."""
    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(app, ["resume", "run"], catch_exceptions=False)

    assert "\n" not in str(caught.value)
    command = " ".join(OPTIONS)
    assert str(caught.value).endswith(
        f"tunegate resume run suites/demo/suite.toml suites/other/suite.toml {command}"
    )
    assert not (begun.run / "verdict.json").exists()


@pytest.mark.parametrize("form", ["=", " "])
def test_a_run_of_pytest_is_continued_by_pytest(project: Any, form: str) -> None:
    project.suite("demo")
    folder = ["--gate-run-dir=first"] if form == "=" else ["--gate-run-dir", "first"]
    first = project.pytest_here("suites", *project.models(tuned=31), *folder)
    Path("first").rename("moved")
    Path("moved/verdict.json").unlink()

    with pytest.raises(UsageError) as caught:
        CliRunner().invoke(app, ["resume", "moved"], catch_exceptions=False)
    words = shlex.split(str(caught.value).partition("started as: ")[2])
    result = project.pytest_here(*words[1:])

    assert words[0] == "pytest"
    assert result.ret == first.ret != 0
    assert "(200 are stored already)" in result.stderr.str()
    assert not Path("first").exists()


def test_other_options_are_refused(begun: Any) -> None:
    for words in (("suites",), ("suites", *OPTIONS, "--seed=3"), ("suites", OPTIONS[0])):
        with pytest.raises(UsageError, match="run: was started with other options"):
            _resume(*words)
    assert not (begun.run / "verdict.json").exists()


def _lower_the_floor(suite: Path) -> None:
    text = suite.read_text(encoding="utf-8")
    suite.write_text(text.replace("floor = 0.2", "floor = 0.1"), encoding="utf-8")


def _drop_a_case(suite: Path) -> None:
    cases = suite.with_name("cases.jsonl")
    lines = cases.read_text(encoding="utf-8").splitlines(keepends=True)
    cases.write_text("".join(lines[:-1]), encoding="utf-8")


@pytest.mark.parametrize("change", [_lower_the_floor, _drop_a_case])
def test_a_changed_suite_is_refused(begun: Any, change: Callable[[Path], None]) -> None:
    change(begun.path / "suites" / "demo" / "suite.toml")

    with pytest.raises(
        UsageError, match=r"(?s)suites/demo/suite.toml: changed since .*\btunegate gate"
    ):
        _resume()
    assert not (begun.run / "verdict.json").exists()


def test_a_suite_that_is_gone_is_refused(begun: Any) -> None:
    """Without the suite that blocked, the other one alone would decide."""
    (begun.path / "suites" / "other" / "suite.toml").unlink()

    with pytest.raises(UsageError, match="was started with the suites demo, other; name these"):
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
    hashes: list[str | None] = []
    for code in (METRIC, METRIC.replace("==", "!="), METRIC):
        (project.path / "own_score.py").write_text(code, encoding="utf-8")
        monkeypatch.delitem(sys.modules, "own_score", raising=False)
        unrun = hash_without_code(suite)
        assert "own_score" not in sys.modules
        hashes.append(load_suite(suite).hash)
        assert unrun == hashes[-1]

    assert hashes[0] == hashes[2]
    assert len({bundled, *hashes}) == 3


def test_the_hash_is_compared_before_a_suites_code_is_run(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A metric's module has changed since: it is refused unread, by every command that takes it."""
    suite = project.suite("demo", n=40)
    own = suite.read_text(encoding="utf-8").replace(
        'use = "exact_match"', 'use = "own_score:correct"\nname = "exact_match"'
    )
    suite.write_text(own, encoding="utf-8")
    module = project.path / "own_score.py"
    module.write_text(METRIC, encoding="utf-8")
    project.models(base=38, tuned=5)
    monkeypatch.delitem(sys.modules, "own_score", raising=False)
    assert run_gate(["suites", *OPTIONS, "--run-dir=run"]) == 1
    monkeypatch.delitem(sys.modules, "own_score", raising=False)
    module.write_text(METRIC + "open('imported', 'w')\n", encoding="utf-8")

    for words in (["report", "run"], ["promote", "run"], ["compare", "run", "run"]):
        with pytest.raises(UsageError, match=r"demo/suite\.toml: changed since run"):
            CliRunner().invoke(app, [*words, "--suite", "suites"], catch_exceptions=False)
    (project.run / "verdict.json").unlink()
    with pytest.raises(UsageError, match=r"demo/suite\.toml: changed since run"):
        _resume()
    assert not Path("imported").exists()
