"""Attempts ledger: which candidates a suite has judged, in a file that a project commits.

`tunegate.ledger.jsonl` is next to the suites and has one line for each verdict on a suite. Its
lines are a set: their order means nothing and a repeated line counts once, so that the files of two
branches merge by keeping the lines of both. A suite is known again by its name and by the contents
of its cases, whatever else was edited: a line holds a sketch of them.

An attempt is a candidate, judged on certain cases with a certain seed. How attempts are paid for is
in `tunegate.harness.decision.gating.error_control`.

Source: bottom-k sketches (Cohen and Kaplan 2007): the k smallest hashes of the union of two sets
are a random sample of it, so the share of them that both sets have estimates the Jaccard index,
with a standard error of at most 0.5/sqrt(k). Of sets with at most k members it is exact.
"""

from __future__ import annotations

import datetime
import json
import os
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from pydantic import Field

import tunegate
from tunegate.harness.decision.verdict import run_history
from tunegate.harness.engine.answer_cache import JudgedAttempt
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import parse_record, record_problem
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.jsonl import record_lines
from tunegate.harness.records.manifest import LedgerState
from tunegate.harness.records.record import MAX_AMOUNT, Record, Text
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict, VerdictRecord
from tunegate.harness.suite import Suite
from tunegate.harness.suite.equal_prompts import normalize_messages

FILE_NAME = "tunegate.ledger.jsonl"
_LARGEST = 50_000_000
"""Bytes of a ledger that are read."""
SKETCH = 64
"""Cases of a sketch; a suite with fewer is known entirely."""
_DIGITS = 8
"""Hexadecimal digits of a case's hash: two of 10,000 cases collide with 1 % probability."""
RENAMED = 0.5
"""Jaccard index of the cases from which a suite of another name is the same suite."""
REWORDED = 0.8
"""Jaccard index down to which as many cases are the same cases, reworded: a tenth of them may be
others."""
_PAST_RUNS = 200
"""Newest run folders that are compared with the ledger."""


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
    seed: int
    whole: bool = True
    """Whether all cases and gates were judged; False also of a look during a training."""
    run_id: Text
    """Name of the run's folder."""
    scores_sha256: str
    """SHA-256 of the run's scores.jsonl."""
    verdict: Verdict
    """Of the suite."""
    judged: str
    """ISO 8601 time of the verdict, UTC."""
    attempt: int = Field(default=1, ge=1, le=MAX_AMOUNT, exclude_if=lambda count: count == 1)
    """As which candidate it was judged. Kept, as a clock that was set back would make it the first
    one when it is judged again."""
    extended: int = Field(default=0, ge=0, le=MAX_AMOUNT, exclude_if=lambda count: not count)
    """How many other cases or seeds had judged it before; kept likewise."""


@dataclass(frozen=True, slots=True)
class CaseSketch:
    """Hashes of a suite's cases for the comparison with other versions of it."""

    name: str
    suite_sha256: str
    n_cases: int
    hashes: str

    @classmethod
    def of(cls, suite: Suite) -> CaseSketch:
        """Return the sketch of a suite's prompts, compared by their words."""
        prompts = {sha256(normalize_messages(case.input_messages())) for case in suite.cases}
        smallest = sorted(digest[:_DIGITS] for digest in prompts)[:SKETCH]
        return cls(suite.name, suite.hash, len(suite.cases), "".join(smallest))

    def is_of(self, line: LedgerLine) -> bool:
        """Return whether a line is about a version of this suite.

        With the same name one case in common is enough: the candidates that were judged on it are
        those that its answers chose among. With another name, half of the cases.
        """
        if line.suite_sha256 == self.suite_sha256:
            return True
        found = jaccard(self.hashes, line.cases)
        return found > 0 if line.suite == self.name else found >= RENAMED

    def has_cases_of(self, line: LedgerLine) -> bool:
        """Return whether a line is about these cases, at most reworded."""
        if line.suite_sha256 == self.suite_sha256:
            return True
        same = line.cases == self.hashes or jaccard(self.hashes, line.cases) >= REWORDED
        return same and line.n_cases == self.n_cases


@cache
def jaccard(one: str, other: str) -> float:
    """Return the estimated share of the cases of two suites that both have.

    Args:
        one: A sketch.
        other: A sketch.
    """
    ours, theirs = _split_hashes(one), _split_hashes(other)
    union = sorted(ours | theirs)[:SKETCH]
    return sum(digest in ours and digest in theirs for digest in union) / max(1, len(union))


@cache
def _split_hashes(sketch: str) -> frozenset[str]:
    return frozenset(sketch[i : i + _DIGITS] for i in range(0, len(sketch), _DIGITS))


@dataclass(frozen=True, slots=True)
class AttemptLedger:
    """The ledgers of the suites of one run, as they were when it began."""

    sketches: Mapping[str, CaseSketch]
    """Suite → its cases."""
    files: Mapping[str, Path]
    """Suite → its ledger, which may not be there yet."""
    lines: Mapping[Path, Sequence[LedgerLine]]
    candidate: str
    seed: int
    whole: bool

    @classmethod
    def of(
        cls, suites: Iterable[Suite], candidate: str, seed: int, *, whole: bool
    ) -> AttemptLedger:
        """Read the ledgers of suites.

        Args:
            suites: The suites that are judged.
            candidate: Fingerprint of the fine-tune.
            seed: Seed of the run.
            whole: Whether all cases and gates are judged.

        Raises:
            UsageError: a line cannot be read, and which.
        """
        suites = tuple(suites)
        files = {suite.name: ledger_file(suite) for suite in suites}
        lines = {path: read_ledger(path) for path in dict.fromkeys(files.values())}
        sketches = {suite.name: CaseSketch.of(suite) for suite in suites}
        return cls(sketches, files, lines, candidate, seed, whole)

    def attempt(self, name: str) -> JudgedAttempt:
        """Return as which candidate this one is judged on a suite, and how often it was before."""
        sketch = self.sketches[name]
        related = [line for line in self.lines[self.files[name]] if sketch.is_of(line)]
        order = dict.fromkeys(line.candidate for line in sorted(related, key=_age))
        number = [*order, self.candidate].index(self.candidate) + 1
        own = [line for line in related if line.candidate == self.candidate]
        number = max([number, *(line.attempt for line in own)])
        return JudgedAttempt(number, self._earlier_versions(sketch, own))

    def _earlier_versions(self, sketch: CaseSketch, own: Sequence[LedgerLine]) -> int:
        """Return how many other cases or seeds have judged the candidate before these first did.

        A look at some of the cases decides nothing, and judging all of them later is no extension.
        With another seed it is one: whoever looks with ten seeds and goes on with the best one has
        chosen the answers.
        """
        own = [line for line in own if line.whole or line.seed != self.seed]
        same = [line for line in own if self._is_same_attempt(sketch, line)]
        since = min((line.judged for line in same), default="9999")
        earlier = {
            (line.n_cases, line.seed, "" if sketch.has_cases_of(line) else line.cases)
            for line in own
            if line not in same and line.judged < since
        }
        return max([len(earlier), *(line.extended for line in same)])

    def _is_same_attempt(self, sketch: CaseSketch, line: LedgerLine) -> bool:
        return line.seed == self.seed and sketch.has_cases_of(line)

    def state(self, name: str, runs: Path | None = None) -> LedgerState:
        """Return the notes of a verdict on a suite's ledger.

        Args:
            name: The suite.
            runs: Folder of run folders; None compares none with the ledger.
        """
        path, sketch = self.files[name], self.sketches[name]
        lines = self.lines[path]
        others = [
            line
            for line in lines
            if sketch.is_of(line)
            and not (line.candidate == self.candidate and self._is_same_attempt(sketch, line))
        ]
        versions = {
            line.suite_sha256
            for line in lines
            if line.candidate == self.candidate
            and sketch.is_of(line)
            and self._is_same_attempt(sketch, line)
        }
        known = {(line.run_id, line.suite, line.suite_sha256, line.seed) for line in lines}
        shipped = run_history.read_promotions(Path(run_history.FILE_NAME))
        promoted = (one.run_id for one in shipped if name in one.suites)
        named = {line.run_id for line in lines if sketch.is_of(line)}
        return LedgerState(
            file=_relative_path(path),
            first=not others,
            unwritable=_why_unwritable(path),
            unknown_runs=tuple(run for run, line in _judged_runs(runs, name) if line not in known),
            unknown_promotions=tuple(run for run in promoted if run not in named),
            edited=len(versions - {sketch.suite_sha256}),
        )

    def record(
        self,
        verdict: VerdictRecord,
        scores: Iterable[ScoreRow],
        extended: Mapping[str, int] = MappingProxyType({}),
    ) -> list[str]:
        """Write a line for each suite of a verdict; return the notes for the user.

        A verdict whose line is there is written once: the same run with the same scores.

        Args:
            verdict: The verdict.
            scores: The scores of its run.
            extended: Hash of a suite → how many other cases or seeds had judged the candidate.
        """
        digest = sha256("".join(record_lines(scores)))
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
        new: dict[Path, list[LedgerLine]] = {}
        for result in verdict.suites:
            path, sketch = self.files[result.name], self.sketches[result.name]
            known = {(one.run_id, one.suite, one.scores_sha256) for one in self.lines[path]}
            if (verdict.run_id, result.name, digest) not in known:
                line = LedgerLine(
                    suite=result.name,
                    suite_sha256=result.hash,
                    n_cases=sketch.n_cases,
                    cases=sketch.hashes,
                    candidate=self.candidate,
                    seed=self.seed,
                    whole=self.whole,
                    run_id=verdict.run_id,
                    scores_sha256=digest,
                    verdict=result.verdict,
                    judged=now,
                    attempt=max(1, verdict.attempts.get(result.hash, 1)),
                    extended=extended.get(result.hash, 0),
                )
                new.setdefault(path, []).append(line)
        meanwhile = [said for path in new for said in self._meanwhile(path)]
        return meanwhile + [said for path, lines in new.items() for said in _append(path, lines)]

    def _meanwhile(self, path: Path) -> Iterator[str]:
        """Yield which verdicts on the same suites other runs recorded since this one began."""
        with suppress(UsageError):
            new = set(read_ledger(path)) - set(self.lines[path])
            for name, sketch in self.sketches.items():
                if self.files[name] == path and (
                    others := [line.run_id for line in new if sketch.is_of(line)]
                ):
                    yield (
                        f"{_relative_path(path)}: other runs have judged {name} since this one "
                        f"began ({', '.join(sorted(others)[:3])}); its attempts do not count them"
                    )


def ledger_file(suite: Suite) -> Path:
    """Return the ledger of a suite: the nearest one above its folder, or where a new one belongs.

    It is searched for from the folder that holds the suite's folder up to the repository's root or
    the current folder. A bundled suite has its ledger in the current folder.
    """
    here, folder = Path.cwd(), suite.path.resolve().parent
    if folder.is_relative_to(Path(tunegate.__file__).parent.joinpath("suites").resolve()):
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
                (p / FILE_NAME for p in above if (p / FILE_NAME).exists()), start / FILE_NAME
            )
    return start / FILE_NAME


def read_ledger(path: Path) -> tuple[LedgerLine, ...]:
    """Return the lines of a ledger; none if it is not there.

    Raises:
        UsageError: a line cannot be read, and which.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > _LARGEST:
            raise UsageError(f"{path}: cannot be read (no regular file of at most 50 MB)")
        text = path.read_bytes()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    return tuple(dict.fromkeys(_read_lines(path, text)))


def refuse_broken(suites: Iterable[Suite]) -> None:
    """Read the ledgers of suites before anything is spent.

    Raises:
        UsageError: a line cannot be read, and which.
    """
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
                    f"`{FILE_NAME} merge=union` in .gitattributes does so by itself"
                )
            else:
                remedy = f"{record_problem(LedgerLine, error)}; restore the line from git"
            raise UsageError(f"{path}:{number}: {remedy}") from error


def _append(path: Path, lines: Sequence[LedgerLine]) -> Iterator[str]:
    """Append lines in one write, which other processes' writes do not divide."""
    text = "".join(record_lines(lines)).encode()
    try:
        new = not path.exists()
        with path.open("ab+", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            whole = not size or file.read(1) == b"\n"
            file.write(text if whole else b"\n" + text)
    except OSError as error:
        place = _relative_path(path)
        yield f"{place}: cannot be written ({error.strerror}); the attempt is not recorded"
        return
    if new:
        yield (
            f"wrote {_relative_path(path)}, which counts the attempts on a suite and has no "
            "earlier verdict on these cases: commit it, with "
            f"`{FILE_NAME} merge=union` in .gitattributes"
        )
    elif fresh := [line.suite for line in lines if line.attempt == 1]:
        yield (
            f"{_relative_path(path)} has no earlier verdict on these cases: a first attempt on "
            f"{', '.join(fresh)}"
        )
    if _git_ignores(path):
        yield (
            f"{_relative_path(path)}: git ignores this file, so no other checkout and no CI job "
            f"counts these attempts; add `!{FILE_NAME}` to .gitignore and commit it"
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


def _why_unwritable(path: Path) -> Text | None:
    """Return why a line cannot be appended; None where it can."""
    try:
        if path.exists():
            with path.open("ab"):
                return None
        return None if os.access(path.parent, os.W_OK) else "no permission to write the folder"
    except OSError as error:
        return str(error.strerror)


def _judged_runs(runs: Path | None, suite: str) -> Iterator[tuple[str, tuple[str, str, str, int]]]:
    """Yield the stored runs that counted as an attempt on a suite of that name.

    Each with what its line in the ledger must say: run, suite, the suite's hash and the seed.
    """
    if runs is None or not runs.is_dir():
        return
    for path in sorted(runs.glob("*/verdict.json"))[-_PAST_RUNS:]:
        with suppress(OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
            verdict = json.loads(path.read_bytes())
            for found in verdict["suites"] if verdict["attempts"] else ():
                if found["name"] == suite:
                    run = str(verdict["run_id"])
                    yield run, (run, suite, found["hash"], verdict["seed"])


def _age(line: LedgerLine) -> tuple[str, str]:
    return line.judged, line.candidate


def _relative_path(path: Path) -> str:
    """Return a path as seen from the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
