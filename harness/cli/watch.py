"""`tunegate watch TRACES… --run RUN --suite DIR`: is production still as good as the gate found?

Exit codes: 0 quiet, 1 alarm, 10 too little evidence, 2 a usage error.
"""

from __future__ import annotations

import datetime
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.records import defaults
from tunegate.harness.records.errors import UsageError, refuse_unwritable

if TYPE_CHECKING:
    from tunegate.harness.production.watch.counted_calls import TimeWindow
    from tunegate.harness.production.watch.indicators import MonitoredFigure
    from tunegate.harness.production.watch.look_record import WatchRecord
    from tunegate.harness.production.watch.monitor import JudgeSample, MonitoringLook
    from tunegate.harness.production.watch.state import WatchState
    from tunegate.harness.records.run_folder import Run
    from tunegate.harness.suite import Suite

ORDER = 180
PANEL = Panel.IN_PRODUCTION
_Traces = Annotated[
    list[str], typer.Argument(help="Trace files, folders or patterns (OTLP as JSON or protobuf).")
]
_Run = Annotated[Path, typer.Option(help="Run folder of the gate that shipped the model.")]
_Suite = Annotated[str, typer.Option(help="Folder of the suite that matches production.")]
_State = Annotated[
    Path | None,
    typer.Option(
        help="File that keeps the test's state between calls. Without it every call starts over."
    ),
]
_Output = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for watch.json and summary.md.")
]
_Alpha = Annotated[
    float, typer.Option(help="Probability of a false alarm over the whole life of the stream.")
]
_Drop = Annotated[float, typer.Option(help="Relative worsening that exit code 0 rules out.")]
_Since = Annotated[
    str, typer.Option(help="Ignore calls before this time: ISO 8601, or an age such as 7d or 12h.")
]
_Until = Annotated[
    str, typer.Option(help="Ignore calls from this time on: ISO 8601, or an age such as 7d or 12h.")
]
_Model = Annotated[
    list[str] | None,
    typer.Option(help="Name of the shipped model in the traces, or a pattern. May be repeated."),
]
_Where = Annotated[
    list[str] | None,
    typer.Option(help="Only calls with this attribute: KEY=VALUE. May be repeated."),
]
_Figures = Annotated[str, typer.Option(help="Figures to watch, comma-separated. Default: all.")]
_Judge = Annotated[str, typer.Option(help="The gate's judge, to score a sample of the answers.")]
_Sample = Annotated[int, typer.Option(min=1, help="Answers to judge per call.")]
_Feedback = Annotated[
    str, typer.Option(help="Span attribute with users' feedback: true, 1, thumbs_down …")
]
_Unhappy = Annotated[float, typer.Option(help="Accepted share of complaints in the feedback.")]
_Alert = Annotated[
    str, typer.Option(help="File to append new alarms to, or http(s) URL to send them to.")
]
_Store = Annotated[Path, typer.Option(help="Answer cache, which keeps the judge's replies.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("watch")(watch)


def watch(  # noqa: PLR0913  # one for each option
    traces: _Traces,
    run: _Run,
    suite: _Suite = "",
    state: _State = None,
    output: _Output = Path(".tunegate/watch"),
    alpha: _Alpha = 0.05,
    drop: _Drop = 0.10,
    since: _Since = "",
    until: _Until = "",
    model: _Model = None,
    where: _Where = None,
    figures: _Figures = "",
    judge: _Judge = "",
    judge_sample: _Sample = 50,
    feedback: _Feedback = "",
    unhappy: _Unhappy = 0.2,
    alert: _Alert = "",
    store: _Store = Path(defaults.STORE),
) -> None:
    """Compare production's traces with the gate's figures.

    It exits with 1 on an alarm.

    From cron or CI, each call continues where the last one stopped:

        tunegate watch /var/log/otel/ --run runs/shipped --suite suites/tickets --state watch.json
    """
    from tunegate.harness.production.watch import state as states
    from tunegate.harness.production.watch.alarms import send_alarms
    from tunegate.harness.production.watch.indicators import feedback_figure
    from tunegate.harness.production.watch.judging import judge_of_sample
    from tunegate.harness.production.watch.look_record import watch_record
    from tunegate.harness.production.watch.monitor import new_alarms

    _refuse_share("--alpha", alpha, 0.5)
    _refuse_share("--drop", drop, 1.0)
    _refuse_share("--unhappy", unhappy, 1.0)
    window = _window(since, until, model or [], where or [])
    gated, shipped = _shipped_run(run, suite)
    sample = judge_of_sample(gated, shipped, judge, judge_sample, store, _report) if judge else None
    names = [name.strip() for name in figures.split(",") if name.strip()]
    more = [*(sample.figures if sample else ())]
    if feedback:
        more.append(feedback_figure(feedback, unhappy))
    wanted = _choose_figures(shipped, more, names)
    before = _before(state, gated, shipped, wanted, alpha)
    look, notes = _look_at_traces(before, wanted, traces, window, sample)
    judged = [figure.name for figure in more]
    record = watch_record(look, drop=drop, reading=tuple(notes), judged=judged)
    advice = _advice(record, traces)
    _write(output, record, advice, look.state)
    sent = send_alarms(alert, record, new_alarms(before, look.state)) if alert else None
    if state is not None and sent is None:
        states.save_state(state, look.state)  # last: a look that was not printed is made again
    _show(record, advice, alone=state is None)
    if sent is not None:
        say(f"tunegate: the alarm could not be sent to {alert} ({sent}); {_RESENT}")
    raise typer.Exit(record.verdict.exit_code)


def _report(line: str) -> None:
    say(f"tunegate: {line}", file=sys.stderr)


def _refuse_share(option: str, value: float, most: float) -> None:
    if not 0 < value < most:
        raise UsageError(f"{option} {value:g} must be between 0 and {most:g}")


def _window(since: str, until: str, models: Sequence[str], where: Sequence[str]) -> TimeWindow:
    from tunegate.harness.production.watch.counted_calls import TimeWindow

    now = time.time()
    pairs = [condition.partition("=") for condition in where]
    for key, sign, value in pairs:
        if not (key and sign):
            raise UsageError(f"--where {key + sign + value!r} must be KEY=VALUE")
    return TimeWindow(
        now,
        _moment("--since", since, now),
        _moment("--until", until, now),
        tuple(models),
        {key: value for key, _, value in pairs},
    )


_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}


def _moment(option: str, text: str, now: float) -> float | None:
    """Return the Unix time that an option names; a time without a zone is UTC."""
    if not text:
        return None
    if text[-1] in _UNITS and text[:-1].isdecimal():
        return now - int(text[:-1]) * _UNITS[text[-1]]
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text!r} must be a time as 2026-11-25T08:00 (UTC), or an age as 7d, 12h, 30m"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return moment.timestamp()


def _shipped_run(folder: Path, word: str) -> tuple[Run, Suite]:
    """Return the run, and the suite that production's answers are measured by."""
    from tunegate.harness.production.watch.baseline import suite_of
    from tunegate.harness.records.run_folder import Run
    from tunegate.harness.suite import load_suite

    run = Run.load(folder)
    if not word or not (Path(word) / "suite.toml").is_file():
        name = suite_of(run, word or None).name
        raise UsageError(
            f"{folder}: give the folder of {name!r} with --suite DIR; a run folder is data, and no "
            "path that it names is read"
        )
    suite = load_suite(Path(word))
    record = suite_of(run, suite.name)
    if suite.hash != record.hash:
        say(f"tunegate: {suite.path} has changed since {folder}", file=sys.stderr)
    return run, suite


def _choose_figures(
    suite: Suite, more: Sequence[MonitoredFigure], names: Sequence[str]
) -> list[MonitoredFigure]:
    from tunegate.harness.production.watch.indicators import suite_figures
    from tunegate.harness.production.watch.initial_state import select_figures
    from tunegate.harness.production.watch.input_indicators import input_figures

    return select_figures([*suite_figures(suite), *more, *input_figures(suite)], names)


def _before(
    path: Path | None, run: Run, suite: Suite, wanted: Sequence[MonitoredFigure], alpha: float
) -> WatchState:
    """Return the state that earlier looks left, or that of the beginning."""
    from tunegate.harness.production.watch import state
    from tunegate.harness.production.watch.baseline import arm_of
    from tunegate.harness.production.watch.initial_state import initial_state

    arm = arm_of(run)
    kept = None if path is None else state.load_state(path)
    if kept is None:
        return initial_state(run, suite, arm, wanted, alpha)
    state.refuse_other(
        path or Path(),
        kept,
        run_id=run.manifest.run_id,
        suite=suite.name,
        suite_sha256=suite.hash,
        alpha=alpha,
        figures=sorted(figure.name for figure in wanted),
    )
    return kept


def _look_at_traces(
    state: WatchState,
    wanted: Sequence[MonitoredFigure],
    traces: Sequence[str],
    window: TimeWindow,
    sample: JudgeSample | None,
) -> tuple[MonitoringLook, list[str]]:
    """Return what the traces showed, and what could not be read of them."""
    from tunegate.harness.production.watch.monitor import update_state
    from tunegate.harness.telemetry.read import read_spans
    from tunegate.harness.telemetry.read.model_calls import find_model_calls
    from tunegate.harness.telemetry.read.trace_types import ImportReport

    reading = ImportReport()
    judged = {figure.name for figure in sample.figures} if sample else set()
    plain = [figure for figure in wanted if figure.name not in judged]
    model_calls = find_model_calls(read_spans(traces, reading), reading.leave_out, reading.repair)
    return update_state(state, plain, model_calls, window, sample=sample), reading.sentences()


def _advice(record: WatchRecord, traces: Sequence[str]) -> list[str]:
    """Return the commands that come next."""
    from tunegate.harness.production.watch.look_record import WatchVerdict

    if record.verdict is not WatchVerdict.ALARM:
        return []
    files = " ".join(shlex.quote(path) for path in traces)
    new = f"suite new suites/production --from {files}"
    return [
        f"tunegate replay {files} --base BASE --tuned TUNED",
        f"tunegate {new if len(traces) == 1 else f'replay {files} --suite suites/production'}",
    ]


_RESENT = "the state was not saved, so the next call reports it again"


def _write(folder: Path, record: WatchRecord, advice: list[str], state: WatchState) -> None:
    from tunegate.harness.production.watch.look_summary import watch_summary
    from tunegate.harness.records.files import record_json, write_atomic
    from tunegate.reports.watch_page import render_trend

    with refuse_unwritable(folder):
        write_atomic(folder / "watch.json", record_json(record))
        write_atomic(folder / "summary.md", watch_summary(record, advice))
        write_atomic(folder / "trend.html", render_trend(record, state))


def _show(record: WatchRecord, advice: list[str], *, alone: bool) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from tunegate.harness.production.watch.look_summary import COLUMNS, figure_cells, watch_notes

    table = Table(title=f"production compared with {record.suite} of run {record.run_id}")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in ("figure", "status") else "right")
    for figure in record.figures:
        table.add_row(*(Text(cell) for cell in figure_cells(figure)))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    for line in watch_notes(record):
        say(line)
    if alone:
        print("without --state FILE every call is a test of its own, and false alarms add up")
    say(f"{record.verdict.value}: {record.sentence}")
    for line in advice:
        say(f"next: {line}")
