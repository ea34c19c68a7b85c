"""`tunegate judge label RUN`: a blind sheet of answers for people, and what they say read back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.calibrating.sheet import Row, Subject
    from harness.run import Run


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("label")(label)


def label(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    metric: Annotated[
        str, typer.Option(help="METRIC or SUITE::METRIC. Default: the only one of a judge.")
    ] = "",
    n: Annotated[int, typer.Option(min=1, help="Cases to draw, with both answers.")] = 100,
    steps: Annotated[int, typer.Option(min=2, max=9, help="Steps of the scale; 2: no, yes.")] = 2,
    out: Annotated[
        Path | None, typer.Option(help="Sheet to write, .jsonl and .html. Default: in the run.")
    ] = None,
    read: Annotated[
        Path | None, typer.Option(help="Read this filled-in sheet into the run instead.")
    ] = None,
) -> None:
    """Write a sheet of answers for people to label, or read one back and decide the run anew."""
    from harness.calibrating.sheet import Subject
    from harness.run import Run

    subject = Subject.of(Run.load(run), metric)
    if read is not None:
        _read(subject, read)
    else:
        _write(subject, n, steps, out or run / f"label-{subject.metric.name}.jsonl")


def _write(subject: Subject, n: int, steps: int, out: Path) -> None:
    from harness.calibrating.sheet import draw
    from harness.run import write_atomic
    from reports import label_sheet

    rows = draw(subject, n)
    texts = {
        out.with_suffix(".jsonl"): _lines(rows),
        out.with_suffix(".html"): label_sheet.render(
            [row.model_dump(mode="json", exclude_none=True) for row in rows],
            title=f"{subject.suite}: {subject.metric.name}",
            question=_question(subject),
            values=_values(subject, steps),
        ),
    }
    for path, text in texts.items():
        try:
            write_atomic(path, text)
        except OSError as error:
            raise UsageError(
                f"{path}: cannot be written ({error.strerror}); choose another with --out FILE"
            ) from error
    print(f"{len(rows)} answers to {len({row.id for row in rows})} cases, drawn at random, blind:")
    for path in texts:
        print(f"  {path}")
    print(f"then: tunegate judge label {subject.run.folder} --read FILE")


def _lines(rows: list[Row]) -> str:
    import json

    return "".join(
        json.dumps({**row.model_dump(mode="json", exclude_none=True), "label": None}) + "\n"
        for row in rows
    )


def _values(subject: Subject, steps: int) -> list[float]:
    low, high = subject.metric.range or (0.0, 1.0)
    return [low + (high - low) * step / (steps - 1) for step in range(steps)]


def _question(subject: Subject) -> str:
    """Return what people are asked: the judge's criteria, where the suite is still there."""
    from harness import suite as suites
    from harness.errors import TunegateError

    record = next(s for s in subject.run.manifest.suites if s.name == subject.suite)
    try:
        options = suites.load(Path(record.path)).metric(subject.metric.name).options
    except TunegateError:
        options = {}
    criteria = options.get("criteria")
    told = criteria if isinstance(criteria, str) else " ".join(criteria or ())
    return told or f"Is this a good answer, by {subject.metric.name}?"


def _read(subject: Subject, path: Path) -> None:
    from harness.calibrating.sheet import read_back
    from harness.labels import FILE_NAME
    from harness.run import record_lines, write_atomic

    found = read_back(subject, path)
    write_atomic(subject.run.folder / FILE_NAME, record_lines(found))
    run = decided_again(subject.run.folder)
    cases = {x.id for x in subject.own(run.labels)}
    print(f"{len(cases)} cases of {subject.suite} have labels now")
    print(f"{run.verdict.verdict.value}: {run.verdict.sentence}")
    for suite in run.verdict.suites:
        for note in suite.notes:
            print(f"note: {note}")


def decided_again(folder: Path) -> Run:
    """Decide a stored run anew from its files, and write verdict and reports.

    Raises:
        UsageError: the folder holds no finished run.
    """
    from dataclasses import replace

    from harness.run import Run, record_json, write_atomic
    from harness.verdict.again import decide_again
    from reports.bundle import write_all

    run = Run.load(folder)
    run = replace(run, verdict=decide_again(run))
    write_atomic(folder / "verdict.json", record_json(run.verdict))
    write_all(run, folder)
    return run
