"""Interruptions: what is finished is kept, the exit code says why, resuming changes nothing."""

from __future__ import annotations

import errno
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tunegate.reports import page

CASES = 80


def _options(project: Any, delay_s: float) -> list[str | Path]:
    """Write a suite of 160 slow answers; return the arguments of its gate."""
    project.suite(n=CASES)
    base = project.model("base", 20, delay_s=delay_s)
    tuned = project.model("tuned", 78, delay_s=delay_s)
    return ["gate", "suites", "--base", base, "--tuned", tuned, "--run-dir", project.run]


def _until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition() and process.poll() is None:
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.02)


def test_three_kills_lose_nothing(project: Any) -> None:
    """kill -9 at three random moments: the store never shrinks, the verdict is the same bytes."""
    moments = random.Random(20261124)
    arguments = _options(project, delay_s=0.005)
    assert project.tunegate(*arguments).ret == 0
    clean = (project.run / "verdict.json").read_bytes()
    shutil.rmtree(project.run)
    shutil.rmtree(project.path / ".tunegate")

    known: set[str] = set()
    for _ in range(3):
        begun = (project.run / "manifest.json").is_file()
        process = project.start(*(["resume", project.run, *arguments[1:]] if begun else arguments))
        count = len(known)
        _until(lambda c=count: len(project.stored()) > c or c == 2 * CASES, process)
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        process.communicate()
        found = set(project.stored())
        assert known <= found
        known = found
    result = project.tunegate("resume", project.run, *arguments[1:])

    assert result.ret == 0
    assert (project.run / "verdict.json").read_bytes() == clean
    assert len(project.stored()) == 2 * CASES
    assert set(project.stored().values()) == {1}


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_signal_stops_the_run_and_names_how_to_go_on(
    project: Any, number: signal.Signals, code: int
) -> None:
    """Once: the batch is finished, JUnit is written, the resume command printed; then it works."""
    arguments = _options(project, delay_s=0.02)
    process = project.start(*arguments, "--junit", "gates.xml")
    _until(lambda: bool(project.stored()), process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == code, output
    assert "continue with: tunegate resume run" in output
    assert "Traceback" not in output
    assert project.verdict()["verdict"] == "ERROR"
    assert "stopped" in (project.path / "gates.xml").read_text(encoding="utf-8")
    kept = set(project.stored())
    assert 0 < len(kept) < 2 * CASES

    result = project.tunegate("resume", project.run, *arguments[1:], "--junit", "gates.xml")

    assert result.ret == 0
    assert kept <= set(project.stored())
    assert project.verdict()["verdict"] == "SHIP"


def test_a_second_run_on_the_folder_is_refused(project: Any) -> None:
    """The second session exits 2 at once and names the process that is at work."""
    arguments = _options(project, delay_s=0.1)
    first = project.start(*arguments)
    try:
        _until((project.run / "manifest.json").is_file, first)
        second = project.pytest_here(
            "suites",
            "--gate-base=scripted:base.json",
            "--gate-tuned=scripted:tuned.json",
            "--gate-run-dir=run",
        )

        assert first.poll() is None
        assert second.ret == 4
        assert second.duration < 2
        second.stderr.fnmatch_lines(
            [f"ERROR: *run: another run uses this folder (process {first.pid})*"]
        )
    finally:
        first.kill()
        first.communicate()


def test_a_stop_while_models_open_is_130(project: Any) -> None:
    """Ctrl-C before the first question exits 130 and says what to do."""
    project.suite()
    project.pytester.makeconftest(
        """
        import tunegate.harness.run.evaluate

        def stopped(*args, **options): raise KeyboardInterrupt
        tunegate.harness.run.evaluate.open_arms = stopped
        """
    )

    result = project.pytest_apart("suites", "--gate-run-dir=run", *project.models())

    assert result.ret == 130
    result.stdout.fnmatch_lines(["stopped by signal 2", "nothing was asked yet: *"])


def test_the_handlers_are_restored(project: Any) -> None:
    project.suite()
    project.pytester.makepyfile(
        test_own="""
        import signal

        def test_after():
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        """
    )

    result = project.pytest_here("suites", "test_own.py", *project.models())

    result.assert_outcomes(passed=3)


def test_ctrl_c_with_workers_is_130(project: Any) -> None:
    """The controller stops its workers, keeps what is stored and exits 130."""
    arguments = _options(project, delay_s=0.02)
    process = project.start(*arguments, "--", "-n", "2")
    _until(lambda: bool(project.stored()), process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 130, output
    assert "continue with: tunegate resume run" in output


def test_reports_that_find_no_room_are_one_line(
    project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full when the page is written: exit 13, no traceback; resuming writes it."""

    def write_all(*given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    project.suite()
    with monkeypatch.context() as full_disk:
        full_disk.setattr(page, "write_all", write_all)
        full = project.gate(*project.models(tuned=95))

    assert full.ret == 13
    assert "Traceback" not in full.stdout.str() + full.stderr.str()
    full.stdout.fnmatch_lines(["*reports cannot be written (No space left on device)*"])
    assert not (project.run / "report.html").exists()
    assert project.gate(*project.models(tuned=95)).ret == 0
    assert (project.run / "report.html").is_file()
