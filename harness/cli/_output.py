"""Printing of texts that others wrote: ids, tags, paths, sentences with them."""

from __future__ import annotations

import sys
from typing import TextIO


def say(*lines: str, file: TextIO | None = None, flush: bool = False) -> None:
    """Print lines; a terminal or the log of a CI obeys nothing in them."""
    from tunegate.harness.records.hidden_text import escape_terminal

    for line in lines:
        print(escape_terminal(line), file=file or sys.stdout, flush=flush)
