"""`tunegate suite new | check | show`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.cli.app import app
from harness.errors import SuiteError, UsageError


def _call(*args: str | Path) -> str:
    """Run a command in this process; errors of ours pass through, as to `main`."""
    result = CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("name", ["mine", "My Suite: ü"])
def test_a_new_suite_is_a_valid_one(project: Any, name: str) -> None:
    """What `new` writes, `check` accepts, whatever the folder is called."""
    output = _call("suite", "new", name)

    assert f"next: edit them, then `tunegate suite check {name}`" in output
    assert "2 cases, 1 gate" in _call("suite", "check", name)


def test_a_new_suite_can_start_from_a_bundled_one(project: Any) -> None:
    """`--like` copies cases and schema."""
    _call("suite", "new", "mine", "--like", "support_json")

    assert (project.path / "mine" / "suite.toml").is_file()
    assert "support_json" in _call("suite", "check", "mine")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("there",), "there: is already there; choose another name"),
        (("mine", "--like", "suport_json"), "did you mean 'support_json'?"),
        (("file/mine",), "file/mine: cannot be written (Not a directory); choose another place"),
    ],
)
def test_a_suite_that_cannot_be_made_is_refused(
    project: Any, args: tuple[str, ...], message: str
) -> None:
    """Nothing is overwritten, and the message says what to do."""
    Path("there").mkdir()
    Path("file").write_text("", encoding="utf-8")

    with pytest.raises(UsageError) as caught:
        _call("suite", "new", *args)

    assert message in str(caught.value)


def test_check_reports_the_problems_of_all_suites(project: Any) -> None:
    """One call, every line that needs an edit."""
    first = project.suite("first", gates="flor = 1")
    second = project.suite("second", gates="gain = 'x'")

    with pytest.raises(SuiteError) as caught:
        _call("suite", "check", first, second)

    assert len(caught.value.problems) >= 2
    assert str(first) in str(caught.value)
    assert str(second) in str(caught.value)


def test_check_prints_each_problem_on_its_line(project: Any) -> None:
    """The process prefixes every line with its name and exits 2."""
    project.suite(gates="flor = 1\nanother = 2")

    result = project.tunegate("suite", "check", "suites/demo")

    assert result.ret == 2
    assert all(line.startswith("tunegate: suites/demo/suite.toml:") for line in result.errlines)


def test_show_prints_gates_and_first_cases(project: Any) -> None:
    """A look at a suite without opening its files."""
    output = _call("suite", "show", project.suite())

    assert "demo: 100 cases, hash " in output
    assert "gate exact_match::floor 0.2" in output
    assert "c000: 'q0'" in output


def test_check_finds_a_metric_in_the_folder_of_the_command(project: Any) -> None:
    """`use = "own:fn"` means the module here, in every command as in the gate."""
    toml = project.suite()
    toml.write_text(
        toml.read_text()
        .replace("exact_match", "own:fn", 1)
        .replace('metric = "exact_match"', 'metric = "fn"')
    )
    (project.path / "own.py").write_text(
        "from harness.metric import metric\n@metric(binary=True, range=(0.0, 1.0))\n"
        "def fn(case, completion): ...\n"
    )

    result = project.tunegate("suite", "check", "suites/demo")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["demo: 100 cases, 2 gates"])
