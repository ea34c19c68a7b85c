"""`tunegate report [RUN]`: make page, summary and JUnit of a stored run again, without a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tunegate.harness.cli._panels import Panel
from tunegate.harness.cli._run_suites import RunSuites, suite_paths
from tunegate.harness.records.errors import UsageError

ORDER = 80
PANEL = Panel.KEEP_RECORDS


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    run: Annotated[Path | None, typer.Argument(help="Run folder. Default: the newest.")] = None,
    suite: RunSuites = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the files. Default: the run's."),
    ] = None,
    trace_link: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Viewer of the traces, as in `tunegate gate`."),
    ] = None,
    log_to: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Log the run to trackers, as in `tunegate gate`."),
    ] = None,
) -> None:
    """Write report.html, summary.md and junit.xml of a run."""
    from tunegate.harness.cli.resume import RUNS, newest_run
    from tunegate.harness.contracts.tracker import TrackedRun, log_run, tracker_names
    from tunegate.harness.decision.verdict.early_ends import early_end_lines
    from tunegate.harness.decision.verdict.verdict_lines import verdict_lines
    from tunegate.harness.plugin.exit_status import escape_control
    from tunegate.harness.plugin.terminal import without_workflow_commands
    from tunegate.harness.run.verification import load_verified
    from tunegate.harness.telemetry.export import viewer
    from tunegate.reports.data import prepare_data
    from tunegate.reports.page import write_all
    from tunegate.reports.typical_cases import typical_lines

    trackers = () if log_to is None else tracker_names(log_to)
    folder = run or newest_run(RUNS)
    loaded, notes = load_verified(folder, suites=suite_paths(suite))
    if trace_link is not None:
        origin = {**loaded.manifest.origin, viewer.ORIGIN: viewer.check_template(trace_link)}
        manifest = loaded.manifest.model_copy(update={"origin": origin})
        loaded = replace(loaded, manifest=manifest)
    try:
        data = prepare_data(loaded)
        written = write_all(loaded, output or folder, data=data)
    except OSError as error:
        raise UsageError(
            f"{output or folder}: cannot be written ({error.strerror}); choose another with -o DIR"
        ) from error
    lines = [
        *verdict_lines(loaded.verdict, loaded.manifest, folder, typical_lines(data)),
        *early_end_lines(loaded),
    ]
    lines += (f"note: {note}" for note in notes)
    with without_workflow_commands():
        lines += (log_run(t, TrackedRun.read(folder, written["report.html"])) for t in trackers)
        for line in (*map(str, written.values()), *lines):
            print(escape_control(line).replace("\n", " "))
