"""The errors that tunegate shows to people, with their exit codes.

```
TunegateError               13  anything of ours that stops a run
├── UsageError               2  the user's mistake: where, what, what is allowed, what to do
│   ├── SuiteError           2  problems in suite files, all of them at once
│   ├── UnknownName          2  a name that matches nothing, with "did you mean", or several
│   ├── ModelError           2  a model spec that cannot be opened
│   ├── UnsafeWeights        2  a file that could run code when loaded
│   └── MissingExtra         2  an optional dependency that this job needs
├── NotComparable           12  the arms differ in more than the weights
├── BackendError            13  a backend, store or disk that failed in mid-run; resumable
└── RunInterrupted         130  Ctrl-C; finished answers are stored
Undecided               (assert) too little evidence for a user's assert either way
```

A `TunegateError` is printed as one line. Any other error is a bug of ours and keeps its traceback.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches

_ADDRESS = re.compile(r":/{1,2}")
"""Separator before the authority of a URL; `Path` writes one slash of the two."""


def hide_credentials(text: str) -> str:
    """Return a text with `…` for the user and password of every URL.

    A password may contain `/`, `#` and `@`, so everything from `://` to the last `@` of the word is
    hidden.
    """
    if "@" not in text:
        return text
    return "".join(_hide_in_word(word) for word in re.split(r"(\s+)", text))


def _hide_in_word(word: str) -> str:
    begin, end = _ADDRESS.search(word), word.rfind("@")
    if begin is None or end <= begin.end():
        return word
    return f"{word[: begin.end()]}…{word[end:]}"


class RewardFailed(Exception):
    """A reward function raised, or returned something other than a number; training must stop."""


class OutOfMemory(Exception):
    """A batch did not fit into memory; half of it may."""


class TunegateError(Exception):
    """An error with a message for the user: one sentence and the remedy, without credentials."""

    exit_code = 13

    def __str__(self) -> str:
        """Return the message, with the passwords of URLs hidden."""
        return hide_credentials(super().__str__())

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows in place of a traceback [IPython]."""
        return [f"tunegate: {line}" for line in str(self).splitlines()]


class UsageError(TunegateError):
    """The user asked for something that cannot be done as asked."""

    exit_code = 2


@contextmanager
def refuse_unwritable(place: object, remedy: str = "choose another place") -> Iterator[None]:
    """Turn an OSError inside into one line with the place and the remedy.

    Raises:
        UsageError: writing failed.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"{place}: cannot be written ({reason}); {remedy}") from error


@contextmanager
def refuse_unreadable(place: object, remedy: str = "") -> Iterator[None]:
    """Turn an OSError inside, or text that is not UTF-8, into one line with the place.

    Raises:
        UsageError: reading failed.
    """
    try:
        yield
    except OSError as error:
        reason, remedy = error.strerror or error, remedy and f"; {remedy}"
        raise UsageError(f"{place}: cannot be read ({reason}){remedy}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{place}: not UTF-8 ({error.reason}); save it as UTF-8") from error


class SuiteError(UsageError):
    """All problems in the files of a suite, so that one edit can fix them."""

    def __init__(self, problems: Sequence[str]) -> None:
        """Take the problems, each one line of the form `file:line: what; remedy`."""
        self.problems = tuple(hide_credentials(problem) for problem in problems)
        super().__init__("\n".join(self.problems))


class UnknownName(UsageError):
    """A name that matches no metric, source, backend or command, or more than one."""


def error_reason(error: BaseException) -> str:
    """Return the first line of an error's text (the first two after a colon), or its type."""
    try:
        text = str(error)
    except Exception:  # the `__str__` of a user's error may fail
        text = ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    announces = len(lines) > 1 and lines[0].endswith(":")
    return " ".join(lines[: 2 if announces else 1]) or type(error).__name__


def error_summary(error: BaseException) -> str:
    """Return an error's type and reason, cut to 300 characters."""
    name, reason = type(error).__name__, error_reason(error)
    return name if reason == name else f"{name}: {reason}"[:300]


def unknown_name_message(name: str, allowed: tuple[str, ...], *, what: str) -> str:
    """Return the sentence for a name that is not among `allowed`."""
    same = [one for one in allowed if one.lower() == name.lower()]
    near = same or get_close_matches(name, allowed, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else "there are: " + ", ".join(allowed)
    return f"unknown {what} {name!r}; {hint}"


class ModelError(UsageError):
    """A model spec that cannot be opened."""


class UnsafeWeights(UsageError):
    """Weights or configuration that could run code when loaded."""


class MissingExtra(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, needed_for: str, extra: str) -> None:
        """Take the job that needs the extra, and the extra's name."""
        super().__init__(
            f"{needed_for} needs packages that are not installed: pip install 'tunegate[{extra}]'"
        )


class NotComparable(TunegateError):
    """The arms differ in more than the weights, or the adapter is not active."""

    exit_code = 12


class BackendError(TunegateError):
    """A model backend, the store or the disk failed; finished answers are kept."""


class RunInterrupted(TunegateError):
    """The user stopped the run; finished answers are kept."""

    def __init__(self, text: str, signal_number: int = signal.SIGINT) -> None:
        """Set the exit code of the signal, as shells do: 130 for Ctrl-C, 143 for SIGTERM."""
        super().__init__(text)
        self.exit_code = 128 + signal_number


class Undecided(AssertionError):
    """An assert on a delta (`Delta.gains`, `Delta.holds`) that is neither proven nor refuted.

    It fails the test, and counts as UNDECIDED (exit 10), not as BLOCK.
    """
