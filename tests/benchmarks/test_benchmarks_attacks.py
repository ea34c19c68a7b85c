"""The attacks on a SHIP: as many as the docs say, and one that succeeds is counted."""

from __future__ import annotations

import os
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.attacks.__main__ import CLASSES
from benchmarks.attacks.attempt import AttackAttempt, command_attempt, report
from benchmarks.attacks.payloads import UndeservedShip
from benchmarks.attacks.project import AttackedProject, N, answer
from benchmarks.attacks.undeserved_ship import attacks, attempt

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "security.md"


def test_the_page_counts_them() -> None:
    names = [(attack.family, attack.name) for attack in attacks()]
    (counted,) = re.findall(r"tries (\d+) of them", PAGE.read_text(encoding="utf-8"))

    assert len(names) == len(set(names)) == int(counted)


def _is_good(project: AttackedProject) -> None:
    project.answers("tuned", [answer("tuned", i, right=True) for i in range(N)])


def test_the_page_counts_every_class() -> None:
    """The table has a row for each script, with the number of its attempts; names are unique."""
    text = PAGE.read_text(encoding="utf-8")
    rows = {name: int(tried) for name, tried in re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.M)}
    (counted,) = re.findall(r"tries (\d+) inputs", text)

    for name in CLASSES:
        names = [one.name for one in import_module(f"benchmarks.attacks.{name}").attempts()]
        assert len(names) == len(set(names))
        everywhere = name != "faults" or (sys.platform == "linux" and os.geteuid() == 0)
        assert not everywhere or rows[name] == len(names), name
    assert int(counted) == sum(rows.values())
    assert set(rows) == set(CLASSES)


def test_an_attack_that_succeeds_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    attempts = [
        AttackAttempt("good", lambda: (True, "exit 2")),
        AttackAttempt("bad", lambda: (False, "exit 0")),
    ]

    assert report(attempts) == (2, 1)
    assert capsys.readouterr().out.splitlines() == [
        "ok   good: exit 2", "FAIL bad: exit 0", "tried 2, survived 1, failed 1",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "survived"),
    [
        (("suite", "check", "suites/orders"), False),  # a good suite: exit 0
        (("suite", "check", "suites/none"), True),
        (("suite", "check", "suites/hunter2-9f31"), False),  # the secret is printed
    ],
)
def test_a_command_survives_if_it_refuses_without_the_secret(
    words: tuple[str, ...], survived: bool
) -> None:
    """Exit 0 and a printed secret are failures; a refusal in a line is none."""
    assert command_attempt("one", words).carry_out()[0] is survived


@pytest.mark.slow
def test_a_ship_is_survived_only_where_it_is_told(tmp_path: Path) -> None:
    for told, survived in (("", False), ("no worse", True), ("worse than base", False)):
        folder = tmp_path / (told or "untold").replace(" ", "-")
        folder.mkdir()

        found, outcome = attempt(UndeservedShip("answers", "good", _is_good, told), folder)

        assert (found, outcome.startswith("exit 0")) == (survived, True)
