"""What an exception says, in one line."""

from __future__ import annotations

from typing import Any

_LONGEST = 500


def describe_error(error: BaseException) -> str:
    """Return the first line of an exception's message."""
    try:
        lines = str(error.msg if isinstance(error, SyntaxError) else error).splitlines()
    except BaseException:  # the answer's own class
        lines = []
    return lines[0][:_LONGEST] if lines else ""


def last_line(error: BaseException, file: str) -> int | None:
    """Return the last line of a file on the way to an exception."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def show_value(value: Any) -> str:
    """Return a value as a message shows it."""
    try:
        text = repr(value)
    except BaseException as error:
        text = f"a value whose repr raises {type(error).__name__}"
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
