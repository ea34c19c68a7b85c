"""One attack and what became of it; a class of attacks is a script with a function `attempts`."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.attacks.project import AttackedProject

SECRET = "hunter2-9f31"
LONGEST_S = 120.0
"""Seconds that a command may take: opening a server has 60 s of its own."""
Outcome = tuple[bool, str]
"""Whether the attack was survived, and what happened."""


@dataclass(frozen=True)
class AttackAttempt:
    """One attack of a class."""

    name: str
    carry_out: Callable[[], Outcome]


def report(attempts: Iterable[AttackAttempt]) -> tuple[int, int]:
    """Carry attacks out and print what became of each; return how many, and how many failed."""
    tried = failed = 0
    for attempt in attempts:
        survived, outcome = attempt.carry_out()
        tried, failed = tried + 1, failed + (not survived)
        print(f"{'ok  ' if survived else 'FAIL'} {attempt.name}: {outcome}", flush=True)
    print(f"tried {tried}, survived {tried - failed}, failed {failed}", flush=True)
    return tried, failed


def command_attempt(
    name: str,
    words: tuple[str, ...],
    change: Callable[[AttackedProject], None] = lambda project: None,
    *,
    codes: tuple[int, ...] = (2, 13),
    says: str = "",
) -> AttackAttempt:
    """Return an attack on a command line: it must end in time, in lines, and without the secret.

    Args:
        name: What is tried.
        words: The command.
        change: What is prepared in the project.
        codes: Exit codes that survive it.
        says: What the output must hold.
    """

    def carry_out() -> Outcome:
        with tempfile.TemporaryDirectory() as folder:
            top = Path(folder)
            (top / "outside.csv").write_text(f"prompt,expected\n{SECRET},x\n", encoding="utf-8")
            project = AttackedProject(top / "project")
            project.begin()
            project.write("pyproject.toml", "")
            change(project)
            return judge_command(project, words, codes, says)

    return AttackAttempt(name, carry_out)


def judge_command(
    project: AttackedProject, words: tuple[str, ...], codes: tuple[int, ...], says: str = ""
) -> Outcome:
    """Run a command; return whether it ended as it must, and its last line."""
    began = time.monotonic()
    try:
        done = project.tunegate(*words)
    except subprocess.TimeoutExpired:
        return False, "it did not end"
    took = time.monotonic() - began
    text = done.stdout + done.stderr
    bad = "Traceback" in text or SECRET in text or _is_kept(project) or took > LONGEST_S
    survived = done.returncode in codes and says in text and not bad
    return survived, f"exit {done.returncode}, {took:.1f} s: {last_word(text):.90}"


def last_word(text: str) -> str:
    """Return the line that says most about how a command ended."""
    lines = [line for line in text.splitlines() if line.strip()]
    verdicts = ("SHIP", "BLOCK", "UNDECIDED", "HOLD", "ERROR", "NOT COMPARABLE", "no verdict")
    endings = [line for line in lines if line.startswith(verdicts)]
    telling = [
        line
        for line in lines
        if not line.startswith(_PROGRESS) and not re.match(r"\d+ (failed|error|passed|skip)", line)
    ]
    return (endings or telling or lines or ["nothing was printed"])[-1]


_PROGRESS = ("tunegate: opening", "tunegate: wrote", "FAILED", "tunegate: leakage", "=", "_", "!")


def _is_kept(project: AttackedProject) -> bool:
    """Return whether a file that a command wrote holds the secret; those of `evil` are given."""
    files = [
        path
        for path in project.folder.rglob("*")
        if path.is_file() and not path.is_symlink() and project.folder / "evil" not in path.parents
    ]
    return any(
        SECRET.encode() in path.read_bytes()
        for path in files
        if path.name != "suite.toml" and path.stat().st_size < 10**7
    )
