"""Terminal output of a gate run: the summary section, with GitHub workflow commands disarmed.

pytest prints captured output at the start of a line, where GitHub obeys `::error::` and
`::add-mask::` even if a model wrote them. During a gate session GitHub obeys nothing until it
reads a random token; then come our own commands.

Reference: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tunegate.harness.decision.verdict.early_ends import early_end_lines
from tunegate.harness.decision.verdict.verdict_lines import columns, verdict_lines
from tunegate.harness.plugin.exit_status import escape_control
from tunegate.harness.records.command_line import resume_command, typed_options
from tunegate.harness.records.errors import RunInterrupted, UsageError
from tunegate.harness.records.files import read_record, relative_path
from tunegate.harness.records.jsonl import read_records
from tunegate.harness.records.judgements import JUDGEMENTS_FILE, Judgement, judge_spending
from tunegate.harness.records.manifest import Manifest
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import Verdict

if TYPE_CHECKING:
    from tunegate.harness.plugin.session import GateSession


def write_section(state: GateSession, terminal: pytest.TerminalReporter) -> None:
    """Print the verdict, what to do next, the gates, the notes and the report."""
    lines = [typed_options(line, state.command) for line in _lines(state)]
    if not lines:
        return
    terminal.section("tunegate", sep="=")
    good = state.exit_status == 0
    for number, line in enumerate(lines):
        terminal.line(escape_control(line), green=good and not number, red=not good and not number)


def _lines(state: GateSession) -> Iterator[str]:
    if state.error is not None:
        yield from str(state.error).splitlines()
        yield from _remedy(state)
    elif state.verdict is not None:
        manifest = read_record(state.folder / "manifest.json", Manifest)
        folder = relative_path(state.folder)
        yield from verdict_lines(state.verdict, manifest, folder, state.typical)
        if any(suite.n_skipped_decided for suite in state.verdict.suites):
            yield from early_end_lines(Run.load(state.folder))
        for spent in judge_spending(read_records(state.folder / JUDGEMENTS_FILE, Judgement)):
            yield f"judging: {spent.suite} {spent.metric}: {spent.sentence}"
    elif state.codes - {0, 1}:
        code = state.exit_status
        names = {v.exit_code: v.value.replace("_", " ") for v in Verdict}
        yield f"{names.get(code or 0, 'ERROR')}: {state.why or 'see the failed tests above'}"
    elif state.why:
        yield f"no verdict: {state.why}"
    yield from (
        f"note: {relative_path(file)} is not called suite.toml, so its gates were not run"
        for file in state.renamed_suites()
    )
    if state.compared:  # by tests with the `gate` fixture
        head = ("suite", "metric", "tuned", "base → tuned", "difference", "cases")
        yield from columns([head, *state.compared])
    for folder in state.reported_folders():
        yield f"report: {relative_path(folder / 'report.html')}"
    yield from state.delivered


def _remedy(state: GateSession) -> Iterator[str]:
    """Yield how to continue after a run that did not finish."""
    if isinstance(state.error, UsageError):
        return
    if (state.folder / "manifest.json").is_file():
        yield f"continue with: {resume_command(relative_path(state.folder), state.command)}"
    elif isinstance(state.error, RunInterrupted):
        yield "nothing was asked yet: give the same command again"


@dataclass(eq=False)
class GitHubHooks:
    """The hooks of a gate session in a GitHub job."""

    state: GateSession
    token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    def begin(self) -> None:
        """Stop the reading of commands."""
        self._say(f"::stop-commands::{self.token}")

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Let GitHub read commands again, and print ours. (pytest_unconfigure)"""
        self._say(f"::{self.token}::", *self.state.workflow_commands())

    def _say(self, *lines: str) -> None:
        with self.state.uncaptured():
            # A command must start a line, and the line before may not have ended.
            sys.stdout.write("\n" + "".join(f"{line}\n" for line in lines))
            sys.stdout.flush()


@contextmanager
def without_workflow_commands() -> Iterator[None]:
    """Keep a GitHub log from obeying anything printed inside."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        yield
        return
    token = secrets.token_hex(16)
    sys.stdout.write(f"\n::stop-commands::{token}\n")
    try:
        yield
    finally:
        sys.stdout.write(f"\n::{token}::\n")


def stop_workflow_commands(config: pytest.Config, state: GateSession) -> None:
    """Keep a GitHub log from obeying anything until the session ends."""
    if os.environ.get("GITHUB_ACTIONS") == "true" and not state.worker:
        hooks = GitHubHooks(state)
        hooks.begin()
        config.pluginmanager.register(hooks, "tunegate-github")
