"""Help: every command and option is listed, and listing them imports no model library."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.cli import gate
from tunegate.harness.cli._panels import Panel
from tunegate.harness.contracts import lookup
from tunegate.harness.plugin.gate_options import OPTIONS

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_version_is_that_of_the_package(project: Any) -> None:
    about = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]

    result = project.tunegate("--version")

    assert (result.ret, result.outlines) == (0, [f"tunegate {about['version']}"])


def test_every_command_is_in_a_panel_with_a_summary_that_fits_the_line(project: Any) -> None:
    lines = project.tunegate("--help").outlines
    start = lines.index("Decide:")
    panels = [line for line in lines[start:] if line.endswith(":") and not line.startswith(" ")]
    commands = [line for line in lines[start:] if line.startswith("  ")]

    assert panels == [f"{panel}:" for panel in Panel]
    assert len(commands) == len(lookup.ordered_modules("tunegate.harness.cli"))
    assert [line for line in commands if len(line) > 80 or not line.endswith(".")] == []
    assert [line for line in commands if line.endswith("...")] == []


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_loads_no_model_library(option: str) -> None:
    code = (
        "import sys\n"
        f"sys.argv = ['tunegate', {option!r}]\n"
        "from tunegate.harness.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'transformers', 'numpy', 'scipy', 'trl') if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_gate_help_lists_every_option() -> None:
    text = gate.help_text()

    for option in OPTIONS:
        assert f"  --{option.name}" in text
        assert option.help in text


@pytest.mark.parametrize(
    "arguments",
    [
        ("gate", "--help"),
        ("train", "--help"),
        ("suite", "--help"),
        ("report", "--help"),
        ("plan", "--help"),
        ("check", "--help"),
    ],
)
def test_every_command_has_help(project: Any, arguments: tuple[str, ...]) -> None:
    result = project.tunegate(*arguments)

    assert result.ret == 0
    assert "Usage: tunegate" in result.stdout.str()


@pytest.mark.parametrize("arguments", [("gate",), ("train",), ("nonsense",)])
def test_a_call_that_says_too_little_is_2(project: Any, arguments: tuple[str, ...]) -> None:
    assert project.tunegate(*arguments).ret == 2


def test_an_unknown_trainer_is_named(project: Any) -> None:
    result = project.tunegate("train", "sf")

    assert result.ret == 2
    result.stderr.fnmatch_lines(["tunegate: unknown trainer 'sf'; did you mean 'sft'?"])


def test_the_package_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "tunegate", "gate", "nowhere"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("tunegate: ")
    assert "nowhere" in done.stderr
