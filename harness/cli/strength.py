"""`tunegate strength SUITES --tuned ADAPTER`: how much of a fine-tune can ship?"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.cli.gate import refuse_unknown
from tunegate.harness.records import defaults
from tunegate.harness.records.errors import BackendError, RunInterrupted, UsageError

if TYPE_CHECKING:
    from tunegate.harness.records.candidates import CandidateComparison
    from tunegate.harness.records.run_folder import Run
    from tunegate.harness.run.strengths import StrengthSearch

ORDER = 92
PANEL = Panel.AFTER_TRAINING
COMMAND = "tunegate strength"
FOLDER = Path(".tunegate/strength")
AGAIN = "finished answers are stored: the same command continues from there"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("strength")(strength)


def strength(  # noqa: PLR0913  # one for each option
    suites: Annotated[list[str], typer.Argument(help="Suites to judge on.")],
    tuned: Annotated[str, typer.Option(help="The LoRA adapter, as it was trained.")],
    base: Annotated[
        str | None, typer.Option(help="The base model. Default: the one that the adapter names.")
    ] = None,
    at: Annotated[
        str, typer.Option(help="Strengths to try: 1 is as trained, 0.5 adds half of it to base.")
    ] = "0.25,0.5,0.75,1,1.25",
    save: Annotated[
        Path | None, typer.Option(help="Write the adapter at the chosen strength to this folder.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the runs and the page.")
    ] = FOLDER,
    judge: Annotated[str | None, typer.Option(help="Judge, as for `tunegate gate`.")] = None,
    calibration: Annotated[
        str | None, typer.Option(help="Calibration of the judge, as for `tunegate gate`.")
    ] = None,
    training_data: Annotated[
        str | None, typer.Option(help="Rows that tuned was trained on, as for `tunegate gate`.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="Number format of the models.")] = "auto",
    sandbox: Annotated[
        str, typer.Option(help="Where programs in answers run, as for `tunegate gate`.")
    ] = "bubblewrap",
    seed: Annotated[int, typer.Option(help="Seed of sampling and of the order of cases.")] = 0,
) -> None:
    """Find the largest strength at which an adapter ships.

    The strengths are candidates: each gate gets an equal share of its error, so that the choice
    among them costs nothing. Exit code: the chosen strength's verdict.

    Example: tunegate strength suites --tuned out/adapter --save out/adapter-that-ships
    """
    from tunegate.harness.run.strengths import StrengthSearch, read_strengths
    from tunegate.harness.suite import load_suite
    from tunegate.harness.suite.find import find_suites

    refuse_unknown(dtype)
    if save is not None and save.exists():
        raise UsageError(f"--save {save}: it exists already; name a new folder")
    search = StrengthSearch(
        suites=[load_suite(Path(path)) for word in suites for path in find_suites(word)],
        tuned=tuned,
        base=base,
        strengths=read_strengths(at),
        folder=output.absolute(),
        store=Path(defaults.STORE).absolute(),
        dtype=dtype,
        judge=judge,
        calibration=calibration,
        sandbox=sandbox,
        seed=seed,
        training_data=training_data,
    )
    _judge_all(search)
    comparison = _compare(search, output)
    chosen = search.strengths[[c.letter for c in comparison.candidates].index(comparison.chosen)]
    if save is not None:
        _save(search, comparison, chosen, save)
    raise typer.Exit(comparison.verdict.exit_code)


def _judge_all(search: StrengthSearch) -> None:
    try:
        for value, verdict in search.runs():
            say(f"strength {value:g}: {verdict.verdict.value}: {verdict.sentence}")
    except RunInterrupted as error:
        raise RunInterrupted(f"{error}\n{AGAIN}", error.exit_code - 128) from error
    except BackendError as error:
        raise BackendError(f"{error}\n{AGAIN}") from error


def _compare(search: StrengthSearch, output: Path) -> CandidateComparison:
    """Compare the runs as candidates, write the page, and print what was found."""
    from tunegate.harness.cli.compare import write_comparison
    from tunegate.harness.decision.candidates.rank import compare_runs
    from tunegate.harness.decision.verdict.verdict_lines import columns
    from tunegate.harness.run.verification import load_verified

    folders = [search.run_folder(value) for value in search.strengths]
    paths = [suite.path for suite in search.suites]
    runs = [load_verified(folder, suites=paths)[0] for folder in folders]
    comparison = compare_runs(runs, strengths=search.strengths)
    page = write_comparison(comparison, output)
    say("")
    for line in columns([_HEAD, *_rows(comparison, search.strengths)]):
        say(line)
    say("")
    say(f"{comparison.verdict.value}: {comparison.sentence}")
    if step := _next_step(comparison, runs, output, paths):
        say(f"next: {step}")
    say(f"page: {page}")
    return comparison


def _next_step(
    comparison: CandidateComparison, runs: Sequence[Run], output: Path, paths: Sequence[Path]
) -> str | None:
    """Return what helps a fine-tune of which no strength ships."""
    from tunegate.harness.decision.verdict.next_step import next_step
    from tunegate.harness.records.verdict import Verdict

    if comparison.verdict is Verdict.SHIP:
        return None
    chosen = [candidate.letter for candidate in comparison.candidates].index(comparison.chosen)
    run, folder = runs[chosen], output / runs[chosen].folder.name
    if run.verdict.verdict is Verdict.SHIP:  # alone, and not as one of several
        places = (str(path.parent) for path in paths)
        plan = shlex.join(["tunegate", "plan", *places, "--from", str(folder)])
        return f"add cases: several strengths share the error of one: {plan}"
    suites = tuple(
        suite.model_copy(update={"causes": tuple(c for c in suite.causes if COMMAND not in c)})
        for suite in run.verdict.suites
    )
    verdict = run.verdict.model_copy(update={"suites": suites})
    report = str(output / "compare.html")
    return next_step(verdict, run.manifest.suites, run=str(folder), report=report)


_HEAD = ("strength", "verdict", "alone", "gain", "tolerance used")


def _rows(comparison: CandidateComparison, strengths: Sequence[float]) -> Iterator[tuple[str, ...]]:
    from tunegate.harness.cli.compare import candidate_cells

    for value, candidate in zip(strengths, comparison.candidates, strict=True):
        _, _, verdict, alone, gain, _, used = candidate_cells(candidate)
        mark = " ←" if candidate.letter == comparison.chosen else ""
        yield f"{value:g}{mark}", verdict, alone, gain, used


def _save(
    search: StrengthSearch, comparison: CandidateComparison, chosen: float, folder: Path
) -> None:
    """Copy the adapter at the chosen strength, if it may ship."""
    from tunegate.harness.records.verdict import Verdict

    if comparison.verdict is not Verdict.SHIP:
        say(f"nothing is saved to {folder}: no strength ships")
        return
    shutil.copytree(search.adapter(chosen), folder)
    say(f"saved: {folder}, strength {chosen:g}")
