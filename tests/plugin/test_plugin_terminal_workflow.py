"""The log of a GitHub job: commands that models wrote are not obeyed, ours are."""

from __future__ import annotations

import re
from typing import Any

import pytest

STRINGS = (
    "::error::fake",
    "::add-mask::e",
    "::set-output name=a::b",
    "::stop-commands::mine",
    "::mine::",
    "  ::warning::x",
    "##[group]x",
    "##vso[task.setvariable]x",
    "::group::x",
    "::endgroup::",
    "::notice file=a.py,line=1::x",
    "::debug::x",
)
"""Commands as GitHub's runner reads them, in its old form and its new one."""


def obeyed(log: str) -> list[str]:
    """Return the commands that GitHub's runner would act on.

    By ActionCommandManager of actions/runner: a line is a command if it begins, after blanks, with
    `::name`; after `stop-commands` all are ignored until one is named as the token. The form
    `##[name]` is read anywhere in a line.
    """
    found, token = [], None
    for line in log.splitlines():
        command = re.match(r"\s*::([\w-]+)(?: [^:]*)?::(.*)", line)
        if token is not None:
            token = None if command and command[1] == token else token
        elif command and command[1] == "stop-commands":
            token = command[2]
        elif command or "##[" in line:
            found.append(line)
    assert token is None, "commands stay stopped"
    return found


@pytest.fixture
def on_github(project: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a project whose commands are steps of a GitHub job."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.path))
    return project


def test_what_a_test_prints_is_not_obeyed(on_github: Any, workers: tuple[str, ...]) -> None:
    on_github.suite()
    text = "\\n".join(STRINGS)
    on_github.pytester.makepyfile(f'def test_of_mine():\n    print("""{text}""")\n    assert False')

    result = on_github.gate(
        "test_what_a_test_prints_is_not_obeyed.py", *on_github.models(), *workers
    )

    log = result.stdout.str()
    assert log.count("::error::fake") >= 1
    assert [line.split(" ")[0] for line in obeyed(log)] == ["::notice"]


def test_a_blocked_run_marks_the_suite(on_github: Any) -> None:
    on_github.suite()

    result = on_github.gate(*on_github.models(base=90, tuned=10))

    found = obeyed(result.stdout.str())
    assert result.ret == 1
    assert re.fullmatch(
        r"::error file=suites/demo/suite\.toml,line=\d+,title=tunegate%3A BLOCK::demo: .*", found[0]
    )
    assert "title=demo%3A exact_match gain fail::" in found[1]
    line = int(re.search(r"line=(\d+)", found[1])[1])  # type: ignore[index]  # it is there
    toml = (on_github.path / "suites/demo/suite.toml").read_text(encoding="utf-8")
    assert toml.splitlines()[line - 1].startswith("gain")


def test_a_run_that_ships_has_one_notice(on_github: Any) -> None:
    on_github.suite()

    result = on_github.gate(*on_github.models())

    assert [line.split(" ")[0] for line in obeyed(result.stdout.str())] == ["::notice"]


def test_an_undecided_run_that_may_pass_is_a_warning(on_github: Any) -> None:
    on_github.suite(n=20, gates="gain = 0.1")

    result = on_github.gate(*on_github.models(base=10, tuned=12), "--gate-undecided=neutral")

    assert result.ret == 0
    assert {line.split(" ")[0] for line in obeyed(result.stdout.str())} == {"::warning"}


def test_a_run_that_breaks_off_is_an_error(on_github: Any) -> None:
    on_github.suite()

    result = on_github.gate("--gate-base=scripted:none.json", "--gate-tuned=scripted:none.json")

    found = obeyed(result.stdout.str())
    assert len(found) == 1
    assert found[0].startswith("::error title=tunegate::scripted:none.json")


def test_elsewhere_the_log_is_as_it_was(project: Any) -> None:
    project.suite()

    result = project.gate(*project.models(base=90, tuned=10))

    assert not re.search(r"^::", result.stdout.str(), re.MULTILINE)
