"""Calls in a child process: results, errors, and the end at the time limit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tunegate.harness.contracts import child_process
from tunegate.harness.contracts.child_process import CallFailed, CallTimeout, run_with_timeout


def test_returns_the_result() -> None:
    """Arguments and result travel as JSON."""
    assert run_with_timeout("math", "sqrt", 16, limit_s=5.0) == 4.0
    assert run_with_timeout("json", "loads", '["\\ud800", "é\\n"]', limit_s=5.0) == [
        "\ud800",
        "é\n",
    ]


def test_runs_in_one_process_that_is_not_ours() -> None:
    first, second = (
        run_with_timeout("os", "getpid", limit_s=5.0),
        run_with_timeout("os", "getpid", limit_s=5.0),
    )

    assert first == second
    assert first != os.getpid()


def test_an_exception_comes_back_in_words() -> None:
    """The message names type and text; the child lives on."""
    before = run_with_timeout("os", "getpid", limit_s=5.0)
    with pytest.raises(CallFailed, match="ValueError"):
        run_with_timeout("math", "sqrt", -1, limit_s=5.0)

    assert run_with_timeout("os", "getpid", limit_s=5.0) == before


def test_a_module_that_is_not_there_fails_clearly() -> None:
    with pytest.raises(CallFailed, match="no_such_module"):
        run_with_timeout("no_such_module", "f", limit_s=5.0)


def test_importing_the_module_is_not_counted_in_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow_to_import.py").write_text(
        "import time; time.sleep(1)\ndef f(): return 4", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    child_process.end_child()  # a new child takes over the path

    assert run_with_timeout("slow_to_import", "f", limit_s=0.5) == 4
    child_process.end_child()


def test_a_call_that_runs_away_is_ended() -> None:
    before = run_with_timeout("os", "getpid", limit_s=5.0)
    run_with_timeout("re", "escape", "", limit_s=5.0)  # imports the module outside of the limit
    start = time.monotonic()
    with pytest.raises(CallTimeout):
        run_with_timeout("re", "match", "(a+)+$", "a" * 60 + "!", limit_s=0.3)

    assert 0.3 <= time.monotonic() - start < 3
    assert run_with_timeout("os", "getpid", limit_s=5.0) != before


def test_a_child_that_dies_between_calls_is_replaced() -> None:
    run_with_timeout("os", "getpid", limit_s=5.0)
    assert child_process._server is not None
    child_process._server._process.kill()

    assert run_with_timeout("math", "sqrt", 4, limit_s=5.0) == 2.0


def test_a_call_that_kills_its_process_fails_clearly() -> None:
    with pytest.raises(CallFailed, match="ended"):
        run_with_timeout("os", "_exit", 3, limit_s=5.0)


def test_the_child_ends_with_its_parent() -> None:
    code = (
        "from tunegate.harness.contracts.child_process import run_with_timeout\n"
        "if __name__ == '__main__': print(run_with_timeout('os', 'getpid', limit_s=5.0))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stderr == ""
    assert not _alive(int(done.stdout))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
