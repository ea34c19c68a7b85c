"""The rules behind the exit code, and the text that reaches a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.plugin import exit_status
from tunegate.harness.plugin.exit_status import LIMIT, escape_control
from tunegate.harness.records.errors import (
    BackendError,
    NotComparable,
    RunInterrupted,
    SuiteError,
    TunegateError,
    UsageError,
)
from tunegate.harness.run.folder_lock import FolderLock, error_from


@pytest.mark.parametrize(
    ("codes", "given", "expected"),
    [
        ({13, 12, 1, 10, 11, 0}, 1, 13),
        ({12, 1, 10, 11, 0}, 1, 12),
        ({1, 10, 11, 0}, 1, 1),
        ({10, 11, 0}, 1, 10),
        ({11, 0}, 1, 11),
        ({0}, 1, 0),
        ({4, 13}, 1, 4),  # a usage error ends the session before any verdict
        (set(), 5, 5),  # nothing of ours: pytest's own
        ({0}, 3, 13),  # a crash inside pytest is not a success
        ({0}, 77, 77),  # pytest.exit(returncode=77)
        ({1}, 2, 1),  # xdist calls -x an interruption
    ],
)
def test_precedence(codes: set[int], given: int, expected: int) -> None:
    """13 before 12 before 1 before 10 before 11 before 0."""
    assert exit_status.decide_exit_code(codes, given) == expected


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 4),
        (SuiteError(["x"]), 4),
        (NotComparable("x"), 12),
        (BackendError("x"), 13),
        (RunInterrupted("stopped by signal 2"), 130),
        (RunInterrupted("stopped by signal 15", 15), 143),
    ],
)
def test_every_error_has_its_code(error: TunegateError, code: int) -> None:
    """A user's mistake is pytest's 4, a signal is 128 and its number."""
    assert exit_status.code_of_error(error) == code


@pytest.mark.parametrize(
    "error", [UsageError("a"), NotComparable("b"), BackendError("c"), RunInterrupted("d")]
)
def test_an_error_survives_the_way_to_another_process(error: TunegateError) -> None:
    again = error_from(error.exit_code, str(error))

    assert (type(again), str(again)) == (type(error), str(error))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\nlines", "plain\nlines"),
        ("\ud800", "\\ud800"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("::error::x", ": :error::x"),
        ("a\n  ::add-mask::x", "a\n  : :add-mask::x"),
        ("##[group]", "## [group]"),
        ("a\u202eb", "a\\u202eb"),
        ("x" * 3000, "x" * (LIMIT - 1) + "…"),
    ],
)
def test_text_is_inert(text: str, shown: str) -> None:
    """What a terminal or a CI service would obey is written out."""
    assert escape_control(text) == shown


def test_a_folder_has_one_session_and_names_its_process(tmp_path: Path) -> None:
    """A foreign session is refused; the holder's process id is in the message."""
    folder = tmp_path / "run"
    with (
        FolderLock(folder),
        pytest.raises(UsageError, match=r"another run uses this folder \(process \d+\)"),
        FolderLock(folder, shared_by="theirs"),
    ):
        pass


def test_a_folder_is_held_until_its_reports_are_written(project: Any) -> None:
    """Another gate in the same folder is refused between the verdict and the page."""
    project.suite()
    (project.path / "conftest.py").write_text(
        "import pytest\n"
        "from pathlib import Path\n"
        "from tunegate.harness.records.errors import UsageError\n"
        "from tunegate.harness.run.folder_lock import FolderLock\n"
        "@pytest.hookimpl(wrapper=True, tryfirst=True)\n"
        "def pytest_sessionfinish(session):\n"
        "    with pytest.raises(UsageError), FolderLock(Path('run')):\n"
        "        pass\n"
        "    yield\n"
        "    with FolderLock(Path('run')):\n"
        "        Path('told').write_text('both')\n",
        encoding="utf-8",
    )

    result = project.gate(*project.models())

    assert (result.ret, Path("told").read_text()) == (0, "both")
    assert not Path("run/holder.json").exists()


def test_workers_learn_how_the_run_ended(tmp_path: Path) -> None:
    with FolderLock(tmp_path, shared_by="s") as first:
        assert not first.done
    with FolderLock(tmp_path, shared_by="s") as second:
        assert second.done
    with FolderLock(tmp_path, shared_by="other") as stranger:
        assert not stranger.done
    with pytest.raises(UsageError), FolderLock(tmp_path, shared_by="t"):
        raise UsageError("no such model")
    with FolderLock(tmp_path, shared_by="t") as late:
        assert str(late.error) == "no such model"


def test_a_folder_made_for_nothing_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(UsageError), FolderLock(folder):
        raise UsageError("no such model")

    assert not folder.exists()
