"""The log of a GitHub job: what tests print is not obeyed, and what we say in the end is.

pytest prints captured output at the start of a line, where GitHub reads `::error::` and
`::add-mask::` as commands, also when a model wrote them. While a gate session is at work it is
told to read none, until a word comes that nobody could have guessed.

Reference: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from harness.plugin.session import GateSession


@dataclass(eq=False)
class GitHubHooks:
    """The hooks of a gate session that is a step of a GitHub job."""

    state: GateSession
    token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    def begin(self) -> None:
        """Stop the reading of commands."""
        self._say(f"::stop-commands::{self.token}")

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Have commands read again, and give ours. (pytest_unconfigure)"""
        self._say(f"::{self.token}::", *self.state.workflow_commands())

    def _say(self, *lines: str) -> None:
        with self.state.uncaptured():
            # The line before may not have ended: a command is one only where a line begins.
            sys.stdout.write("\n" + "".join(f"{line}\n" for line in lines))
            sys.stdout.flush()


def guard(config: pytest.Config, state: GateSession) -> None:
    """Stop commands from here to the session's end, where this process writes a GitHub log."""
    if os.environ.get("GITHUB_ACTIONS") == "true" and not state.worker:
        hooks = GitHubHooks(state)
        hooks.begin()
        config.pluginmanager.register(hooks, "tunegate-github")


def repository() -> Path:
    """Return the folder from which CI names files."""
    return Path(os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR") or ".")
