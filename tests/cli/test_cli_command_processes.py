"""Processes in which `tunegate demo` runs its commands."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tunegate.harness.cli import _command_processes as processes
from tunegate.harness.records import manifest

FORKED = pytest.mark.skipif(not processes.can_fork(), reason="here each process begins anew")
BOTH = pytest.mark.parametrize(
    "forked", [pytest.param(True, marks=FORKED), False], ids=["forked", "begun anew"]
)
CALLER = """
import sys
from tunegate.harness.cli import _command_processes as processes

if not {forked}:
    processes.can_fork = lambda: False
{code}
"""
FUNCTIONS = """
import atexit, os, sys, time
from pathlib import Path
from tunegate.harness.errors import UsageError

def end(code):
    sys.exit(int(code))

def end_at_once():
    os.abort()

def wrong():
    raise UsageError("such a thing does not exist")

def show_modules():
    atexit.register(print, "at its end")
    print(sorted({"torch", "peft", "trl"} & set(sys.modules)), flush=True)

def wait(place):
    Path(place, "began").touch()
    time.sleep(20)
    Path(place, "finished").touch()
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with functions to call, and libraries that are there at once or do not import."""
    (tmp_path / "functions.py").write_text(FUNCTIONS, encoding="utf-8")
    for name in ("pytest", "peft"):
        (tmp_path / f"{name}.py").write_text("", encoding="utf-8")
    for name in ("scipy", "transformers", "trl"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('broken')", encoding="utf-8")
    (tmp_path / "torch.py").write_text("print('a word of torch')", encoding="utf-8")
    return tmp_path


def _started(
    place: Path, code: str, *, forked: bool = True, cwd: Path | None = None
) -> subprocess.Popen[str]:
    """Start a process that makes calls, in a process group of its own, as a shell does."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", CALLER.format(forked=forked, code=code)],
        cwd=cwd,
        env={
            **{k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
            "PYTHONPATH": str(place),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _printed(place: Path, code: str, *, forked: bool = True) -> list[str]:
    """Return the lines that a process prints which makes calls; there are none on stderr."""
    out, err = _started(place, code, forked=forked).communicate(timeout=120)
    assert err == ""
    return [line for line in out.splitlines() if line != "a word of torch"]


def _wait_until(true: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.02)


@BOTH
@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("'functions:end', '11'", 11),
        ("'functions:show_modules'", 0),
        ("'functions:end_at_once'", -signal.SIGABRT),
    ],
    ids=["exit code", "returns", "killed"],
)
def test_the_exit_code_of_the_process_is_returned(
    place: Path, call: str, code: int, forked: bool
) -> None:
    """What the function gives to `sys.exit`, 0 where it returns, negative after a signal."""
    printed = _printed(place, f"print(processes.run_function({call}))", forked=forked)

    assert int(printed[-1]) == code


@BOTH
def test_files_where_the_user_is_are_not_imported(place: Path, forked: bool) -> None:
    """A `json.py` in the current directory takes the place of no library."""
    (place / "here").mkdir()
    (place / "here" / "json.py").write_text("raise SystemExit('theirs')", encoding="utf-8")
    code = "print(processes.run_function('functions:end', '5'))"
    out, err = _started(place, code, forked=forked, cwd=place / "here").communicate(timeout=120)

    assert err == ""
    assert out.splitlines()[-1] == "5"


@BOTH
def test_a_users_mistake_is_one_line(place: Path, forked: bool) -> None:
    code = "print(processes.run_function('functions:wrong'))"
    out, err = _started(place, code, forked=forked).communicate(timeout=120)

    assert err == "tunegate: such a thing does not exist\n"
    assert out.splitlines()[-1] == "2"


@BOTH
def test_a_command_ends_with_its_exit_code(tmp_path: Path, forked: bool) -> None:
    """A command's output is that of the caller, and a user's mistake is 2."""
    for name in ("torch", "transformers", "trl", "peft"):
        (tmp_path / f"{name}.py").write_text("raise ImportError", encoding="utf-8")
    code = (
        "print(processes.run_command('--version'), flush=True);"
        "print(processes.run_command('gate', 'nowhere'), flush=True)"
    )
    out, err = _started(tmp_path, code, forked=forked).communicate(timeout=120)

    version, first, second = out.splitlines()
    assert version.startswith("tunegate ")
    assert (first, second) == ("0", "2")
    assert len(err.splitlines()) == 1


@FORKED
def test_libraries_are_imported_once_before_the_processes_begin(place: Path) -> None:
    """Those that fail to import are left out; a process ends as others do; nothing is repeated."""
    code = "[processes.run_function('functions:show_modules') for _ in range(3)]"
    out, err = _started(place, code).communicate(timeout=120)

    assert err == ""
    assert out.splitlines() == ["a word of torch", *["['peft', 'torch']", "at its end"] * 3]


@FORKED
@pytest.mark.parametrize("way", ["import os; os.abort()", "import os; os._exit(3)"])
def test_without_a_server_processes_begin_anew(place: Path, way: str) -> None:
    (place / "peft.py").write_text(way, encoding="utf-8")

    printed = _printed(place, "print(processes.run_function('functions:end', '5'))")

    assert printed == ["5"]


@FORKED
@pytest.mark.parametrize("all_of_them", [True, False], ids=["terminal", "caller alone"])
def test_an_interrupt_ends_the_command(place: Path, all_of_them: bool) -> None:
    """At a terminal both get it; where the caller alone does, the command is ended for it."""
    code = f"processes.run_function('functions:wait', {str(place)!r})"
    caller = _started(place, code)
    _wait_until((place / "began").exists)
    begun = time.monotonic()
    (os.killpg if all_of_them else os.kill)(caller.pid, signal.SIGINT)
    caller.communicate(timeout=30)

    assert caller.returncode == -signal.SIGINT
    assert time.monotonic() - begun < 15
    assert not (place / "finished").exists()
    _wait_until(lambda: not _processes_of(caller.pid))


@FORKED
def test_an_interrupt_while_libraries_are_imported_begins_no_command(place: Path) -> None:
    (place / "peft.py").write_text(
        f"import time; open({str(place / 'imports')!r}, 'w').close(); time.sleep(3)", "utf-8"
    )
    caller = _started(place, f"processes.run_function('functions:wait', {str(place)!r})")
    _wait_until((place / "imports").exists)
    os.killpg(caller.pid, signal.SIGINT)
    _, err = caller.communicate(timeout=30)

    assert err.count("Traceback") == 1
    _wait_until(lambda: not _processes_of(caller.pid))
    assert not (place / "began").exists()


@FORKED
def test_a_command_ends_with_its_server(place: Path) -> None:
    code = (
        "import os, signal, threading, time\n"
        "from pathlib import Path\n"
        "def kill():\n"
        f"    while not Path({str(place)!r}, 'began').exists():\n"
        "        time.sleep(0.02)\n"
        "    processes._server()._process.kill()\n"
        "threading.Thread(target=kill).start()\n"
        f"print(processes.run_function('functions:wait', {str(place)!r}))"
    )

    caller = _started(place, code)
    out, _ = caller.communicate(timeout=60)

    assert int(out.splitlines()[-1]) == -signal.SIGKILL
    _wait_until(lambda: not _processes_of(caller.pid))


def _processes_of(session: int) -> list[int]:
    """Return the processes of a session, without those that have ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, belongs, *_ = stat.read_text(encoding="utf-8").rpartition(") ")[2].split()
            if int(belongs) == session and state != "Z":
                found.append(int(stat.parent.name))
    return found


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
    monkeypatch.setattr(manifest, "installed_versions", lambda _: {"torch": torch})
    if device:
        (tmp_path / device).touch()

    assert processes.can_fork(tmp_path) == forked
