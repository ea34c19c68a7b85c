"""Ledger file: `tunegate.ledger.jsonl`, which a project commits, has a line for each verdict.

The lines are a set: their order means nothing and a repeated line counts once, so two branches
merge by keeping the lines of both.
"""

from __future__ import annotations

import operator
import os
import stat
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pydantic import Field

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import parse_record, record_problem, relative_path
from tunegate.harness.records.jsonl import record_lines
from tunegate.harness.records.record import MAX_AMOUNT, Record, Text
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.suite import Suite
from tunegate.harness.suite.find import BUNDLED, LEDGER_NAME

_LARGEST = 50_000_000
"""Bytes of a ledger that are read."""


class LedgerLine(Record):
    """One verdict on one suite."""

    suite: Text
    """Name of the suite."""
    suite_sha256: str
    """Its hash: definition, cases and files."""
    n_cases: int = Field(le=MAX_AMOUNT)
    cases: str
    """Sketch of its cases: the smallest hashes of their prompts, 8 hexadecimal digits each."""
    candidate: str
    """Fingerprint of the fine-tune."""
    answers: str = Field(default="", exclude_if=operator.not_)
    """Sketch of its answers: four hexadecimal digits for each case of `cases`, 0000 without one;
    absent in the lines of earlier versions."""
    answers_sha256: str = Field(default="", exclude_if=operator.not_)
    """Hash of all its answers, without times, if they were recorded."""
    seed: int
    whole: bool = True
    """Whether all cases and gates were judged; False for a look during a training, too."""
    run_id: Text
    """Name of the run's folder."""
    scores_sha256: str
    """SHA-256 of the run's scores.jsonl."""
    verdict: Verdict
    """Of the suite."""
    judged: str
    """ISO 8601 time of the verdict, UTC."""
    attempt: int = Field(default=1, ge=1, le=MAX_AMOUNT, exclude_if=lambda count: count == 1)
    """Which candidate it was. Stored, since a clock that is set back would change the order."""
    extended: int = Field(default=0, ge=0, le=MAX_AMOUNT, exclude_if=lambda count: not count)
    """How many other cases or seeds had judged it before; kept likewise."""


def ledger_file(suite: Suite) -> Path:
    """Return the ledger of a suite: the nearest one above its folder, or where a new one belongs.

    The search goes from the folder above the suite's up to the repository's root or the current
    folder. Bundled suites, and those of notebooks in `.tunegate`, have it in the current folder.
    """
    here, folder = Path.cwd(), suite.path.resolve().parent
    if any(folder.is_relative_to(place) for place in (BUNDLED, here.resolve() / ".tunegate")):
        folder, start = here, here
    elif folder == here or (folder / ".git").exists():
        start = folder
    else:
        start = folder.parent
    above = []
    for place in (start, *start.parents):
        above.append(place)
        if place == here or (place / ".git").exists():
            return next(
                (p / LEDGER_NAME for p in above if (p / LEDGER_NAME).exists()), start / LEDGER_NAME
            )
    return start / LEDGER_NAME


def read_ledger(path: Path) -> tuple[LedgerLine, ...]:
    """Return the lines of a ledger; an absent file has none."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
            raise UsageError(
                f"{path}: cannot be read (no regular file of at most 50 MB); restore it from git"
            )
        text = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    return tuple(dict.fromkeys(_read_lines(path, text)))


def refuse_broken_ledgers(suites: Iterable[Suite]) -> None:
    """Read the ledgers of suites before anything is spent."""
    for path in dict.fromkeys(ledger_file(suite) for suite in suites):
        read_ledger(path)


def _read_lines(path: Path, text: bytes) -> Iterator[LedgerLine]:
    for number, line in enumerate(text.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield parse_record(LedgerLine, line)
        except (ValueError, RecursionError) as error:
            if line.startswith((b"<<<<<<<", b"=======", b">>>>>>>", b"|||||||")):
                remedy = (
                    "a conflict of git: keep the lines of both sides and delete the markers; "
                    f"`{LEDGER_NAME} merge=union` in .gitattributes does so by itself"
                )
            else:
                remedy = f"{record_problem(LedgerLine, error)}; restore the line from git"
            raise UsageError(f"{path}:{number}: {remedy}") from error


def append_lines(path: Path, lines: Sequence[LedgerLine]) -> Iterator[str]:
    """Append lines in one write, so that another process cannot write in between; yield notes."""
    text = "".join(record_lines(lines)).encode()
    try:
        new = not path.exists()
        with path.open("ab+", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            whole = not size or file.read(1) == b"\n"
            file.write(text if whole else b"\n" + text)
    except OSError as error:
        place = relative_path(path)
        yield f"{place}: cannot be written ({error.strerror}); the attempt is not recorded"
        return
    if new:
        yield (
            f"wrote {relative_path(path)}, which counts the attempts on a suite and has no "
            "earlier verdict on these cases: commit it, with "
            f"`{LEDGER_NAME} merge=union` in .gitattributes"
        )
    elif fresh := [line.suite for line in lines if line.attempt == 1]:
        yield (
            f"{relative_path(path)} has no earlier verdict on these cases: a first attempt on "
            f"{', '.join(fresh)}"
        )
    if _git_ignores(path):
        yield (
            f"{relative_path(path)}: git ignores this file, so no other checkout and no CI job "
            f"counts these attempts; add `!{LEDGER_NAME}` to .gitignore and commit it"
        )


def _git_ignores(path: Path) -> bool:
    """Return whether the file is in a git repository that ignores it."""
    if not any((folder / ".git").exists() for folder in path.parents):
        return False
    try:
        words = ("git", "check-ignore", "--quiet", "--", path.name)
        done = subprocess.run(words, cwd=path.parent, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def why_unwritable(path: Path) -> Text | None:
    """Return why a line cannot be appended; None where it can."""
    try:
        if path.exists():
            with path.open("ab"):
                return None
        return None if os.access(path.parent, os.W_OK) else "no permission to write the folder"
    except OSError as error:
        return str(error.strerror)
