"""`tunegate doctor`: what is installed and how to get what is missing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.cli.doctor import _extras

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_doctor_reports_in_lines(project: Any) -> None:
    """Each line has a mark, a subject and a detail; nothing needed is missing here."""
    result = CliRunner().invoke(app, ["doctor"], catch_exceptions=False)

    assert result.exit_code == 0
    for subject in (
        "python",
        "tunegate",
        "extra hf",
        "extra train",
        "extra lm-eval",
        "extra metrics",
        "store",
        "embedded model",
    ):
        assert any(line[5:].startswith(subject) for line in result.output.splitlines()), subject
    assert not list(Path().iterdir())


def test_every_extra_is_told() -> None:
    """Each extra of the project but `all`, with packages that it brings."""
    from tunegate.harness.cli import doctor

    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras = {
        name: {re.split(r"[\[<>=]", requirement)[0] for requirement in requirements}
        for name, requirements in project["optional-dependencies"].items()
        if name != "all"
    }

    assert set(doctor._EXTRAS) == set(extras)
    for name, packages in doctor._EXTRAS.items():
        assert set(packages) <= extras[name], name


def test_a_missing_extra_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is a line to paste."""
    from tunegate.harness.cli import doctor

    there = {name: "1.0" for names in doctor._EXTRAS.values() for name in names if name != "peft"}
    monkeypatch.setattr(doctor, "installed_versions", lambda names: there)

    hf = next(iter(_extras()))

    assert not hf.good
    assert hf.detail == "missing peft: pip install 'tunegate[hf]'"
