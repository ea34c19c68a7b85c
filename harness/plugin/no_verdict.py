"""A run that ends without a verdict: its sentence goes where CI looks for summary and comment."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.files import write_atomic
from tunegate.harness.run.exports import EXPORTS, refuse_unwritable_exports


def leave_sentence(folder: str | None, summary: str | None, sentence: str) -> None:
    """Write why there is no verdict into a run folder that was named, and to the summary's file.

    A finished run in that folder stays as it is. A folder that cannot be written is left alone.
    """
    from tunegate.reports.escaping import fenced_block
    from tunegate.reports.markdown import MARKER

    text = f"### tunegate: no verdict\n\n{fenced_block(sentence, 'text')}\n"
    with suppress(OSError, UsageError):
        if folder and not (Path(folder) / "verdict.json").exists():
            write_atomic(Path(folder) / "comment.md", f"{MARKER}\n{text}")
            write_atomic(Path(folder) / "summary.md", text)
        if summary:
            refuse_unwritable_exports({**dict.fromkeys(EXPORTS), "summary": summary})
            write_atomic(Path(summary), text)


def leave_sentence_by(words: Sequence[str], sentence: str) -> None:
    """Do so for the words of a command line that cannot be read."""
    named = {name: value for name, value in pairwise(words) if not value.startswith("-")}
    named |= {name: value for name, given, value in (w.partition("=") for w in words) if given}
    leave_sentence(named.get("--run-dir"), named.get("--summary"), sentence)
