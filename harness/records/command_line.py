"""The command of a run, as a user types it in a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

GATE_PREFIX = "--gate-"
"""Prefix of pytest's options that `tunegate gate` has without it."""
NO_ADDOPTS = ("-o", "addopts=")
"""Keeps a project's own pytest options (`-k`, `--collect-only`) from thinning out a gate."""
PYTEST_QUIETLY = (
    "-p",
    "no:cacheprovider",
    "--no-header",
    "-q",
    "--rootdir=.",
    # We are imported before pytest can rewrite asserts, and have none.
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
)
"""Arguments that `tunegate gate` adds to the user's, before the options."""


def shell_words(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the shell words for arguments of pytest: `tunegate gate …` if it made them.

    No arguments give no words.
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
    """Return the shell command that resumes a run in a folder."""
    words = shell_words(without_run_folder(command))
    if words[:2] == ("tunegate", "gate"):
        return shlex.join(("tunegate", "resume", str(folder), *words[2:]))
    return shlex.join((*words, f"{GATE_PREFIX}run-dir={folder}"))


def without_run_folder(command: Sequence[str]) -> tuple[str, ...]:
    """Return a command without its run folder, which may have moved."""
    return _without_option(command, f"{GATE_PREFIX}run-dir")


def without_secrets(command: Sequence[str]) -> tuple[str, ...]:
    """Return a command without the address of a webhook, which may hold a token."""
    return _without_option(command, f"{GATE_PREFIX}notify")


def _without_option(command: Sequence[str], option: str) -> tuple[str, ...]:
    return tuple(
        word
        for before, word in zip(("", *command), command, strict=False)
        if option not in (before, word) and not word.startswith(f"{option}=")
    )


def typed_options(text: str, command: Sequence[str]) -> str:
    """Return a message with options spelled as the user typed them: without pytest's prefix.

    Args:
        text: The message, with options as pytest spells them.
        command: The arguments of the pytest session.
    """
    if not set(PYTEST_QUIETLY) <= set(command):
        return text
    return re.sub(rf"{GATE_PREFIX}(?=[a-z])", "--", text)
