"""What pytest pays in every project that has tunegate installed: next to nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.start_up import write_project
from tests.early_modules import EARLY_MODULES

HEAVY = (
    "pydantic", "numpy", "scipy", "torch", "transformers", "jinja2", "opentelemetry",
    "jsonschema", "typer", "rich", "datasets", "trl", "peft", "httpx",
    "litellm", "openai", "ray", "pyarrow",
)  # fmt: skip

"""Each further arm is declared in a file, which is loaded for its option."""


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a statement loads in a fresh Python that has loaded pytest."""
    code = (
        "import sys, pytest; before = set(sys.modules)\n"
        f"{statement}\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import tunegate", "import tunegate.harness.plugin"])
def test_importing_us_loads_no_library(statement: str) -> None:
    loaded = loaded_by(statement)

    assert sorted(name for name in HEAVY if name in loaded) == []


def test_the_plugin_loads_little_of_ours() -> None:
    """Hooks, options and the arms that have one; suites and sessions come when asked for."""
    loaded = loaded_by("import tunegate.harness.plugin")

    assert {name for name in loaded if name.partition(".")[0] == "tunegate"} == set(EARLY_MODULES)


def test_a_public_name_is_loaded_when_it_is_used() -> None:
    """`tunegate.Verdict` needs records and no statistics."""
    loaded = loaded_by("import tunegate; tunegate.Verdict")

    assert "tunegate.harness.records.verdict" in loaded
    assert not {"numpy", "scipy", "torch"} & loaded


def test_the_command_answers_without_the_heavy_libraries() -> None:
    """`tunegate --help` needs typer, and neither records nor anything that computes."""
    loaded = loaded_by(
        "import contextlib, io\n"
        "from tunegate.harness.cli import main\n"
        "sys.argv = ['tunegate', '--help']\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main()"
    )

    assert sorted((set(HEAVY) - {"typer", "rich"}) & loaded) == []


GATE = """
import sys
from tunegate.harness.cli.gate import run_gate
code = run_gate(["suites", "--base", "replay:base.jsonl", "--tuned", "replay:tuned.jsonl"])
print(code, *sorted(sys.modules))
"""


def test_a_gate_loads_what_it_needs(tmp_path: Path) -> None:
    write_project(tmp_path)

    done = subprocess.run(
        [sys.executable, "-c", GATE],
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip

    code, *loaded = done.stdout.splitlines()[-1].split()
    assert code == "0"
    assert {"numpy", "scipy.special", "jinja2", "tunegate.reports.page"} <= set(loaded)
    slow = (
        "scipy.stats", "scipy.optimize", "pandas", "torch",
        "pyarrow", "httpx", "opentelemetry",
    )  # fmt: skip
    assert [name for name in slow if name in loaded] == []
