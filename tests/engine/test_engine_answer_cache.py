"""The store: durable, shared, honest about damage."""

from __future__ import annotations

import multiprocessing
import signal
import sqlite3
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tunegate.harness.contracts.judge import JudgeAnswer
from tunegate.harness.engine.answer_cache import (
    AnswerCache,
    JudgedAttempt,
    SuiteVersion,
    candidates_judged,
)
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.errors import BackendError, RunInterrupted, UsageError

ODD = "NUL \x00, \x1b[31m, \ufffe, \u202e, \ufeff, \n"


def _cell(key: str = "k") -> Cell:
    return Cell(suite="s", case="c", arm="base", kind=CellKind.GENERATE, key=key)


def _answer(key: str = "k", text: str = "yes") -> StoredAnswer:
    completion = Completion(text=text, output_tokens=1, latency_s=0.5)
    return StoredAnswer.of(_cell(key), completion, None, 12.5)


def _error(key: str = "k") -> StoredAnswer:
    return StoredAnswer.of(_cell(key), None, "HTTP 500", 1.0)


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> AnswerCache:
    return AnswerCache(tmp_path / "deep" / "store.sqlite")


def test_what_is_put_is_there(store: AnswerCache) -> None:
    store.put(_answer())
    missing = StoredAnswer(cell=_cell("other"), status="missing", error="it was never answered")
    assert list(store.read([_cell(), _cell("other")])) == [_answer(), missing]
    assert store.completions(["k", "other"]) == {"k": _answer().completion}
    store.close()
    assert list(AnswerCache(store.path).read([_cell()])) == [_answer()]


def test_the_folder_of_a_project_ignores_itself_when_it_is_new(tmp_path: Path) -> None:
    """As pytest's cache; whoever deletes the file, or has another folder, is left alone."""
    ignore = tmp_path / ".tunegate" / ".gitignore"

    AnswerCache(tmp_path / ".tunegate" / "store.sqlite").close()
    assert ignore.read_text(encoding="utf-8").endswith("\n*\n")
    ignore.unlink()
    AnswerCache(tmp_path / ".tunegate" / "store.sqlite").close()
    AnswerCache(tmp_path / "cells" / "store.sqlite").close()

    assert not ignore.exists()
    assert not (tmp_path / "cells" / ".gitignore").exists()


def test_cells_of_one_key_share_an_answer(store: AnswerCache) -> None:
    store.put(_answer())
    cells = [_cell(), replace(_cell(), arm="tuned")]
    assert [a.cell.arm for a in store.read(cells)] == ["base", "tuned"]
    assert {a.completion for a in store.read(cells)} == {_answer().completion}
    assert [a.cache_hit for a in store.read(cells, {"k"})] == [True, True]


def test_an_answer_to_a_judges_question_is_kept(store: AnswerCache) -> None:
    """It has a key and no cell; time and completion come back."""
    answer = JudgeAnswer("q", Completion(text="5"), None, 3.5)
    store.put(answer)
    assert store.judge_answers(["q", "other"]) == {"q": answer}


def test_odd_text_round_trips(store: AnswerCache) -> None:
    store.put(_answer("k", ODD))
    assert store.completions(["k"])["k"].text == ODD


def test_more_keys_than_sqlite_takes_at_once(store: AnswerCache) -> None:
    store.put(_answer("k1999"))
    assert list(store.completions(f"k{i}" for i in range(2000))) == ["k1999"]
    assert store.completions([]) == {}


def test_the_first_completion_is_kept(store: AnswerCache) -> None:
    store.put(_answer("k", "first"))
    store.put(_answer("k", "second"))
    store.put(_error())
    assert store.completions(["k"])["k"].text == "first"


def test_rows_put_together_are_written_at_once(store: AnswerCache) -> None:
    """Other processes see them when the block ends; the block itself sees them before."""
    other = AnswerCache(store.path)
    with store.together():
        store.put(_answer("a"))
        store.put(_answer("b"))
        assert set(store.completions(["a", "b"])) == {"a", "b"}
        assert other.completions(["a", "b"]) == {}
    assert set(other.completions(["a", "b"])) == {"a", "b"}


def test_rows_put_together_are_all_there_or_none(store: AnswerCache) -> None:
    def broken_off() -> None:
        with store.together():
            store.put(_answer("a"))
            raise RunInterrupted("stopped at once")

    with pytest.raises(RunInterrupted):
        broken_off()
    other = AnswerCache(store.path)
    other.put(_answer("b"))
    assert set(store.completions(["a", "b"])) == {"b"}


def test_a_completion_can_be_replaced_on_purpose(store: AnswerCache) -> None:
    store.put(_answer("k", "first"))
    store.put(_answer("k", "second"), replace=True)
    assert store.completions(["k"])["k"].text == "second"


def test_errors_are_tried_again(store: AnswerCache) -> None:
    """An error is kept, is not reusable, and makes way for a completion; attempts are counted."""
    store.put(_error())
    assert list(store.read([_cell()])) == [_error()]
    assert store.completions(["k"]) == {}
    assert store.answered(["k"]) == set()
    store.put(_answer())
    assert list(store.completions(["k"])) == ["k"]
    with sqlite3.connect(store.path) as db:
        assert db.execute("SELECT status, attempts, error FROM cells").fetchall() == [
            ("ok", 2, None)
        ]
    db.close()


@pytest.mark.parametrize(
    "change",
    [
        "payload = replace(payload, 'yes', 'no')",
        "sha256 = replace(sha256, substr(sha256, 1, 1), 'x')",
        "payload = '{'",
        "payload = cast(x'ff22fe' as text)",
        "payload = replace(payload, '\"text\"', '\"test\"')",
    ],
)
def test_a_damaged_row_is_a_miss_and_heals(store: AnswerCache, change: str) -> None:
    """A row that fails its checksum is missing; asked again, it is rewritten; others stay."""
    store.put(_answer())
    store.put(_answer("other"))
    with sqlite3.connect(store.path) as db:
        db.execute(f"UPDATE cells SET {change} WHERE key = 'k'")
    db.close()
    assert list(store.completions(["k", "other"])) == ["other"]
    store.put(_answer("k", "again"))
    assert store.completions(["k"])["k"].text == "again"


def test_a_flipped_byte_is_a_miss(store: AnswerCache) -> None:
    """A byte of an answer that the disk changed makes that cell a miss, not another answer."""
    store.put(_answer("k", "unmistakable"))
    store.put(_answer("other"))
    store.close()
    data = store.path.read_bytes()
    assert data.count(b"unmistakable") == 1
    store.path.write_bytes(data.replace(b"unmistakable", b"unmistakeble"))
    assert list(AnswerCache(store.path).completions(["k", "other"])) == ["other"]


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"something else entirely, and long enough to be looked at" * 100)
    with pytest.raises(BackendError, match=r"store.sqlite: file is not a database; move the file"):
        AnswerCache(path)


def test_a_truncated_database(store: AnswerCache) -> None:
    """A truncated database is reported in one line, not as an answer or a traceback."""
    for i in range(60):
        store.put(_answer(f"k{i}", "x" * 400))
    store.close()
    size = store.path.stat().st_size
    with store.path.open("r+b") as file:
        file.truncate(size - 8192)
    with pytest.raises(BackendError, match="move the file away and run again"):
        AnswerCache(store.path).completions(f"k{i}" for i in range(60))


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match=r"cannot be written .*--gate-store FILE"):
        AnswerCache(tmp_path / "file" / "store.sqlite")


def test_a_read_only_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def read_only(path: Path, **options: object) -> sqlite3.Connection:
        return connect(f"file:{path}?mode=ro", uri=True, **options)

    AnswerCache(tmp_path / "store.sqlite").close()
    with connect(tmp_path / "store.sqlite") as db:
        db.execute("DROP TABLE attempts")
    db.close()
    monkeypatch.setattr(sqlite3, "connect", read_only)
    with pytest.raises(UsageError, match="cannot be written"):
        AnswerCache(tmp_path / "store.sqlite")


def test_a_full_disk(store: AnswerCache) -> None:
    """When the disk is full the run stops with what was finished, and goes on after."""
    store.put(_answer())
    store._db.execute("PRAGMA max_page_count = 1")
    with pytest.raises(BackendError, match=r"cannot be written .*kept: make room"):
        store.put(_answer("big", "x" * 100_000))
    store._db.execute("PRAGMA max_page_count = 100000")
    store.put(_answer("big", "x" * 100_000))
    assert len(store.completions(["k", "big"])) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of a file's size there")
def test_a_store_that_finds_no_room_at_its_beginning(tmp_path: Path) -> None:
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(BackendError, match=r"cannot be written .*: make room") as error:
            AnswerCache(tmp_path / "store.sqlite")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert "move the file away" not in str(error.value)


def test_a_signal_in_the_middle_of_a_write(
    store: AnswerCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tunegate.harness.engine.answer_cache.sha256",
        lambda text: signal.raise_signal(signal.SIGUSR1),
    )

    def stop(number: int, frame: object) -> None:
        raise RunInterrupted("stopped at once")

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(RunInterrupted):
            store.put(_answer())
    finally:
        signal.signal(signal.SIGUSR1, before)
    monkeypatch.undo()
    other = AnswerCache(store.path)
    other.put(_answer())
    assert list(store.completions(["k"])) == ["k"]


def test_the_ledger_counts_candidates(store: AnswerCache) -> None:
    assert attempts(store, "st", "first") == {"s": 1, "t": 1}
    assert attempts(store, "s", "second") == {"s": 2}
    assert attempts(store, "s", "first") == {"s": 1}
    assert attempts(store, "tu", "second") == {"t": 2, "u": 1}
    assert attempts(store, "", "third") == {}


def attempts(store: AnswerCache, suites: str, candidate: str) -> dict[str, int]:
    """Record a candidate on suites of one letter; return as which one of each."""
    versions = [SuiteVersion(name, f"rule of {name}", 100) for name in suites]
    return {n: found.number for n, found in store.record_attempt(versions, candidate).items()}


def test_a_suite_that_was_extended_goes_on_counting(store: AnswerCache) -> None:
    small, other, large, cut = (
        SuiteVersion(digest, "rule", n)
        for digest, n in (("a", 100), ("b", 100), ("c", 300), ("d", 250))
    )

    def found(version: SuiteVersion, candidate: str, *, whole: bool = True) -> tuple[int, int]:
        attempt = store.record_attempt([version], candidate, whole=whole)[version.hash]
        return attempt.number, attempt.extended

    assert found(small, "first") == (1, 0)
    assert found(small, "second") == (2, 0)
    assert found(other, "first") == (1, 0)  # a case was reworded: as many cases as before
    assert found(large, "third") == (3, 0)
    assert found(large, "first") == (1, 1)
    assert found(large, "first") == (1, 1)
    assert found(small, "first") == (1, 0)  # the first run once more
    assert found(cut, "first") == (1, 2)  # what is taken away is a second chance, too
    assert candidates_judged(store.path) == {"a": 3, "b": 3, "c": 3, "d": 3}


def test_a_look_at_some_cases_is_no_smaller_version(store: AnswerCache) -> None:
    few, all_ = SuiteVersion("a", "rule", 20), SuiteVersion("a", "rule", 100)

    store.record_attempt([few], "first", whole=False)

    assert store.record_attempt([all_], "first") == {"a": JudgedAttempt(1, 0)}


def test_a_store_from_before_versions_were_kept(store: AnswerCache, tmp_path: Path) -> None:
    attempts(store, "s", "first")
    with sqlite3.connect(store.path) as db:
        db.execute("DROP TABLE suite_versions")
    db.close()
    assert candidates_judged(store.path) == {"s": 1}

    assert attempts(AnswerCache(store.path), "s", "second") == {"s": 2}


def _write(path: Path, name: int, start: object) -> None:
    start.wait()  # type: ignore[attr-defined]  # an Event
    store = AnswerCache(path)
    for i in range(40):
        store.put(_answer(f"k{i}", f"by {name}"))
    store.close()


def test_the_ledger_is_read_without_being_touched(store: AnswerCache, tmp_path: Path) -> None:
    """Candidates by suite; nothing if the file is missing or not a store."""
    attempts(store, "st", "first")
    attempts(store, "s", "second")
    other = tmp_path / "other.sqlite"
    other.write_text("no database at all, but long enough to be looked at as one", encoding="utf-8")

    assert candidates_judged(store.path) == {"s": 2, "t": 1}
    assert candidates_judged(other) == {}
    assert candidates_judged(tmp_path / "none.sqlite") == {}
    assert not (tmp_path / "none.sqlite").exists()


def test_eight_processes_write_one_store(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    path = tmp_path / "store.sqlite"
    writers = [context.Process(target=_write, args=(path, i, start)) for i in range(8)]
    for writer in writers:
        writer.start()
    start.set()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 8
    assert len(AnswerCache(path).answered(f"k{i}" for i in range(40))) == 40
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*), sum(attempts) FROM cells").fetchone() == (40, 40)
    db.close()


def test_the_candidate_before(store: AnswerCache) -> None:
    """The last other candidate of each suite is remembered; a suite without one is left out."""
    attempts(store, "st", "first")
    attempts(store, "s", "second")
    suites = [SimpleNamespace(name="one", hash="s"), SimpleNamespace(name="two", hash="t")]

    assert store.judged_before(suites, "third") == {"one": "second", "two": "first"}
    assert store.judged_before(suites, "first") == {"one": "second"}
