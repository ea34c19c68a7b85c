"""Answer cache: one SQLite file per project, one row per cell, written as soon as it is known.

A cell's key is the hash of everything that can change its answer, so a row can serve any later
run: the second candidate against the same base pays only for its own arm. Only `ok` rows are
reused. Rows are never evicted. Payloads are JSON with a checksum; a row that fails it is a miss.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

from filelock import FileLock
from pydantic import ValidationError

from tunegate.harness.contracts.judge import JudgeAnswer
from tunegate.harness.records.answers import Cell, Completion, StoredAnswer
from tunegate.harness.records.defaults import STORE
from tunegate.harness.records.errors import BackendError, UsageError
from tunegate.harness.records.hashing import canonical_json, sha256
from tunegate.harness.suite import Suite

_SCHEMA = """
CREATE TABLE IF NOT EXISTS cells (
    key TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    payload TEXT,
    sha256 TEXT,
    attempts INTEGER NOT NULL,
    error TEXT,
    started REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempts (
    suite TEXT NOT NULL,
    candidate TEXT NOT NULL,
    first REAL NOT NULL,
    PRIMARY KEY (suite, candidate)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS suite_versions (
    rule TEXT NOT NULL,
    suite TEXT NOT NULL,
    candidate TEXT NOT NULL,
    cases INTEGER NOT NULL,
    PRIMARY KEY (rule, suite, candidate)
) WITHOUT ROWID;
"""
_INSERT = "INSERT INTO cells VALUES (?, ?, ?, ?, 1, ?, ?) ON CONFLICT(key)"
_REPLACED = (
    "status=excluded.status, payload=excluded.payload, sha256=excluded.sha256, "
    "error=excluded.error, started=excluded.started, attempts=attempts+1"
)
_CHUNK = 500
"""Keys per SELECT, well under SQLite's limit on variables."""
_Row = tuple[Completion | None, str | None, float]
"""Completion, error in words, and the Unix time at which the work began."""


@dataclass(frozen=True, slots=True)
class SuiteVersion:
    """A suite as it is now, and what stays the same when cases are added."""

    hash: str
    rule: str
    """Digest of its name and gates."""
    n_cases: int


@dataclass(frozen=True, slots=True)
class JudgedAttempt:
    """The candidates that a suite has judged."""

    number: int
    """Number of this candidate among all that any version of the suite has judged."""
    extended: int
    """Versions with other cases or seeds that have judged this candidate before."""


class AnswerStore(Protocol):
    """The interface of a store for the runner."""

    def completions(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Return the completions of the given keys that exist: errors are tried again."""

    def answered(self, keys: Iterable[str]) -> set[str]:
        """Return those of the given keys that hold a completion."""

    def put(self, answer: StoredAnswer, *, replace: bool = False) -> None:
        """Keep an answer; a completion that is already there stays unless it is to be replaced."""

    def together(self) -> AbstractContextManager[None]:
        """Return a context whose rows may be kept at once."""


class AnswerCache:
    """The project's cell cache."""

    def __init__(self, path: Path) -> None:
        """Open or create the store at `path`."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Switching to WAL races between processes, so the first opening is serialised.
            with FileLock(f"{path}.lock", timeout=30):
                if path.parent.name == Path(STORE).parent.name and not path.exists():
                    _keep_out_of_git(path.parent)
                self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
                # Damaged text must reach the checksum instead of failing to decode.
                self._db.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
                # Of a new file: an answer of two pages of text overflows the usual 4 KB.
                self._db.execute("PRAGMA page_size=8192")
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.execute("PRAGMA cache_size=-16384")  # in KB: keys are in random order
                self._db.executescript(_SCHEMA)
        except sqlite3.DatabaseError as error:
            if "readonly" in str(error) or "unable to open" in str(error):
                raise UsageError(_unwritable(path, str(error))) from error
            raise BackendError(_damage_message(path, error)) from error
        except OSError as error:
            raise UsageError(_unwritable(path, error.strerror or str(error))) from error

    def completions(self, keys: Iterable[str]) -> dict[str, Completion]:
        """Return the completions of the given keys that exist and pass their checksum."""
        return {key: row[0] for key, row in self._rows(keys) if row[0] is not None}

    def answered(self, keys: Iterable[str]) -> set[str]:
        """Return the given keys that have a completion, without keeping completions in memory."""
        return {key for key, (completion, _, _) in self._rows(keys) if completion is not None}

    def read(
        self, cells: Iterable[Cell], cached: Collection[str] = frozenset()
    ) -> Iterator[StoredAnswer]:
        """Yield the stored answer of each cell; `missing` if it was never answered."""
        left = iter(cells)
        while chunk := list(islice(left, _CHUNK)):
            rows = dict(self._rows(cell.key for cell in chunk))
            for cell in chunk:
                if cell.key in rows:
                    answer = StoredAnswer.of(cell, *rows[cell.key])
                    yield replace(answer, cache_hit=True) if cell.key in cached else answer
                else:
                    yield StoredAnswer(cell=cell, status="missing", error="it was never answered")

    def judge_answers(self, keys: Iterable[str]) -> dict[str, JudgeAnswer]:
        """Return the answers to judges' questions that exist and pass their checksum."""
        return {key: JudgeAnswer(key, *row) for key, row in self._rows(keys)}

    def _rows(self, keys: Iterable[str]) -> Iterator[tuple[str, _Row]]:
        left = iter(keys)
        while chunk := list(islice(left, _CHUNK)):
            marks = ",".join("?" * len(chunk))
            try:
                rows = self._db.execute(
                    "SELECT key, payload, sha256, error, started FROM cells "
                    f"WHERE key IN ({marks})",
                    chunk,
                ).fetchall()
            except sqlite3.DatabaseError as error:
                raise BackendError(_damage_message(self.path, error)) from error
            read = ((row[0], _read(*row[1:])) for row in rows)
            yield from ((key, row) for key, row in read if row is not None)

    def put(self, answer: StoredAnswer | JudgeAnswer, *, replace: bool = False) -> None:
        """Write one row durably.

        A completion that is already there is kept, unless `replace` is set.
        """
        payload = None
        if answer.completion is not None:
            payload = canonical_json(answer.completion.model_dump(mode="json", exclude_none=True))
        status = "ok" if payload is not None else "error"
        row = (
            answer.key,
            status,
            payload,
            payload and sha256(payload),
            answer.error,
            answer.started_s or 0.0,
        )
        with self._writing():
            added = self._db.execute(f"{_INSERT} DO NOTHING", row).rowcount
            # Only an existing row is read: its completion may be damaged.
            if not added and (replace or not self.answered([answer.key])):
                self._db.execute(f"{_INSERT} DO UPDATE SET {_REPLACED}", row)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Write all rows of the block at once, or none: waiting for the disk takes most of a put.

        For answers that cost nothing to get again; the others are written as soon as they are
        known.
        """
        with self._writing():
            yield

    def record_attempt(
        self, versions: Iterable[SuiteVersion], candidate: str, *, whole: bool = True
    ) -> dict[str, JudgedAttempt]:
        """Record that the suites judge `candidate`; return its number in each suite, by hash.

        A candidate that is judged again keeps its number, even if the suite has other cases by now:
        a suite is known by its name and gates.
        """
        attempts = {}
        with self._writing():
            for version in versions:
                self._db.execute(
                    "INSERT OR IGNORE INTO attempts VALUES (?, ?, ?)",
                    (version.hash, candidate, time.time()),
                )
                if whole:
                    self._db.execute(
                        "INSERT OR IGNORE INTO suite_versions VALUES (?, ?, ?, ?)",
                        (version.rule, version.hash, candidate, version.n_cases),
                    )
                attempts[version.hash] = self._attempt(version, candidate)
        return attempts

    def _attempt(self, version: SuiteVersion, candidate: str) -> JudgedAttempt:
        judged = self._db.execute(
            "SELECT candidate FROM attempts WHERE suite = ?1 OR suite IN "
            "(SELECT suite FROM suite_versions WHERE rule = ?2) "
            "GROUP BY candidate ORDER BY MIN(first), candidate",
            (version.hash, version.rule),
        ).fetchall()
        others = self._db.execute(
            "SELECT COUNT(DISTINCT cases) FROM suite_versions NATURAL JOIN attempts "
            "WHERE rule = ?1 AND candidate = ?2 AND cases <> ?3 AND first < "
            "(SELECT first FROM attempts WHERE suite = ?4 AND candidate = ?2)",
            (version.rule, candidate, version.n_cases, version.hash),
        ).fetchone()
        return JudgedAttempt([str(row[0]) for row in judged].index(candidate) + 1, others[0])

    def judged_before(self, suites: Iterable[Suite], candidate: str) -> dict[str, str]:
        """Return suite name → the candidate that it judged before this one."""
        candidates = {}
        try:
            for suite in suites:
                row = self._db.execute(
                    "SELECT candidate FROM attempts WHERE suite = ? AND candidate <> ? "
                    "ORDER BY first DESC, candidate LIMIT 1",
                    (suite.hash, candidate),
                ).fetchone()
                if row is not None:
                    candidates[suite.name] = str(row[0])
        except sqlite3.DatabaseError as error:
            raise BackendError(_damage_message(self.path, error)) from error
        return candidates

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        if self._db.in_transaction:  # within `together`, which ends it
            yield
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise BackendError(_write_failure(self.path, error)) from error
        finally:
            if self._db.in_transaction:  # a failure or a signal came in between
                self._db.execute("ROLLBACK")


def _keep_out_of_git(folder: Path) -> None:
    """Have git ignore the folder, as pytest's cache does; later only its owner decides that."""
    file = folder / ".gitignore"
    if not file.exists():
        file.write_text("# Created by tunegate.\n*\n", encoding="utf-8")


def _read(
    payload: str | None, digest: str | None, error: str | None, started: float
) -> _Row | None:
    """Return a row's content; None if its checksum fails."""
    if payload is None:
        return None, error, started
    if sha256(payload) != digest:
        return None
    try:
        completion = Completion.model_validate(json.loads(payload))
    except (ValueError, ValidationError):
        return None
    return completion, None, started


def _damage_message(path: Path, error: sqlite3.DatabaseError) -> str:
    """Return what to do about a file that cannot be used, or a disk that is full."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return _write_failure(path, error)
    return f"{path}: {error}; move the file away and run again: it is only a cache"


def _write_failure(path: Path, error: Exception) -> str:
    return (
        f"{path}: cannot be written ({error}); what was finished is kept: make room or permission, "
        "then `tunegate resume`"
    )


def _unwritable(path: Path, reason: str) -> str:
    return f"{path}: cannot be written ({reason}); name another file with --gate-store FILE"


def candidates_judged(path: Path) -> dict[str, int]:
    """Return suite hash → number of candidates that it has judged; the store is only read.

    Empty if the store is missing or unreadable: the runs have counts of their own.
    """
    if not path.is_file():
        return {}
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            rows = db.execute("SELECT suite, candidate FROM attempts").fetchall()
            tables = db.execute("SELECT name FROM sqlite_master WHERE name = 'suite_versions'")
            has_versions = tables.fetchone() is not None
            pairs = (
                db.execute("SELECT suite, rule FROM suite_versions").fetchall()
                if has_versions
                else []
            )
    except sqlite3.DatabaseError:
        return {}
    rules = {str(suite): str(rule) for suite, rule in pairs}
    judged: dict[str, set[str]] = defaultdict(set)
    for suite, candidate in rows:
        judged[rules.get(suite, suite)].add(candidate)
    return {str(suite): len(judged[rules.get(suite, suite)]) for suite, _ in rows}
