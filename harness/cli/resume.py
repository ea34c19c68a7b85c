"""`tunegate resume [RUN]`: go on with an interrupted run; what is stored is not made again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness import defaults
from tunegate.harness.errors import UsageError

if TYPE_CHECKING:
    from tunegate.harness.records.manifest import Manifest

ORDER = 60
RUNS = Path(defaults.RUNS)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("resume")(resume)


def resume(
    run: Annotated[Path | None, typer.Argument(help="Run folder. Default: the newest.")] = None,
) -> None:
    """Go on with an interrupted run."""
    from tunegate.harness.records.files import read_record
    from tunegate.harness.records.manifest import Manifest

    folder = run or newest_run(RUNS)
    if not (folder / "manifest.json").is_file():
        raise UsageError(
            f"{folder}: no manifest.json: no run was begun here; start with `tunegate gate`"
        )
    manifest = read_record(folder / "manifest.json", Manifest)
    if not manifest.command:
        raise UsageError(f"{folder}: the manifest names no command; run the gate again")
    refuse_changed(folder, manifest)
    raise typer.Exit(run_again(folder, manifest))


def refuse_changed(folder: Path, manifest: Manifest) -> None:
    """Refuse to go on with other suites than those that the run was begun with.

    Raises:
        UsageError: a suite is gone or another one than then; every one is named.
    """
    from tunegate.harness.suite import load_suite

    problems = []
    for suite in manifest.suites:
        path = Path(suite.path)
        if not path.is_file():
            problems.append(f"{path}: no such file, and {folder} was begun with this suite")
        elif (found := load_suite(path).hash) != suite.hash:
            problems.append(
                f"{path}: changed since {folder} was begun ({suite.hash[:10]} then, {found[:10]} "
                "on disk)"
            )
    if problems:
        remedy = "start a new run with `tunegate gate`; stored answers are not asked again"
        raise UsageError("\n".join([*problems, remedy]))


def run_again(folder: Path, manifest: Manifest) -> int:
    """Run pytest with the recorded arguments, on the recorded folder."""
    from tunegate.harness.cli.gate import pytest_exit_code

    return pytest_exit_code([*_drop_run_folder(manifest.command), f"--gate-run-dir={folder}"])


def _drop_run_folder(command: Sequence[str]) -> Iterator[str]:
    """Yield the arguments but the run folder, which may have moved since."""
    rest = iter(command)
    for word in rest:
        if word == "--gate-run-dir":
            next(rest, None)
        elif not word.startswith("--gate-run-dir="):
            yield word


def newest_run(runs: Path) -> Path:
    """Return the newest run folder.

    Raises:
        UsageError: there is none.
    """
    folders = sorted(p.parent for p in runs.glob("*/manifest.json"))
    if not folders:
        raise UsageError(f"{runs}: no runs here; name a run folder, or start with `tunegate gate`")
    return folders[-1]
