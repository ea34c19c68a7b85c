"""`tunegate results RUN [RUN]`: what other tools recorded, two runs compared, a suite over them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.cli._results_suite import PREFIX
from tunegate.harness.records.errors import (
    Undecided,
    UsageError,
    unknown_name_message,
)
from tunegate.harness.records.wording import count_noun

if TYPE_CHECKING:
    from tunegate.harness.comparison.delta import Delta
    from tunegate.harness.contracts.result_set import ResultSet, ScoreSummary

ORDER = 95
PANEL = Panel.LOOK_CLOSER


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("results")(results)


def results(
    base: Annotated[str, typer.Argument(metavar="RUN", help="Results: PATH[?format=NAME][#RUN].")],
    tuned: Annotated[
        str | None, typer.Argument(metavar="[TUNED]", help="Results to compare with them.")
    ] = None,
    score: Annotated[
        list[str] | None, typer.Option("--score", help="Only this score; may be repeated.")
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", help="Also say whether a larger loss is ruled out."),
    ] = None,
) -> None:
    """List the scores of another tool's run, or compare two runs.

    Not a verdict: the exit code is always 0. Margins are written into
    a suite before tuned is looked at: `tunegate suite new DIR --from results:RUN`.

    Example: tunegate results runs/base runs/tuned --score exact_match,strict-match
    """
    from tunegate.harness.contracts.result_set import read_results
    from tunegate.harness.run.results_comparison import refuse_unpaired

    if tolerance is not None and not tolerance > 0:
        raise UsageError(f"--tolerance {tolerance:g}: must be above 0")
    scored_base = read_results(base)
    _print_lines(_description("base" if tuned else "run", scored_base))
    if tuned is None:
        _print_lines(_listing(scored_base, _choose_scores(score, scored_base)))
        return
    other = read_results(tuned)
    _print_lines(_description("tuned", other))
    refuse_unpaired(scored_base, other)
    keys = _choose_scores(score, scored_base, other)
    _print_lines(_comparison(scored_base, other, keys, tolerance))
    say(
        "no verdict without a margin that was written before: `tunegate suite new DIR --from "
        f"{shlex.quote(PREFIX + base.removeprefix(PREFIX))}` writes a suite"
    )


def _print_lines(lines: Iterator[str]) -> None:
    for line in lines:
        say(line)


def _description(name: str, result_set: ResultSet) -> Iterator[str]:
    version = result_set.logs[0].tool_version
    tool = f"{result_set.tool} {version}" if version else result_set.tool
    model = f", {', '.join(result_set.models)}" if result_set.models else ""
    samples = f", {result_set.samples} samples each" if result_set.samples > 1 else ""
    yield f"{name}: {result_set.spec.path}: {tool}{model}, {len(result_set.cases)} cases{samples}"
    yield from (f"  {note}" for note in result_set.notes)


def _choose_scores(score: list[str] | None, *sets: ResultSet) -> list[str]:
    """Return the keys to be shown: those named, or all that the runs share."""
    first, *others = [[summary.key for summary in result_set.scores] for result_set in sets]
    shared = tuple(dict.fromkeys(key for key in first if all(key in other for other in others)))
    for key in score or ():
        if key not in shared:
            raise UsageError(unknown_name_message(key, shared, what="score"))
    return list(score or shared)


def _listing(result_set: ResultSet, keys: list[str]) -> Iterator[str]:
    for task, count in sorted(result_set.tasks.items()):
        yield f"{task or 'all'}: {count} cases"
        for summary in result_set.scores:
            if summary.task == task and summary.key in keys:
                yield f"  {summary.key:24} {_values_of(summary)}"


def _values_of(summary: ScoreSummary) -> str:
    if not summary.values:
        return f"no number: {summary.reason}"
    values = "0 or 1" if summary.binary else f"{summary.low:g} to {summary.high:g}"
    lacking = f", {summary.unscored} unscored ({summary.reason})" if summary.unscored else ""
    better = {True: ", higher is better", False: ", lower is better"}.get(
        summary.traits.higher_is_better  # type: ignore[arg-type]  # None is in neither
    )
    return f"{values}{better or ''}{lacking}"


def _comparison(
    base: ResultSet, tuned: ResultSet, keys: list[str], tolerance: float | None
) -> Iterator[str]:
    from tunegate.harness.run.results_comparison import check_comparable, compare_task

    proven = check_comparable(base, tuned, keys)
    if proven["status"] == "proven":
        yield "prompts: the same in both runs"
    if "note" in proven:
        yield f"note: {proven['note']}"
    for task in sorted(base.tasks.keys() & tuned.tasks.keys()):
        yield f"{task or 'all'}:"
        for score in compare_task(base, tuned, task, keys):
            left = count_noun(score.unpaired, "case")
            lacking = f"; {left} without a score or the pair" if score.unpaired else ""
            counts = f"{score.delta.n} pairs, {score.better} better, {score.worse} worse"
            yield f"  {score.key}: {score.delta}; {counts}{lacking}"
            if score.unequal:
                yield f"    not comparable, unless a judge or a time makes it: {score.unequal}"
            if tolerance is not None and score.delta.n:
                yield f"    a loss of at most {tolerance:g}: {_claim(score.delta, tolerance)}"


def _claim(delta: Delta, tolerance: float) -> str:
    try:
        return "proven" if delta.holds(tolerance) else "refuted: tuned lost more"
    except Undecided:
        return "neither proven nor refuted"
