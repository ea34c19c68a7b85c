"""Progress inside a notebook: tqdm's bar, and notes as plain output."""

from __future__ import annotations

import io
import sys
import warnings
from importlib.util import find_spec
from typing import Any, TextIO


def notebook_stream() -> TextIO | None:
    """Return a stream for a notebook's cells; None elsewhere, which means standard error."""
    interactive = sys.modules.get("IPython")
    shell = None if interactive is None else interactive.get_ipython()
    if not hasattr(shell, "kernel"):
        return None
    return NotebookStream() if find_spec("tqdm") else sys.stdout


class NotebookStream(io.StringIO):
    """Writes notes to the output of the cell that runs now, and progress as a `Bar`."""

    bar: Any = None

    def write(self, text: str) -> int:
        """Write a note to standard output, which notebooks show without a red background."""
        return sys.stdout.write(text)

    def flush(self) -> None:
        """Show what was written."""
        sys.stdout.flush()

    def show_share(self, share: float, text: str) -> None:
        """Move the bar, which appears when there is something to show."""
        if self.bar is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of widgets that are not installed
                from tqdm.auto import tqdm

                form = "{percentage:3.0f}%|{bar}| {desc}"
                self.bar = tqdm(total=100, leave=False, bar_format=form, file=sys.stdout)
        self.bar.n = round(100 * share)
        self.bar.set_description_str(text)

    def end_bar(self) -> None:
        """Take the bar away; a later part of the run shows another."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
