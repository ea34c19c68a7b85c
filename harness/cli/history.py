"""`tunegate history [SUITE]`: verdicts and deltas of a project's runs over time."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.records import defaults
from tunegate.harness.records.errors import UsageError

if TYPE_CHECKING:
    from tunegate.harness.decision.verdict.run_history import PastRun, RunHistory
    from tunegate.harness.records.gate_results import GateResult

ORDER = 100
PANEL = Panel.KEEP_RECORDS
PAGE = Path(".tunegate/history.html")
LIMIT = 50
"""Runs shown unless the user asks for more."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("history")(history)


def history(
    suite: Annotated[str | None, typer.Argument(help="Name of a suite. Default: all.")] = None,
    runs: Annotated[
        Path | None,
        typer.Option("--runs", help=f"Folder of run folders. Default: {defaults.RUNS}."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="YYYY-MM-DD", help="Only runs from this day on (UTC)."),
    ] = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", min=0, help="Show at most this many of the newest runs; 0 shows all."
        ),
    ] = LIMIT,
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = PAGE,
    json: Annotated[
        bool, typer.Option("--json", help="Print the runs as JSON, and write no page.")
    ] = False,
) -> None:
    """Show a project's verdicts over time, and what shipped.

    Folders without a finished run of this version are named and skipped.

    Example: tunegate history support_json --since 2026-01-01
    """
    from tunegate.harness.decision.verdict.run_history import narrow_history
    from tunegate.harness.records.files import record_json, write_atomic
    from tunegate.reports.history_page import render_history

    shown_history = narrow_history(_read(runs), suite=suite, since=_day(since), limit=limit)
    if json:
        print(record_json(shown_history), end="")
        return
    try:
        write_atomic(output, render_history(shown_history))
    except OSError as error:
        raise UsageError(
            f"{output}: cannot be written ({error.strerror}); choose another with -o FILE"
        ) from error
    for line in (*_lines(shown_history), f"page: {output}"):
        say(line)


def _read(runs: Path | None) -> RunHistory:
    from tunegate.harness.cli.resume import RUNS
    from tunegate.harness.decision.verdict import promotions
    from tunegate.harness.decision.verdict.run_history import read_history
    from tunegate.harness.engine.answer_cache import candidates_judged
    from tunegate.harness.run.verification import load_verified

    folder = runs or RUNS
    if not folder.is_dir():
        raise UsageError(
            f"{folder}: no such folder; `tunegate gate` makes runs, --runs DIR names others"
        )
    return read_history(
        sorted(folder.iterdir()),
        promotions.read_promotions(Path(promotions.FILE_NAME)),
        candidates_judged(folder.parent / "store.sqlite"),
        check=load_verified,
    )


def _day(text: str | None) -> datetime.date | None:
    if text is None:
        return None
    try:
        return datetime.date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--since {text}: not a day; write it as 2026-01-31") from error


def _lines(past: RunHistory) -> Iterator[str]:
    from tunegate.harness.decision.verdict.verdict_lines import columns

    for name in past.names:
        yield f"{name}: {'; '.join(_wear(past, name))}"
        rows = [_row(run, suite.verdict.value, suite.gates) for run, suite in past.of_suite(name)]
        table = columns([("started", "run", "verdict", "", "gates"), *rows])
        yield from (f"  {row}" for row in table)
        yield ""
    refused = [run for run in past.runs if not run.suites]
    yield from (f"{run.run_id}: {run.verdict.value}: {run.sentence}" for run in refused)
    yield from (f"skipped {entry.folder}: {entry.why}" for entry in past.skipped)
    if past.left_out:
        yield f"{past.left_out} runs left out; --limit 0 shows all of a suite"
    if not past.runs:
        yield "no finished runs"


def _wear(past: RunHistory, name: str) -> Iterator[str]:
    from tunegate.harness.records.wording import count_noun

    for wear in past.wear:
        if wear.name == name:
            opened = f", opened {count_noun(wear.opened, 'time')} although sealed"
            judged = f"has judged {count_noun(wear.candidates, 'candidate')}"
            yield f"version {wear.hash[:10]} {judged}{opened if wear.opened else ''}"


def _row(run: PastRun, verdict: str, gates: Sequence[GateResult]) -> tuple[str, ...]:
    shown = "  ".join(_gate(gate) for gate in gates if not gate.advisory)
    mark = "shipped" if run.shipped else ""
    return (run.created[:16].replace("T", " "), run.run_id, verdict, mark, shown)


def _gate(gate: GateResult) -> str:
    from tunegate.harness.gates.contract.registry import gate_kind

    kind = gate_kind(gate.kind)
    value, how = kind.value(gate), kind.quantity_format(gate)
    if value is None:
        return f"{gate.subject} –"
    if not kind.tests_difference:
        return f"{gate.subject} {gate.kind} {how.level(value)}"
    interval = how.interval(gate.low, gate.high, gate.confidence, sign=True)
    return f"{gate.subject} {how.difference(value)}{interval}"
