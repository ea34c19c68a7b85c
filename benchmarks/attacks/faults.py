"""Faults of the machine: `python -m benchmarks.attacks faults`.

A disk that is full at 13 levels, `kill -9` at any moment, files without permission. Each must end
in a line, lose no finished answer, and let the run go on to the verdict that it would have had.
Full disks need root (a small file system in memory), permissions Linux.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.attacks.attempt import AttackAttempt, Outcome, last_word
from benchmarks.attacks.project import AttackedProject
from benchmarks.attacks.small_server import SmallServer

LEVELS = 13
KILLS = 12
AT_ONCE = 16
"""Answers that may be on their way when a run ends."""
RECORDED = ("--base=replay:base.jsonl", "--tuned=replay:tuned.jsonl")
DENIED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Runs a command of root's without root's way around permissions."""


def attempts() -> Iterator[AttackAttempt]:
    """Yield the attacks that this machine allows."""
    if sys.platform == "linux" and os.geteuid() == 0:
        yield from _full_disks()
    for number in range(KILLS):
        yield AttackAttempt(f"kill {number}", lambda n=number: _kill(n))  # type: ignore[misc]
    if sys.platform == "linux":
        for name, change in _permissions().items():
            yield AttackAttempt(
                f"permission: {name}",
                lambda change=change: _without_permission(change),  # type: ignore[misc]
            )


@contextmanager
def _project(folder: Path) -> Iterator[AttackedProject]:
    project = AttackedProject(folder / "project")
    project.begin()
    project.write("pyproject.toml", "")
    yield project


def _verdict(project: AttackedProject, server: SmallServer | None = None) -> str:
    """Return the stored verdict, without the port of the server."""
    path = project.run / "verdict.json"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return text if server is None else text.replace(server.port, "PORT")


def _full_disks() -> Iterator[AttackAttempt]:
    used: dict[bool, int] = {}
    verdicts: dict[bool, str] = {}

    def fill(level: int, asks: bool) -> Outcome:
        if asks not in used:
            used[asks], verdicts[asks] = _undisturbed(asks)
        return _full_disk(used[asks] * level // LEVELS, asks, verdicts[asks])

    for asks in (False, True):
        for level in range(LEVELS):
            what = "a server's answers" if asks else "recorded answers"
            yield AttackAttempt(
                f"disk full, {what}, {level}/{LEVELS} of the room",
                lambda level=level, asks=asks: fill(level, asks),  # type: ignore[misc]
            )


@contextmanager
def _small_disk() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", name], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", name], check=True)


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_bsize


def _undisturbed(asks: bool) -> tuple[int, str]:
    """Return the bytes that a gate writes, and its verdict."""
    with _small_disk() as disk, SmallServer() as server, _project(disk) as project:
        before = _free(disk)
        project.tunegate("gate", "suites", *(server.arms() if asks else RECORDED), "--run-dir=run")
        return before - _free(disk), _verdict(project, server)


def _full_disk(room: int, asks: bool, wanted: str) -> Outcome:
    with _small_disk() as disk, SmallServer() as server, _project(disk) as project:
        words = ("gate", "suites", *(server.arms() if asks else RECORDED), "--run-dir=run")
        filler = disk / "filler"
        filler.write_bytes(b"x" * max(0, _free(disk) - room))
        done = project.tunegate(*words)
        filler.unlink()
        first = server.questions()[1]
        then = _go_on(project, words)
        again = server.questions()[1] - first
        text = done.stdout + done.stderr
        survived = (
            done.returncode in (2, 13)
            and "Traceback" not in text + then.stdout + then.stderr
            and "No space left" in text + "No space left" * ("is full" in text or "I/O" in text)
            and _verdict(project, server) == wanted
            and (not asks or first + again <= 120 + AT_ONCE)
        )
        return survived, f"exit {done.returncode}, {first} answered, {again} after: {_line(text)}"


def _go_on(project: AttackedProject, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    if not (project.run / "manifest.json").is_file():
        return project.tunegate(*words)
    done = project.tunegate("resume", "run", *words[1:])
    # All but the pages may be there.
    return project.tunegate("report", "run") if "nothing to continue" in done.stderr else done


def _line(text: str) -> str:
    found = [line for line in text.splitlines() if "cannot be written" in line]
    return (found or text.splitlines() or [""])[-1][:100]


def _kill(number: int) -> Outcome:
    """Kill a gate once so many answers were sent, go on, and compare with an undisturbed run."""
    chance = random.Random(number)
    sent = 120 * number // (KILLS - 3)  # the last ones while verdict and files are made
    pause = chance.uniform(0, 0.05 if sent < 120 else 4)
    with (
        tempfile.TemporaryDirectory() as name,
        SmallServer(latency_s=0.02) as server,
        _project(Path(name)) as project,
    ):
        words = ("gate", "suites", *server.arms(), "--run-dir=run", "--concurrency=4")
        process = subprocess.Popen(
            [sys.executable, "-m", "tunegate.harness.cli", *words], cwd=project.folder,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while server.questions()[1] < min(sent, 120) and process.poll() is None:
            time.sleep(0.005)
        time.sleep(pause)
        ended = process.poll() is not None
        process.send_signal(signal.SIGKILL)
        process.wait()
        first = server.questions()[1]
        then = _go_on(project, words)
        again = server.questions()[1] - first
        verdict = _verdict(project, server)
        shutil.rmtree(project.run)
        shutil.rmtree(project.folder / ".tunegate")
        (project.folder / "suites/tunegate.ledger.jsonl").unlink(missing_ok=True)
        project.tunegate(*words)
        same = verdict == _verdict(project, server) != ""
        traced = "Traceback" in then.stdout + then.stderr
        survived = same and not traced and then.returncode == 0 and first + again <= 120 + AT_ONCE
        when = "after its end" if ended else f"{pause:.1f} s later"
        return survived, f"{first} answered, {when}, {again} asked after it, same verdict: {same}"


def _permissions() -> dict[str, Callable[[AttackedProject], None]]:
    def mode(path: str, bits: int) -> Callable[[AttackedProject], None]:
        def change(project: AttackedProject) -> None:
            target = project.folder / path
            if not target.exists():
                target.mkdir(parents=True)
            target.chmod(bits)

        return change

    return {
        "a suite that cannot be read": mode("suites/orders/suite.toml", 0),
        "answers that cannot be read": mode("tuned.jsonl", 0),
        "a folder of suites that cannot be entered": mode("suites", 0),
        "a run folder that cannot be written": mode("run", 0o500),
    }


def _without_permission(change: Callable[[AttackedProject], None]) -> Outcome:
    """Gate without root's way around permissions."""
    before = DENIED if os.geteuid() == 0 else ()
    with tempfile.TemporaryDirectory() as name, _project(Path(name)) as project:
        change(project)
        done = subprocess.run(
            [*before, sys.executable, "-m", "tunegate.harness.cli", "gate", "suites", *RECORDED,
             "--run-dir=run"],
            cwd=project.folder, capture_output=True, text=True, check=False, timeout=180,
        )  # fmt: skip
        for path in (project.folder, *project.folder.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o700)
        text = done.stdout + done.stderr
        survived = "Traceback" not in text and done.returncode in (1, 2, 13)
        return survived, f"exit {done.returncode}: {last_word(text):.100}"
