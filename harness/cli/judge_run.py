"""`tunegate judge run RUN --judge SPEC`: judge a stored run again, without a model run."""

from __future__ import annotations

import shutil
import sys
import uuid
from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run")(run)


def run(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    judge: Annotated[str, typer.Option(help="Judge, or several with commas: a jury.")],
    suite: Annotated[
        list[Path] | None, typer.Option(help="Suite that lies elsewhere now. May be repeated.")
    ] = None,
    calibration: Annotated[
        str, typer.Option(help="What is known of the judge: calibration.json, several with commas.")
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="New folder for the judged run. Default: the run's."),
    ] = None,
    store: Annotated[Path, typer.Option(help="Cell cache, which keeps the replies.")] = Path(
        ".tunegate/store.sqlite"
    ),
) -> None:
    """Judge the completions of a finished run and decide it anew."""
    from harness.cli.judge_label import decided_again
    from harness.plugin.lock import RunLock
    from harness.run import Run

    Run.load(run)  # told before anything is copied
    folder = _copied(run, output) if output is not None else run
    with RunLock(folder, session=uuid.uuid4().hex, shared=False) as lock:
        _judge(Run.load(folder), judge, suite or [], calibration, store)
        judged = decided_again(folder)
    lock.forget()
    _tell(judged)


def _copied(run: Path, output: Path) -> Path:
    if output.exists():
        raise UsageError(f"{output}: is already there; choose another folder")
    try:
        shutil.copytree(run, output, ignore=shutil.ignore_patterns("lock", "holder.json"))
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror})") from error
    return output


def _judge(run: object, judge: str, suite: list[Path], calibration: str, store: Path) -> None:
    """Ask the judges, then write what they said; interrupted before, the run is as it was."""
    from harness.calibrating import entitling
    from harness.engine.store import Store
    from harness.judging import again, opening, stage
    from harness.plugin.run_folder import RunFolder
    from harness.run import Run

    assert isinstance(run, Run)
    suites = again.suites_of(run, suite)
    known = entitling.read_all(calibration)
    cells = [stored for stored in run.cells if stored.status != "skipped"]
    opened = Store(store)
    try:
        jurors = opening.open_jurors(opening.specs_of(judge), opened)
        manifest = again.updated(run, suites, jurors)
        records = entitling.entitled(manifest.suites, known, jurors)
        judged = stage.run(suites, cells, jurors, stream=sys.stderr)
    finally:
        opened.close()
    asked = {(s.name, m.name) for s in records for m in s.metrics if m.judge is not None}
    asked |= {(s.name, m.name) for s in run.manifest.suites for m in s.metrics if m.judge}
    folder = RunFolder(run.folder)
    folder.write_lines("judgements.jsonl", judged.judgements)
    rest = [row for row in run.scores if (row.suite, row.metric) not in asked]
    folder.write_lines("scores.jsonl", [*rest, *judged.rows])
    folder.write("manifest.json", manifest.model_copy(update={"suites": records}))


def _tell(judged: object) -> None:
    from harness.judgement import JudgementStatus
    from harness.run import Run

    assert isinstance(judged, Run)
    lines = judged.judgements
    failed = sum(line.status is JudgementStatus.JUDGE_ERROR for line in lines)
    asked = sum(line.attempts for line in lines)
    costs = [line.cost for line in lines if line.cost is not None]
    cost = f", {sum(costs):.4f} dollars" if costs else ""
    print(f"{len(lines)} judgements, {failed} of them failed; {asked} questions asked{cost}")
    for suite in judged.verdict.suites:
        for gate in suite.gates:
            if gate.advisory:
                print(f"advisory: {gate.sentence}")
    print(f"{judged.verdict.verdict.value}: {judged.verdict.sentence}")
