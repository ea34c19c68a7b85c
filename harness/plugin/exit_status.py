"""Exit status of a session: 13 > 12 > 1 > 10 > 11 > 0.

A failing gate does not count by itself: the run's verdict does. A user's test that fails with an
error of ours has that error's code; any other failing test has 1.

Texts of failed gates go to a terminal or a CI log, so `escape_control` removes what would be obeyed
there: GitHub obeys a line that begins with `::`, and a lone surrogate ends an xdist session.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.records.errors import TunegateError, Undecided, UsageError
from tunegate.harness.records.verdict import Verdict

PRECEDENCE = (
    Verdict.ERROR.exit_code,
    Verdict.NOT_COMPARABLE.exit_code,
    Verdict.BLOCK.exit_code,
    Verdict.UNDECIDED.exit_code,
    Verdict.HOLD.exit_code,
    Verdict.SHIP.exit_code,
)
_HOME = Path(__file__).resolve().parents[1]
_PROPERTY = "tunegate"
_OWN = frozenset(
    {
        pytest.ExitCode.OK,
        pytest.ExitCode.TESTS_FAILED,
        pytest.ExitCode.INTERRUPTED,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    }
)
"""Exit codes of pytest that a verdict replaces."""
LIMIT = 2_000
"""Longest text on the terminal; the report has the whole text."""


def escape_control(text: str) -> str:
    """Return the beginning of a text, escaped so that no terminal or CI obeys it."""
    from tunegate.harness.records.hidden_text import escape_terminal

    return escape_terminal(text if len(text) <= LIMIT else text[: LIMIT - 1] + "…")


def mark_report(
    report: pytest.TestReport,
    excinfo: pytest.ExceptionInfo[BaseException],
    *,
    gate: bool,
    undecided: str,
) -> None:
    """Note the exit code of a failure on its report, which xdist passes on."""
    error = excinfo.value
    if isinstance(error, Undecided) and undecided != "fail":
        path, line, _ = report.location
        report.outcome = "skipped"
        report.longrepr = (path, line or 0, f"Skipped: {escape_control(str(error))}")
        return
    code = None
    if isinstance(error, GateFailed):
        code = 0
        vars(report)[UNJUDGED] = isinstance(error, UnevaluatedGate)
    elif isinstance(error, Undecided):
        code = Verdict.UNDECIDED.exit_code
        report.longrepr = f"{_user_location(excinfo)}: UNDECIDED: {escape_control(str(error))}"
    elif isinstance(error, TunegateError):
        code = int(pytest.ExitCode.USAGE_ERROR) if error.exit_code == 2 else error.exit_code
        report.longrepr = f"{_user_location(excinfo)}: {escape_control(str(error))}"
    elif gate:
        code = Verdict.ERROR.exit_code
    if code is not None:
        report.user_properties.append((_PROPERTY, code))


def _user_location(excinfo: pytest.ExceptionInfo[BaseException]) -> str:
    """Return file and line of the last frame that is not ours."""
    theirs = [f for f in excinfo.traceback if not Path(f.path).resolve().is_relative_to(_HOME)]
    found = theirs[-1] if theirs else excinfo.traceback[0]
    return f"{Path(found.path).name}:{found.lineno + 1}"


def codes_of_report(report: pytest.TestReport) -> set[int]:
    """Return the exit codes that a report stands for."""
    if not report.failed:
        return set()
    marks = {int(str(v)) for name, v in report.user_properties if name == _PROPERTY}
    if marks:
        return marks
    # An unmarked gate was on an xdist worker that died.
    died = "suite.toml::" in report.nodeid
    return {Verdict.ERROR.exit_code if died else Verdict.BLOCK.exit_code}


def code_of_error(error: TunegateError) -> int:
    """Return the exit code of an error that ended the run."""
    if isinstance(error, UsageError):
        return int(pytest.ExitCode.USAGE_ERROR)
    return error.exit_code


def decide_exit_code(codes: Iterable[int], status: int) -> int:
    """Return the session's exit code."""
    ended = set(codes)
    if int(pytest.ExitCode.USAGE_ERROR) in ended:
        return int(pytest.ExitCode.USAGE_ERROR)
    if status == pytest.ExitCode.INTERNAL_ERROR:
        return Verdict.ERROR.exit_code
    if not ended or status not in _OWN:
        return status
    return next(code for code in PRECEDENCE if code in ended)


UNJUDGED = "tunegate_unjudged"
"""Mark on the report of a gate that could not be judged."""


class GateFailed(Exception):
    """A gate did not pass; the message is made of sentences."""


class UnevaluatedGate(GateFailed):
    """The run ended before the gate could be judged; the message gives the cause."""


class FailureReason:
    """Why something failed, printed once at the end of the run.

    `str` gives the whole text, for JUnit files and others that read reports.
    """

    def __init__(self, text: str) -> None:
        """Keep the reason."""
        self.text = text

    def __str__(self) -> str:
        """Return the reason."""
        return self.text

    def toterminal(self, terminal: Any) -> None:
        """Write where it is."""
        terminal.line("not evaluated: see the tunegate section below")


def say_once(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Restore the `FailureReason` that an xdist worker sent as text."""
    unread = report.failed and report.nodeid.endswith("suite.toml")
    if isinstance(report.longrepr, str) and (unread or vars(report).get(UNJUDGED)):
        report.longrepr = FailureReason(report.longrepr)  # type: ignore[assignment]  # pytest takes any
