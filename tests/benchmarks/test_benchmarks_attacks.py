"""The attacks on a SHIP: as many as the docs say, and one that succeeds is counted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.attacks.payloads import UndeservedShip, attacks
from benchmarks.attacks.project import AttackedProject, N, answer
from benchmarks.attacks.undeserved_ship import attempt

PAGE = Path(__file__).parents[2] / "docs" / "concepts" / "security.md"


def test_the_page_counts_them() -> None:
    """Every attack has a name of its own, and the page tells how many there are."""
    names = [(attack.family, attack.name) for attack in attacks()]
    (counted,) = re.findall(r"tries (\d+) of them", PAGE.read_text(encoding="utf-8"))

    assert len(names) == len(set(names)) == int(counted)


def _is_good(project: AttackedProject) -> None:
    project.answers("tuned", [answer("tuned", i, right=True) for i in range(N)])


@pytest.mark.slow
def test_a_ship_is_survived_only_where_it_is_told(tmp_path: Path) -> None:
    """A fine-tune that ships stands for an attack that succeeds."""
    for told, survived in (("", False), ("no worse", True), ("worse than base", False)):
        folder = tmp_path / (told or "untold").replace(" ", "-")
        folder.mkdir()

        found, outcome = attempt(UndeservedShip("answers", "good", _is_good, told), folder)

        assert (found, outcome.startswith("exit 0")) == (survived, True)
