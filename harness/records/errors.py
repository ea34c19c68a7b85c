"""The errors that tunegate shows to people, and the exit code each of them stands for.

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
└── RunInterrupted         130  Ctrl-C; what was finished is stored
Undecided               (assert) too little evidence for a user's assert either way
```

A `TunegateError` is printed as one line. Anything else is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from difflib import get_close_matches

_ADDRESS = re.compile(r":/{1,2}")
"""Separator before the authority of a URL; `Path` writes one slash of the two."""


def hide_credentials(text: str) -> str:
    """Return a text in which the user and password of every URL is `…`.

    A password may hold any character but white space, also `/`, `#` and `@`; so everything between
    `://` and the last `@` of the word is hidden.
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
    """A reward function raised, or returned what is no number: the training cannot go on."""


class OutOfMemory(Exception):
    """The machine's memory did not hold a batch; halves of it may fit."""


class TunegateError(Exception):
    """An error whose message is written for the user: one sentence and the remedy.

    Its text never holds the password of a URL, whichever value of the user it quotes.
    """

    exit_code = 13

    def __str__(self) -> str:
        """Return the message without credentials."""
        return hide_credentials(super().__str__())


class UsageError(TunegateError):
    """The user asked for something that cannot be done as asked."""

    exit_code = 2


class SuiteError(UsageError):
    """Problems in the files of a suite, collected so that one edit can fix them all."""

    def __init__(self, problems: Sequence[str]) -> None:
        """Keep the problems, each of them one line of the form `file:line: what; remedy`."""
        self.problems = tuple(hide_credentials(problem) for problem in problems)
        super().__init__("\n".join(self.problems))


class UnknownName(UsageError):
    """A name that matches no metric, source, backend or command, or more than one."""


def error_reason(error: BaseException) -> str:
    """Return the first line of an error's text, or its type where it has none.

    Where the first line only announces others, the next one is added.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    announces = len(lines) > 1 and lines[0].endswith(":")
    return " ".join(lines[: 2 if announces else 1]) or type(error).__name__


def error_summary(error: BaseException) -> str:
    """Return an error's type and reason, cut to a length that fits a report."""
    name, reason = type(error).__name__, error_reason(error)
    return name if reason == name else f"{name}: {reason}"[:300]


def unknown_name_message(name: str, allowed: tuple[str, ...], *, what: str) -> str:
    """Return the sentence for a name that is not among `allowed`."""
    near = get_close_matches(name, allowed, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else "there are: " + ", ".join(allowed)
    return f"unknown {what} {name!r}; {hint}"


class ModelError(UsageError):
    """A model spec that names nothing that can be opened."""


class UnsafeWeights(UsageError):
    """Weights or configuration that could run code when loaded."""


class MissingExtra(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, needed_for: str, extra: str) -> None:
        """Say what needs the extra and how to install it."""
        super().__init__(
            f"{needed_for} needs packages that are not installed: pip install 'tunegate[{extra}]'"
        )


class NotComparable(TunegateError):
    """The arms differ in more than the weights, or the adapter is not active."""

    exit_code = 12


class BackendError(TunegateError):
    """A model backend, the store or the disk failed; what was finished is kept."""

    exit_code = 13


class RunInterrupted(TunegateError):
    """The user stopped the run; finished completions are stored."""

    def __init__(self, text: str, signal_number: int = signal.SIGINT) -> None:
        """Keep the signal: shells know 130 as Ctrl-C and 143 as SIGTERM."""
        super().__init__(text)
        self.exit_code = 128 + signal_number


class Undecided(AssertionError):
    """An assert on a delta that the evidence neither proves nor refutes.

    Raised by `Delta.gains` and `Delta.holds`. It fails the test that asked, and counts as
    UNDECIDED (exit 10) rather than as BLOCK.
    """
