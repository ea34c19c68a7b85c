"""Processes in which `tunegate demo` runs its commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tunegate.harness.cli import _command_processes as processes

CALLER = """
import os
import sys
from tunegate.harness.cli import _command_processes as processes

def show_module():
    print("colorsys" in sys.modules, flush=True)

if __name__ == "__main__":
    processes._PRELOADED = "colorsys"
    {call}
"""


def call_in_child(folder: Path, call: str) -> list[str]:
    """Return the lines that a script prints which makes a call and preloads a small module."""
    script = folder / "caller.py"
    script.write_text(CALLER.replace("{call}", call), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [("sys.exit, 11", 11), ("len, ''", 0), ("os.abort", -signal.SIGABRT)],
    ids=["exit code", "returns", "killed"],
)
def test_the_exit_code_of_the_process_is_returned(
    tmp_path: Path, arguments: str, code: int
) -> None:
    """What the function gives to `sys.exit`, 0 where it returns, negative after a signal."""
    (printed,) = call_in_child(tmp_path, f"print(processes.run_function({arguments}))")

    assert int(printed) == code


@pytest.mark.parametrize("forked", [True, False], ids=["forked", "begun anew"])
def test_a_command_ends_with_its_exit_code(tmp_path: Path, forked: bool) -> None:
    """A command's output is that of the caller, and a user's mistake is 2."""
    call = (
        f"processes.can_fork = lambda: {forked and processes.can_fork()};"
        "print(processes.run_command('--version'), flush=True);"
        "print(processes.run_command('gate', 'nowhere'))"
    )

    version, first, second = call_in_child(tmp_path, call)

    assert version.startswith("tunegate ")
    assert (first, second) == ("0", "2")


@pytest.mark.skipif(not processes.can_fork(), reason="here each process begins anew")
def test_libraries_are_imported_before_the_process_begins(tmp_path: Path) -> None:
    """They are in the process of the function, and not in that of the caller."""
    call = "show_module(); processes.run_function(show_module)"

    assert call_in_child(tmp_path, call) == ["False", "True"]


def test_a_library_that_fails_to_import_is_left_to_the_command(tmp_path: Path) -> None:
    """The others are imported, and nothing is raised or printed."""
    for name in ("torch", "transformers", "trl"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('broken')", encoding="utf-8")
    (tmp_path / "peft.py").write_text("", encoding="utf-8")
    code = (
        "import signal, sys; import tunegate.harness.cli._preloaded_libraries;"
        "print(sorted({'torch', 'peft', 'trl'} & set(sys.modules)),"
        " signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )

    assert done.stdout.split("\n")[0] == "['peft'] True"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("system", "torch", "device", "forked"),
    [
        ("linux", "2.13.0", "", True),
        ("linux", "2.13.0", "nvidiactl", False),
        ("linux", "2.13.0+rocm7.0", "kfd", False),
        ("linux", "2.13.0", "dxg", False),
        ("linux", "2.13.0+cpu", "nvidiactl", True),
        ("linux", "2.13.0+xpu", "", False),
        ("darwin", "2.13.0", "", False),
        ("win32", "2.13.0+cpu", "", False),
    ],
)
def test_no_fork_where_a_driver_may_have_been_asked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    torch: str,
    device: str,
    forked: bool,
) -> None:
    """CUDA fails in a fork of a process that has asked it, which imports do; a CPU build does not.

    Source: https://docs.pytorch.org/docs/stable/notes/multiprocessing.html
    """
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(processes, "installed_versions", lambda _: {"torch": torch})
    if device:
        (tmp_path / device).touch()

    assert processes.can_fork(tmp_path) == forked
