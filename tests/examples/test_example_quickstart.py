"""The quickstart, as a new user has it: the wheel in an environment of its own, a fresh folder.

Each command runs as printed and ends as the page says; the source tree is on no path.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.installed_wheel import ROOT, Installed, installed

__all__ = ["installed"]

TICKETS = 24
"""Of 250, which the test that takes minutes asks."""
PAGE = ROOT / "docs" / "getting-started" / "quickstart.md"


def _blocks(title: str) -> list[tuple[str, list[str]]]:
    """Return the fenced blocks of one part of the page: their language and their lines."""
    part = PAGE.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]
    found = re.findall(r"^```(\w+)\n(.*?)^```$", part, flags=re.MULTILINE | re.DOTALL)
    return [(language, text.splitlines()) for language, text in found]


def _follow(
    title: str, installed: Installed, folder: Path, *, after: int = 0, first: int | None = None
) -> tuple[list[int], list[str]]:
    """Run the commands of one part of the page; return their exit codes and what they print.

    Args:
        title: Heading of the part.
        installed: Environment in which they run.
        folder: Folder in which they run.
        after: How many of the commands were run before.
        first: The commands up to this one; None runs all.
    """
    commands = [line for language, lines in _blocks(title) if language == "sh" for line in lines]
    done = [installed.run(*shlex.split(line), cwd=folder) for line in commands[after:first]]
    return [one.returncode for one in done], [one.stdout for one in done]


def _said(title: str) -> list[str]:
    return [line for language, lines in _blocks(title) if language == "text" for line in lines]


def test_the_environment_has_the_wheel_and_no_source_tree(
    installed: Installed, tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        "from tunegate import harness, reports, suites, trainers\n"
        "print(*sys.path, sep='\\n')\n"
        "print(*(m.__file__ for m in (harness, reports, suites, trainers)), sep='\\n')"
    )

    lines = installed.run("python", "-c", code, cwd=tmp_path).stdout.splitlines()

    assert str(ROOT) not in lines[:-4]
    assert [line for line in lines[-4:] if str(installed.folder) not in line] == []


def test_the_quickstart_without_a_model_prints_what_stands_there(
    installed: Installed, tmp_path: Path
) -> None:
    """In a fresh folder: green, red, and the history of both; each run has its page."""
    codes, printed = _follow("Without a model", installed, tmp_path)

    assert codes == [0, 0, 1, 0], "\n".join(printed)
    said = _said("Without a model")
    assert len(said) == 16
    assert [line for line in said if line not in "\n".join(printed).splitlines()] == []
    for run, word in (("first", "SHIP"), ("second", "BLOCK")):
        page = tmp_path / ".tunegate" / "runs" / run / "report.html"
        assert f"<title>{word} · {run} · tunegate</title>" in page.read_text(encoding="utf-8")


def test_commands_beside_the_quickstart_find_their_files_in_the_wheel(
    installed: Installed, tmp_path: Path
) -> None:
    expected = {
        "init general_knowledge": "wrote suites/general_knowledge: ",
        "init production": "wrote suites/production: ",
        "init --list": "general_knowledge",
        "suite new suites/mine": "wrote suites/mine/suite.toml",
        "suite check suites/mine suites/production": "production: 400 cases",
        "init --ci gitlab": "wrote .gitlab/tunegate.yml",
        "advise --not-prompted": "1. A better prompt first",
    }

    for words, says in expected.items():
        done = installed.run("tunegate", *words.split(), cwd=tmp_path)
        assert (done.returncode, says in done.stdout) == (0, True), done.stdout


@pytest.mark.slow
def test_the_quickstart_with_a_model_is_red_at_first(installed: Installed, tmp_path: Path) -> None:
    """BLOCK after two steps of training, with its page; on the first tickets of the suite."""
    codes, printed = _follow("With a model", installed, tmp_path, first=1)
    assert codes == [0], printed
    cases = tmp_path / "suites" / "support_json" / "cases.jsonl"
    cases.write_text("".join(cases.read_text("utf-8").splitlines(keepends=True)[:TICKETS]), "utf-8")

    codes, printed = _follow("With a model", installed, tmp_path, after=1, first=3)

    text = "\n".join(printed)
    assert codes == [0, 1], text
    assert re.search(
        r"^BLOCK: support_json: valid JSON by the schema .* below the floor", text, re.MULTILINE
    )
    (page,) = set(re.findall(r"^report: (.+)$", text, flags=re.MULTILINE))
    assert (tmp_path / page).is_file()


@pytest.mark.slow
@pytest.mark.long  # trains eighty steps and judges twice: six minutes
def test_the_quickstart_with_a_model_is_red_and_then_green(
    installed: Installed, tmp_path: Path
) -> None:
    codes, printed = _follow("With a model", installed, tmp_path)

    text = "\n".join(printed)
    assert codes == [0, 0, 1, 0, 0], text
    red, green = re.findall(r"^(?:BLOCK|SHIP): .*$", text, flags=re.MULTILINE)
    assert red.startswith("BLOCK: support_json: valid JSON by the schema ")
    assert green.startswith("SHIP: support_json: valid JSON by the schema rose 0 → 9")
    pages = set(re.findall(r"^report: (.+)$", text, flags=re.MULTILINE))
    assert len(pages) == 2
    assert [page for page in pages if not (tmp_path / page).is_file()] == []
