"""`tunegate doctor`: what is installed and how to get what is missing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from tunegate.harness.cli import app
from tunegate.harness.cli.doctor import _extras, extra_requirements
from tunegate.harness.records import versions

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
HF = tuple(
    map(Requirement, ("torch>=2.10", "transformers>=5.24,<5.25", "peft>=0.21", "safetensors>=0.5"))
)


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
    """Each extra of the project but `all`, with all packages that it brings."""
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]

    def packages(extra: str) -> set[str]:
        own = {re.split(r"[<>=]", text)[0] for text in extras[extra]}
        others = {name.partition("[")[2][:-1] for name in own if name.startswith("tunegate[")}
        plain = {name.partition("[")[0] for name in own} - {"tunegate"}
        return plain.union(*map(packages, others))

    found = {name: {r.name for r in required} for name, required in extra_requirements().items()}
    assert found == {name: packages(name) for name in extras if name != "all"}


def test_a_missing_extra_comes_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    from tunegate.harness.cli import doctor

    there = {"torch": "2.10", "transformers": "5.24.1", "safetensors": "1", "gguf": "1"}
    monkeypatch.setattr(versions, "installed_versions", lambda names: there)
    monkeypatch.setattr(doctor, "extra_requirements", lambda: {"hf": HF})

    (hf,) = _extras()

    assert not hf.good
    assert hf.detail == "missing peft: pip install 'tunegate[hf]'"


def test_a_version_that_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from tunegate.harness.cli import doctor

    there = {"torch": "2.9", "transformers": "5.24.1", "peft": "0.21.3", "safetensors": "1"}
    monkeypatch.setattr(versions, "installed_versions", lambda names: there)
    monkeypatch.setattr(doctor, "extra_requirements", lambda: {"hf": HF})

    (hf,) = _extras()

    assert not hf.good
    assert hf.detail == "torch 2.9 (needs >=2.10): pip install 'tunegate[hf]'"


@pytest.mark.parametrize(
    ("torch", "good", "said"),
    [
        ("2.15.0", True, "tested: major and minor versions of the stack 'one' (2026-11-28)"),
        ("2.12.0", False, "between tested ends: each version alone is within the tested range"),
        ("2.16.0", False, "untested: torch 2.16.0 (tested: 2.10 to 2.15)"),
    ],
)
def test_only_a_tested_combination_is_ok(
    monkeypatch: pytest.MonkeyPatch, torch: str, good: bool, said: str
) -> None:
    """Tested, between tested versions, or beyond them: the line begins with which, and only the
    first has the mark `ok`.
    """
    import platform

    from tunegate.harness.cli.doctor import _combination
    from tunegate.harness.contracts import tested_stacks

    others = {"python": platform.python_version(), "transformers": "5.24.0"}
    stacks = tuple(
        tested_stacks.StackRecord(name, "2026-11-28", {**others, "torch": version})
        for name, version in (("one", "2.15.0"), ("two", "2.10.0"))
    )
    installed = {"torch": torch, "transformers": "5.24.1"}
    monkeypatch.setattr(tested_stacks, "tested_stacks", lambda: stacks)
    monkeypatch.setattr(
        versions,
        "installed_versions",
        lambda names: dict(installed) if names is tested_stacks.STACK else {},
    )

    (finding,) = _combination()

    assert good is finding.good
    assert finding.detail.startswith(said)
