"""`tunegate promote [RUN]`: record that the fine-tune of a run was shipped."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Annotated

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.cli._run_suites import RunSuites, suite_paths
from tunegate.harness.records.errors import refuse_unwritable

ORDER = 110
PANEL = Panel.KEEP_RECORDS


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("promote")(promote)


def promote(
    run: Annotated[Path | None, typer.Argument(help="Run folder. Default: the newest.")] = None,
    suite: RunSuites = None,
    anyway: Annotated[
        str | None,
        typer.Option(
            "--anyway", metavar="REASON", help="Reason to ship although the verdict is not SHIP."
        ),
    ] = None,
) -> None:
    """Record that a run's fine-tune was shipped.

    The line in shipped.jsonl is what `--incumbent promoted` reads.
    """
    from tunegate.harness.cli.resume import RUNS, newest_run
    from tunegate.harness.decision.verdict import promotions
    from tunegate.harness.run.verification import load_verified

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    path = Path(promotions.FILE_NAME)
    loaded, notes = load_verified(run or newest_run(RUNS), strict=True, suites=suite_paths(suite))
    for note in notes:
        say(f"note: {note}")
    record = promotions.promotion_of(loaded, now, anyway)
    before = promotions.read_promotions(path)
    if before and before[-1].identity == record.identity:
        say(f"{path}: {record.spec} is already the newest entry, from run {before[-1].run_id}")
        return
    with refuse_unwritable(path):
        promotions.append_promotion(path, record)
    say(f"{path}: {record.spec} was shipped on run {record.run_id} ({record.verdict.value})")
    say(f"next: commit {path}; `tunegate gate … --incumbent promoted` compares with it")
