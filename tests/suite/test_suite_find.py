"""Finding suites by what a user names."""

from __future__ import annotations

from pathlib import Path

from tunegate.harness.suite.find import LEDGER_NAME, find_suites


def test_the_ledger_among_the_suites_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "suite.toml").write_text("")
    (tmp_path / LEDGER_NAME).write_text("{}\n")

    found = [file for path in sorted(tmp_path.iterdir()) for file in find_suites(str(path))]

    assert found == [str(tmp_path / "mine" / "suite.toml")]
