"""`tunegate resume RUN SUITES`: continue an interrupted run; stored answers are not asked again.

A run folder is data, so its recorded command is shown but never run: the user types it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import dropwhile
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tunegate.harness.cli._panels import Panel
from tunegate.harness.cli.gate import OWN_WORDS, asks_help
from tunegate.harness.records import defaults
from tunegate.harness.records.errors import UsageError

if TYPE_CHECKING:
    from tunegate.harness.records.manifest import Manifest

ORDER = 60
PANEL = Panel.DECIDE
RUNS = Path(defaults.RUNS)
_HELP = "tunegate resume RUN SUITES… [OPTIONS of `tunegate gate`] [-- PYTEST ARGUMENTS]"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("resume", context_settings=OWN_WORDS)(resume)


def resume(context: typer.Context) -> None:
    """Continue an interrupted run. Give RUN SUITES… and the options it was started with."""
    from tunegate.harness.cli.gate import pytest_arguments, pytest_exit_code
    from tunegate.harness.records.files import read_record
    from tunegate.harness.records.manifest import Manifest
    from tunegate.harness.records.run_folder import refuse_links

    words = list(context.args)
    if asks_help(words):
        print(f"Usage: {_HELP}\n\n{resume.__doc__}")
        return
    folder = Path(words.pop(0)) if words else newest_run(RUNS)
    if not (folder / "manifest.json").is_file():
        raise UsageError(
            f"{folder}: no manifest.json, so nothing to continue; `tunegate gate` starts a run"
        )
    refuse_links(folder)
    manifest = read_record(folder / "manifest.json", Manifest)
    refuse_finished(folder)
    if not words:
        raise UsageError(
            f"{folder}: a run folder is data, so name the suites and options; it was started as: "
            f"{_started_as(folder, manifest)}"
        )
    arguments = pytest_arguments(words)
    refuse_other_options(folder, manifest, arguments)
    refuse_other_suites(folder, manifest, arguments)
    raise typer.Exit(pytest_exit_code([*arguments, f"--gate-run-dir={folder}"]))


def refuse_finished(folder: Path) -> None:
    """Refuse a run that was judged: it would be judged again, by its files of today."""
    from tunegate.harness.records.files import read_record
    from tunegate.harness.records.verdict import Verdict, VerdictRecord

    path = folder / "verdict.json"
    if (
        path.is_file()
        and (verdict := read_record(path, VerdictRecord).verdict) is not Verdict.ERROR
    ):
        raise UsageError(
            f"{folder}: finished with {verdict.value}: nothing to continue; `tunegate report "
            f"{folder}` writes its pages, and `tunegate gate` starts a new run"
        )


def refuse_other_options(folder: Path, manifest: Manifest, arguments: Sequence[str]) -> None:
    """Refuse other models and options than the run was started with."""
    if _options(arguments) != _options(manifest.command):
        raise UsageError(
            f"{folder}: was started with other options, as: {_started_as(folder, manifest)}"
        )


def refuse_other_suites(folder: Path, manifest: Manifest, arguments: Sequence[str]) -> None:
    """Refuse other suites than the run was started with; hashes are compared before any code runs.

    Raises:
        UsageError: a suite is missing, changed, or was not part of the run.
    """
    from tunegate.harness.run.verification import load_run_suites

    files = dict.fromkeys(Path(word.partition("::")[0]) for word in _words(arguments)[0])
    loaded = load_run_suites(folder, manifest.suites, files)
    begun = [suite.name for suite in manifest.suites]
    if sorted(loaded) != sorted(begun) or len(files) != len(begun):
        raise UsageError(
            f"{folder}: was started with the suites {', '.join(begun)}; name these, and no others"
        )


def _started_as(folder: Path, manifest: Manifest) -> str:
    """Return the command that goes on, to be read and typed: a stranger may have written it."""
    from tunegate.harness.plugin.exit_status import escape_control
    from tunegate.harness.records.command_line import resume_command

    return escape_control(resume_command(folder, manifest.command)).replace("\n", " ")


def _options(command: Sequence[str]) -> list[str]:
    """Return what follows the suites in a command, but where the run goes."""
    from tunegate.harness.records.command_line import without_run_folder, without_secrets

    return sorted(_words(without_secrets(without_run_folder(command)))[1])


def _words(command: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the suites of a command and the words behind them."""
    behind = list(dropwhile(lambda word: not word.startswith("-"), command))
    return list(command[: len(command) - len(behind)]), behind


def newest_run(runs: Path) -> Path:
    """Return the newest run folder."""
    folders = sorted(p.parent for p in runs.glob("*/manifest.json"))
    if not folders:
        raise UsageError(f"{runs}: no runs here; name a run folder, or start with `tunegate gate`")
    return folders[-1]
