"""`tunegate resume [RUN]`: go on with an interrupted run; what is stored is not made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UsageError
from harness.manifest import Manifest
from harness.run import read_record

RUNS = Path(".tunegate/runs")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("resume")(resume)


def resume(
    run: Annotated[Path | None, typer.Argument(help="Run folder. Default: the newest.")] = None,
) -> None:
    """Go on with an interrupted run."""
    folder = run or newest(RUNS)
    manifest = read_record(folder / "manifest.json", Manifest)
    if not manifest.command:
        raise UsageError(f"{folder}: the manifest names no command; run the gate again")
    raise typer.Exit(run_again(folder, manifest))


def run_again(folder: Path, manifest: Manifest) -> int:
    """Run pytest with the recorded arguments, on the recorded folder."""
    import pytest

    kept = [a for a in manifest.command if not a.startswith("--gate-run-dir")]
    code = int(pytest.main([*kept, f"--gate-run-dir={folder}"]))
    return 2 if code == pytest.ExitCode.USAGE_ERROR else code


def newest(runs: Path) -> Path:
    """Return the newest run folder.

    Raises:
        UsageError: there is none.
    """
    folders = sorted(p.parent for p in runs.glob("*/manifest.json"))
    if not folders:
        raise UsageError(f"{runs}: no runs here; name a run folder, or start with `tunegate gate`")
    return folders[-1]
