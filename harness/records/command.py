"""The command of a run, as a user types it in a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

GATE_PREFIX = "--gate-"
"""How pytest's options begin that are options of `tunegate gate` without it."""
NO_ADDOPTS = ("-o", "addopts=")
"""The options that a project gives its tests (`-k`, `--collect-only`) must not thin out a gate."""
PYTEST_QUIETLY = (
    "-p",
    "no:cacheprovider",
    "--no-header",
    "-q",
    "--rootdir=.",
    # We are imported before pytest could rewrite our asserts, and have none to rewrite.
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)
"""Arguments that `tunegate gate` adds to those of its user, before the options."""


def shell_words(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words that stand for arguments of pytest in a shell, as a user types them.

    Those of `tunegate gate` give that command, any others one of pytest; none give none.
    """
    size = len(PYTEST_QUIETLY)
    starts = (at for at in range(len(command)) if command[at : at + size] == PYTEST_QUIETLY)
    at = next(starts, None)
    if at is None:
        return ("pytest", *command) if command else ()
    before, after = list(command[:at]), command[at + size :]
    if tuple(before[-2:]) == NO_ADDOPTS:
        del before[-2:]
    options = tuple(takewhile(lambda word: word.startswith(GATE_PREFIX), after))
    rest = after[len(options) :]
    typed = (f"--{word.removeprefix(GATE_PREFIX)}" for word in options)
    return ("tunegate", "gate", *before, *typed, *(("--", *rest) if rest else ()))


def resume_command(folder: Path | str, command: Sequence[str]) -> str:
    """Return what a user types to go on with a run in a folder that was begun by a command."""
    words = shell_words(without_run_folder(command))
    if words[:2] == ("tunegate", "gate"):
        return shlex.join(("tunegate", "resume", str(folder), *words[2:]))
    return shlex.join((*words, f"{GATE_PREFIX}run-dir={folder}"))


def without_run_folder(command: Sequence[str]) -> tuple[str, ...]:
    """Return a command without its run folder, which may have moved since."""
    option = f"{GATE_PREFIX}run-dir"
    return tuple(
        word
        for before, word in zip(("", *command), command, strict=False)
        if option not in (before, word) and not word.startswith(f"{option}=")
    )


def typed_options(text: str, command: Sequence[str]) -> str:
    """Return a message that names options as they were typed: `tunegate gate` has no prefix.

    Args:
        text: The message, with options as pytest has them.
        command: The arguments of the pytest session.
    """
    if not set(PYTEST_QUIETLY) <= set(command):
        return text
    return re.sub(rf"{GATE_PREFIX}(?=[a-z])", "--", text)
