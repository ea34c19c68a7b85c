"""`tunegate judge run | calibrate | label`: judges outside of a gate run."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.cli._decide_again import decided_again
from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.cli._run_suites import RunSuites, suite_paths
from tunegate.harness.records import defaults
from tunegate.harness.records.errors import UsageError, refuse_unwritable

if TYPE_CHECKING:
    from tunegate.harness.contracts.metric import Metric
    from tunegate.harness.judges.calibrating.judge_calibration import LabelledCases
    from tunegate.harness.judges.calibrating.labelling import LabellingSubject, LabelSheetRow
    from tunegate.harness.records.calibration import Calibration
    from tunegate.harness.records.run_folder import Run
    from tunegate.harness.suite import Suite

ORDER = 200
PANEL = Panel.DECIDE
commands = typer.Typer(
    help="Judge stored runs, calibrate judges, and label answers.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    commands.command("run")(run)
    commands.command("calibrate")(calibrate)
    commands.command("label")(label)
    app.add_typer(commands, name="judge")


def run(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    judge: Annotated[str, typer.Option(help="Judge; comma-separated judges form a jury.")],
    suite: RunSuites = None,
    calibration: Annotated[
        str, typer.Option(help="Calibrations of the judge: comma-separated calibration.json files.")
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="New folder for the judged run. Default: the run's."),
    ] = None,
    store: Annotated[Path, typer.Option(help="Answer cache, which keeps the replies.")] = Path(
        defaults.STORE
    ),
) -> None:
    """Judge the answers of a finished run and decide it again."""
    from tunegate.harness.records.run_folder import Run
    from tunegate.harness.run.folder_lock import FolderLock

    Run.load(run)  # refused before anything is copied
    folder = _copy_run(run, output) if output is not None else run
    with FolderLock(folder):
        _judge(Run.load(folder), judge, suite_paths(suite), calibration, store)
        judged = decided_again(folder)
    _print_result(judged)


def _copy_run(run: Path, output: Path) -> Path:
    if output.exists():
        raise UsageError(f"{output}: is already there; choose another folder")
    with refuse_unwritable(output):
        shutil.copytree(run, output, ignore=shutil.ignore_patterns("lock", "holder.json"))
    return output


def _judge(run: Run, judge: str, suite: list[Path], calibration: str, store: Path) -> None:
    """Ask the judges, then write their judgements; an interrupted call changes nothing."""
    from tunegate.harness.engine.answer_cache import AnswerCache
    from tunegate.harness.judges.asking import specs, stage, stored_run
    from tunegate.harness.judges.calibrating import attach_calibrations
    from tunegate.harness.run.folder_writer import RunFolderWriter

    suites = stored_run.load_suites_of_run(run, suite)
    known = attach_calibrations.read_calibrations(calibration)
    cells = [stored for stored in run.cells if stored.status != "skipped"]
    with closing(AnswerCache(store)) as replies:
        judge_models = specs.open_judge_models(specs.parse_specs(judge), replies)
        manifest = stored_run.update_manifest(run, suites, judge_models)
        records = attach_calibrations.attach_calibrations(manifest.suites, known, judge_models)
        judged = stage.run_judges(suites, cells, judge_models, stream=sys.stderr)
    asked = {(s.name, m.name) for s in records for m in s.metrics if m.judge is not None}
    asked |= {(s.name, m.name) for s in run.manifest.suites for m in s.metrics if m.judge}
    folder = RunFolderWriter(run.folder)
    folder.write_lines("judgements.jsonl", judged.judgements)
    rest = [row for row in run.scores if (row.suite, row.metric) not in asked]
    folder.write_lines("scores.jsonl", [*rest, *judged.rows])
    folder.write("manifest.json", manifest.model_copy(update={"suites": records}))


def _print_result(judged: Run) -> None:
    from tunegate.harness.records.judgements import JudgementStatus, judge_spending

    lines = judged.judgements
    failed = sum(line.status is JudgementStatus.JUDGE_ERROR for line in lines)
    say(f"{len(lines)} judgements, {failed} of them failed")
    for spent in judge_spending(lines):
        say(f"{spent.suite} {spent.metric}: {spent.sentence}")
    for suite in judged.verdict.suites:
        for gate in suite.gates:
            if gate.advisory:
                say(f"advisory: {gate.sentence}")
    say(f"{judged.verdict.verdict.value}: {judged.verdict.sentence}")


def label(  # noqa: PLR0913  # one for each option
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    metric: Annotated[
        str, typer.Option(help="METRIC or SUITE::METRIC. Default: the only one for people.")
    ] = "",
    n: Annotated[
        int | None,
        typer.Option(min=1, help="Cases to draw, with both answers. Default: 100, or as before."),
    ] = None,
    reviewers: Annotated[
        int | None,
        typer.Option(min=1, help="Reviewers who vote on each pair. Default: 1, or as before."),
    ] = None,
    steps: Annotated[int, typer.Option(min=2, max=9, help="Steps of the scale; 2: no, yes.")] = 2,
    out: Annotated[
        Path | None, typer.Option(help="Sheet to write, .jsonl and .html. Default: in the run.")
    ] = None,
    read: Annotated[
        list[Path] | None,
        typer.Option(help="Read this filled-in sheet into the run instead. May be repeated."),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the sheet on this machine until Ctrl-C.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of --serve; 0 takes a free one.")
    ] = 0,
    by: Annotated[
        str,
        typer.Option(help="Reviewer's name. Default: that of the file, or the page asks."),
    ] = "",
    suite: RunSuites = None,
) -> None:
    """Write a sheet of answers for people to label, or read one back and decide the run again.

    On `preferred` and on a judge that compares pairs, people vote which of two answers is better.
    With --serve the sheet is a page on this machine that saves each choice at once. Its address has
    a token in it; Ctrl-C ends it and decides the run again.
    """
    from tunegate.harness.cli._voting import (
        read_voting_files,
        serve_voting,
        write_voting_sheet,
    )
    from tunegate.harness.judges.calibrating.labelling import N_CASES, LabellingSubject
    from tunegate.harness.judges.calibrating.voting import Voting
    from tunegate.harness.records.run_folder import Run
    from tunegate.harness.suite import load_suite

    subject = LabellingSubject.of(Run.load(run), metric)
    loaded = [load_suite(path) for path in suite_paths(suite)]
    question = _question(subject, loaded)
    out = out or run / f"label-{subject.metric.name}.jsonl"
    if subject.metric.compares_pairs:
        voting = Voting.of(subject).draw(n, reviewers)
        if read:
            read_voting_files(voting, read, by)
        elif serve:
            serve_voting(voting, question, by, port)
        else:
            write_voting_sheet(voting, out, question)
        return
    if read:
        for path in read:
            _read(LabellingSubject.of(Run.load(run), metric), path)
        return
    sheet = _draw_sheet(subject, n or N_CASES, steps, question)
    if serve:
        _serve(sheet, out, by, port)
    else:
        _write(sheet, out)


@dataclass(frozen=True)
class _LabelSheet:
    subject: LabellingSubject
    rows: Sequence[LabelSheetRow]
    values: Sequence[float]
    """The labels that people can give."""
    question: str

    def render(self, served_to: str | None = None) -> str:
        """Return the page."""
        from tunegate.reports.label_sheet import render_sheet

        return render_sheet(
            [row.model_dump(mode="json", exclude_none=True) for row in self.rows],
            title=f"{self.subject.suite}: {self.subject.metric.name}",
            question=self.question,
            values=self.values,
            served_to=served_to,
        )


def _draw_sheet(subject: LabellingSubject, n: int, steps: int, question: str) -> _LabelSheet:
    from tunegate.harness.judges.calibrating.labelling import draw_rows

    low, high = subject.metric.range or (0.0, 1.0)
    values = [low + (high - low) * step / (steps - 1) for step in range(steps)]
    return _LabelSheet(subject, draw_rows(subject, n), values, question)


def _write(sheet: _LabelSheet, out: Path) -> None:
    from tunegate.harness.judges.calibrating.labelling import sheet_lines
    from tunegate.harness.records.files import write_atomic

    texts = {
        out.with_suffix(".jsonl"): sheet_lines(sheet.rows),
        out.with_suffix(".html"): sheet.render(),
    }
    for path, text in texts.items():
        with refuse_unwritable(path, "choose another with --out FILE"):
            write_atomic(path, text)
    cases = len({row.id for row in sheet.rows})
    say(f"{len(sheet.rows)} answers to {cases} cases, drawn at random, blind:")
    for path in texts:
        say(f"  {path}")
    say(f"then: tunegate judge label {sheet.subject.run.folder} --read FILE")


def _serve(sheet: _LabelSheet, out: Path, by: str, port: int) -> None:
    """Let people label until Ctrl-C; then read their labels into the run."""
    from tunegate.harness.cli._label_server import LabelFile, ServedSheet, serve_until_stopped
    from tunegate.harness.run.folder_lock import FolderLock

    subject = sheet.subject
    path = out.with_suffix(".jsonl")
    with FolderLock(subject.run.folder):
        file = LabelFile(path, sheet.rows, {x.id for x in subject.own(subject.run.labels)})
        page = sheet.render(served_to=by)
        served = ServedSheet(page, len(sheet.rows), sheet.values, file.read, file.keep)
        serve_until_stopped(served, port)
        say(f"{len(file.read(by))} of {len(sheet.rows)} answers have labels, saved in {path}")
        if file.read(by):
            _read(subject, path)


def _question(subject: LabellingSubject, suites: list[Suite]) -> str:
    """Return what people are asked: the judge's criteria, where the user names the suite."""
    suite = next((suite for suite in suites if suite.name == subject.suite), None)
    options = suite.metric(subject.metric.name).options if suite else {}
    criteria = options.get("criteria")
    text = criteria if isinstance(criteria, str) else " ".join(criteria or ())
    if text or not subject.metric.compares_pairs:
        return text or f"Is this a good answer, by {subject.metric.name}?"
    return "Which answer is better?"


def _read(subject: LabellingSubject, path: Path) -> None:
    from tunegate.harness.judges.calibrating.labelling import read_back
    from tunegate.harness.records.files import write_atomic
    from tunegate.harness.records.jsonl import record_lines
    from tunegate.harness.records.labels import LABELS_FILE

    found = read_back(subject, path)
    write_atomic(subject.run.folder / LABELS_FILE, record_lines(found))
    run = decided_again(subject.run.folder)
    cases = {x.id for x in subject.own(run.labels)}
    say(f"{len(cases)} cases of {subject.suite} have labels now")
    say(f"{run.verdict.verdict.value}: {run.verdict.sentence}")
    for suite in run.verdict.suites:
        for note in suite.notes:
            say(f"note: {note}")


STORE = Path(defaults.STORE)
"""Where replies are kept, so that a second calibration asks nothing again."""


def calibrate(
    labels: Annotated[Path, typer.Argument(help="JSON lines of answers that people labelled.")],
    judge: Annotated[str, typer.Option(help="Judge: SPEC, or SPEC,SPEC for a jury.")],
    suite: Annotated[Path, typer.Option(help="Suite with the metric that asks the judge.")],
    metric: Annotated[
        str, typer.Option(help="The metric. Default: the suite's only judge metric.")
    ] = "",
    out: Annotated[Path, typer.Option(help="File to write.")] = Path("calibration.json"),
    repeats: Annotated[
        int, typer.Option(min=0, help="Times that up to 50 answers are judged again.")
    ] = 2,
) -> None:
    """Compare a judge with people's labels and write its calibration."""
    from tunegate.harness import suite as suites
    from tunegate.harness.engine.answer_cache import AnswerCache
    from tunegate.harness.judges.asking.specs import open_judge_models, parse_specs
    from tunegate.harness.judges.calibrating.judge_calibration import calibrate_judge
    from tunegate.harness.judges.calibrating.setup import CalibrationSetup
    from tunegate.harness.records.files import record_json, write_atomic

    loaded = suites.load_suite(suite)
    used = judge_metric(loaded, metric)
    given = _read_labels(labels, loaded, used)
    specs = parse_specs(judge)
    if not specs:
        raise UsageError("--judge none: a calibration needs a judge; name one")
    STORE.parent.mkdir(parents=True, exist_ok=True)
    with closing(AnswerCache(STORE)) as replies:
        models = open_judge_models(specs, replies)
        setup = CalibrationSetup(used, models, sys.stderr, suite=loaded.name)
        known = calibrate_judge(setup, given, repeats=repeats)
    with refuse_unwritable(out, "choose another with --out FILE"):
        write_atomic(out, record_json(known))
    for line in calibration_lines(known):
        say(line)
    say(f"\n{out}")


def calibration_lines(known: Calibration) -> list[str]:
    """Return the figures of a calibration and what follows, line by line."""
    from tunegate.harness.judges.calibrating.calibration_report import (
        calibration_figures,
        eligibility_sentence,
    )

    rows = calibration_figures(known)
    width = max(len(name) for name, _ in rows)
    models = ", ".join(str(model.get("spec")) for model in known.judge.get("models", ()))
    head = f"{known.metric}, judged by {models}; intervals at {100 * known.confidence:g} %"
    return [
        head,
        *(f"  {name:<{width}}  {text}" for name, text in rows),
        "",
        eligibility_sentence(known),
    ]


def judge_metric(suite: Suite, name: str) -> Metric:
    """Return a suite's judge metric."""
    judged = [m for m in suite.metrics if m.judge is not None]
    if name:
        found = suite.metric(name)
        if found.judge is None:
            raise UsageError(f"{suite.path}: the metric {name!r} asks no judge")
        return found
    if len(judged) != 1:
        names = ", ".join(m.name for m in judged) or "none"
        raise UsageError(
            f"{suite.path}: {len(judged)} metrics ask a judge ({names}); name one with --metric"
        )
    return judged[0]


def _read_labels(path: Path, suite: Suite, metric: Metric) -> LabelledCases:
    """Return the labels on a metric with their cases."""
    from tunegate.harness.judges.calibrating.judge_calibration import LabelledCases
    from tunegate.harness.records.labels import read_labels, refuse_one_arm

    found = read_labels(path, range=metric.range or (0.0, 1.0))
    own = tuple(
        label
        for label in found
        if label.metric in (None, metric.name) and label.suite in (None, suite.name)
    )
    if not own:
        raise UsageError(f"{path}: none of {len(found)} labels is on {suite.name}: {metric.name}")
    refuse_one_arm(path, own)
    cases = {case.id: case for case in suite.cases}
    unknown = next((x.id for x in own if x.case is None and x.id not in cases), None)
    if unknown is not None:
        raise UsageError(
            f"{path}: {suite.path} has no case {unknown!r}; name its cases, or give the line a "
            "prompt of its own"
        )
    by = sorted({x.by for x in own if x.by})
    source = f"{path.name}, labelled by {', '.join(by)}" if by else path.name
    return LabelledCases(own, cases, source)
