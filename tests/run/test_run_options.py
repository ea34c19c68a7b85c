"""The options of a run, and what it says to the user."""

from __future__ import annotations

import io
from pathlib import Path

from tunegate.harness.run.options import RunOptions


def test_a_line_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    """A path of a stranger's card may hold what a terminal or a CI obeys."""
    stream = io.StringIO()
    options = RunOptions(suites=(), specs={}, folder=tmp_path, store=tmp_path, stream=stream)

    options.say("what \x1b[2Jrows\n::error::x was trained on")

    assert stream.getvalue() == "tunegate: what \\u001b[2Jrows\n: :error::x was trained on\n"
