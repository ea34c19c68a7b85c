"""`tunegate resend [RUN]`: send a run's telemetry to a collector that did not take it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel

ORDER = 85
PANEL = Panel.KEEP_RECORDS


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("resend")(resend)


def resend(
    run: Annotated[Path | None, typer.Argument(help="Run folder. Default: the newest.")] = None,
    whole: Annotated[bool, typer.Option("--all", help="Send everything again.")] = False,
) -> None:
    """Send telemetry of a run that a collector missed."""
    from tunegate.harness.cli.resume import RUNS, newest_run
    from tunegate.harness.telemetry.export.collector import resend_files

    for line in resend_files(run or newest_run(RUNS), whole=whole):
        say(line)
