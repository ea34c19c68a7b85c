"""`tunegate gate`: the words of the command line become pytest's arguments."""

from __future__ import annotations

import html
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import TUNEGATE
from tunegate.harness.cli.gate import pytest_arguments
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.manifest import Manifest


@pytest.fixture(autouse=True)
def _suite(project: Any) -> Path:
    path: Path = project.suite()
    return path


def _given(*args: str) -> list[str]:
    arguments = pytest_arguments(args)
    return [a for a in arguments if a.startswith("--gate") or "suite.toml" in a]


@pytest.mark.parametrize(
    "word", ["suites", "suites/demo", "suites/demo/suite.toml"], ids=["parent", "folder", "file"]
)
def test_a_suite_is_found_from_any_of_its_names(word: str) -> None:
    assert _given(word, "--tuned", "x") == ["suites/demo/suite.toml", "--gate-tuned=x"]


def test_a_single_gate_can_be_named() -> None:
    assert _given("suites/demo::exact_match::floor") == [
        "suites/demo/suite.toml::exact_match::floor"
    ]


def test_a_bundled_suite_is_found_by_its_name() -> None:
    """`tunegate gate support_json` needs no path."""
    [path] = _given("support_json")

    assert path.endswith("/suites/support_json/suite.toml")


def test_options_may_be_written_in_every_usual_way() -> None:
    """With a space, with =, with pytest's own prefix; flags without a value."""
    given = _given("suites", "--base", "b", "--tuned=t", "--gate-seed", "3", "--trace-content")

    assert given[1:] == ["--gate-base=b", "--gate-tuned=t", "--gate-seed=3", "--gate-trace-content"]


def test_what_follows_two_dashes_is_pytests() -> None:
    """`-- -n 2 -k floor` goes through as it is."""
    assert pytest_arguments(["suites", "--", "-n", "2", "-k", "floor"])[-4:] == [
        "-n",
        "2",
        "-k",
        "floor",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["suites", "--tuend", "x"], "unknown option '--tuend'; did you mean '--tuned'?"),
        (["suites", "--tuned"], "--tuned needs a value"),
        (["suites", "--base", "--tuned", "x"], "--base needs a value"),
        (["--tuned", "x"], "no suites; name at least one folder that holds a suite.toml"),
        (["nowhere"], "nowhere: no such suite"),
        (["empty"], "empty: no suite.toml in this folder; `tunegate suite new DIR` makes a suite"),
    ],
)
def test_a_mistake_is_one_sentence(arguments: list[str], message: str) -> None:
    """What is wrong, and what would be right."""
    Path("empty").mkdir()

    with pytest.raises(UsageError) as caught:
        pytest_arguments(arguments)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_mistake_exits_2_with_one_line(project: Any) -> None:
    result = project.tunegate("gate", "suites", "--tuend", "x")

    assert result.ret == 2
    assert result.outlines == []
    assert result.errlines == ["tunegate: unknown option '--tuend'; did you mean '--tuned'?"]


def test_without_a_tuned_model_nothing_is_run(project: Any) -> None:
    """`tunegate gate SUITES` alone is a mistake, not a pass."""
    result = project.tunegate("gate", "suites")

    assert result.ret == 2
    assert "no tuned model: name the fine-tune with --tuned SPEC" in result.stdout.str()


def test_an_ini_file_of_the_project_counts(project: Any) -> None:
    base, tuned = project.model("base", 30), project.model("tuned", 95)
    project.pytester.makeini(f"[pytest]\ngate_base = {base}\ngate_tuned = {tuned}\n")

    assert project.tunegate("gate", "suites").ret == 0


def _reproduce(text: str) -> list[str]:
    """Return the words of the command under Reproduce."""
    (command,) = re.findall(r"### Reproduce\n\n```sh\n(.*)\n```", text)
    return shlex.split(command)


@pytest.mark.parametrize("command", ["gate", "pytest"])
def test_the_command_under_reproduce_runs_as_printed(project: Any, command: str) -> None:
    """Of summary and page; it gives the same verdict, of `tunegate gate` and of pytest."""
    base, tuned = project.model("base", 95), project.model("tuned", 30)
    said = ["suites", f"--gate-base={base}", f"--gate-tuned={tuned}", "--gate-run-dir=first run"]
    made = project.tunegate("gate", *said) if command == "gate" else project.pytest_here(*said)
    assert made.ret == 1
    folder = project.path / "first run"
    verdict = (folder / "verdict.json").read_bytes()
    words = _reproduce((folder / "summary.md").read_text(encoding="utf-8"))
    page = html.unescape((folder / "report.html").read_text(encoding="utf-8"))
    assert shlex.join(words) in page
    own = ["base", "tuned", "run-dir"]
    prefix = "--" if command == "gate" else "--gate-"  # as they were typed
    names = [word.partition("=")[0] for word in words if word.startswith(prefix)]
    assert names == [f"{prefix}{name}" for name in own]
    assert set(re.findall(r"--[a-z-]*training-data", page)) == {f"{prefix}training-data"}

    program = {"tunegate": TUNEGATE, "pytest": f"{sys.executable} -m pytest"}[words[0]]
    again = project.pytester.run(*shlex.split(program), *words[1:], timeout=120)

    assert again.ret == 1
    assert (folder / "verdict.json").read_bytes() == verdict


def test_pytests_own_arguments_are_repeated_behind_two_dashes(project: Any) -> None:
    words = ("suites", "--seed=3", "--trace-content", "--", "-n", "2", "-k", "floor")
    facts = {key: {} for key in ("arms", "versions", "comparability", "liveness", "attempts")}
    manifest = Manifest(
        run_id="r", created="", command=tuple(pytest_arguments(words)), suites=(), plan=(), seed=0,
        **facts,
    )  # fmt: skip
    assert manifest.shell_words() == (
        "tunegate", "gate", "suites/demo/suite.toml", *words[1:],
    )  # fmt: skip
    assert manifest.model_copy(update={"command": ()}).shell_words() == ()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize(("output", "code"), [(">&-", 0), (">/dev/full", 13)])
def test_output_without_a_place_is_one_line(output: str, code: int) -> None:
    """A full disk behind the output is an ERROR, not the exit code of a BLOCK."""
    command = f'"{sys.executable}" -m tunegate.harness.cli --version {output}'

    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)

    assert done.returncode == code
    assert len(done.stderr.splitlines()) == (code != 0)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(("right", "code"), [(95, 0), (30, 12)])
def test_the_exit_code_is_the_verdicts_if_the_reader_of_the_output_ends_first(
    project: Any, right: int, code: int, unbuffered: str
) -> None:
    """As in `tunegate gate … 2>&1 | head -1`."""
    base, tuned = project.model("base", 30), project.model("tuned", right)
    arms = [f"--base={base}", f"--tuned={tuned}", "--run-dir=run"]
    reading, writing = os.pipe()
    os.close(reading)

    done = subprocess.run(
        [sys.executable, "-m", "tunegate.harness.cli", "gate", "suites", *arms],
        stdout=writing, stderr=writing, check=False, timeout=120,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )  # fmt: skip
    os.close(writing)

    assert done.returncode == code
    assert (project.path / "run" / "report.html").is_file()
