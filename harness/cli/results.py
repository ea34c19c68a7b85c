"""`tunegate results RUN [RUN]`: what other tools recorded, two runs compared, a suite over them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.cli._results_suite import PREFIX
from tunegate.harness.records.defaults import CONFIDENCE
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

    if tolerance is not None and not tolerance > 0:
        raise UsageError(f"--tolerance {tolerance:g}: must be above 0")
    scored_base = read_results(base)
    _print_lines(_description("base" if tuned else "run", scored_base))
    if tuned is None:
        _print_lines(_listing(scored_base, _choose_scores(score, scored_base)))
        return
    other = read_results(tuned)
    _print_lines(_description("tuned", other))
    _refuse_unpaired(scored_base, other)
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
    base: ResultSet, other: ResultSet, keys: list[str], tolerance: float | None
) -> Iterator[str]:
    from tunegate.harness.checks.liveness import check_liveness
    from tunegate.harness.checks.recorded_results import compare_results
    from tunegate.harness.models.results import result_arm

    runs = {"base": base, "tuned": other}
    check_liveness({name: result_arm(name, run) for name, run in runs.items()})
    proven = compare_results(sorted(base.case_set | other.case_set), runs, keys)
    if proven["status"] == "proven":
        yield "prompts: the same in both runs"
    yield from [f"note: {proven['note']}"] if "note" in proven else []
    for task in sorted(base.tasks.keys() & other.tasks.keys()):
        yield f"{task or 'all'}:"
        there = {s.key for scored in (base, other) for s in scored.scores if s.task == task}
        for key in [score_key for score_key in keys if score_key in there]:
            yield from _score_lines(base, other, task, key, tolerance)


def _refuse_unpaired(base: ResultSet, other: ResultSet) -> None:
    """Refuse two runs that have no case or no score in common."""
    if not base.case_set & other.case_set:
        raise UsageError(
            f"no case is in both runs: base has {min(base.case_set)!r}, tuned "
            f"{min(other.case_set)!r}; runs are paired by task and id"
        )
    ours, theirs = ({summary.key for summary in result_set.scores} for result_set in (base, other))
    if not ours & theirs:
        raise UsageError(
            f"no score is in both runs: base has {', '.join(sorted(ours))}; tuned has "
            f"{', '.join(sorted(theirs))}"
        )


def _score_lines(
    base: ResultSet, tuned: ResultSet, task: str, key: str, tolerance: float | None
) -> Iterator[str]:
    from tunegate.harness.comparison.delta import compare_scores
    from tunegate.harness.records.answers import CellKind
    from tunegate.harness.records.manifest import MetricRecord

    ours, theirs = _means(base, task, key), _means(tuned, task, key)
    paired = [c for c in ours if ours[c] is not None and theirs.get(c) is not None]
    prompts = {c: base.answers[c, 0].prompt_sha256 for c in paired}
    paired = [c for c in paired if prompts[c] in (None, tuned.answers[c, 0].prompt_sha256)]
    better = tuned.traits(task, key).higher_is_better
    values = [(ours[c] or 0.0, theirs[c] or 0.0) for c in paired]
    binary = all(value in (0.0, 1.0) for pair in values for value in pair)
    metric = MetricRecord(
        name=key,
        use="recorded",
        needs=CellKind.RECORDED,
        higher_is_better=better is not False,
        range=(0.0, 1.0) if binary else tuned.traits(task, key).range,
        binary=binary,
    )
    delta = compare_scores(
        [b for b, _ in values],
        [t for _, t in values],
        metric=metric,
        clusters=[prompts[c] or c for c in paired],
        confidence=CONFIDENCE,
    )
    changes = [(t - b) * (1 if metric.higher_is_better else -1) for b, t in values]
    counts = f"{sum(c > 0 for c in changes)} better, {sum(c < 0 for c in changes)} worse"
    left = len(ours.keys() | theirs.keys()) - len(paired)
    lacking = f"; {count_noun(left, 'case')} without a score or the pair" if left else ""
    yield f"  {key}: {delta}; {len(paired)} pairs, {counts}{lacking}"
    yield from _unequal_lines(base, tuned, task, key)
    if tolerance is not None and paired:
        yield f"    a loss of at most {tolerance:g}: {_claim(delta, tolerance)}"


def _unequal_lines(base: ResultSet, tuned: ResultSet, task: str, key: str) -> Iterator[str]:
    from tunegate.harness.checks.equal_answers import find_unequal_scores
    from tunegate.harness.contracts.result_set import completion_of

    if any(result_set.traits(task, key).deterministic is False for result_set in (base, tuned)):
        return
    arms = {"base": base, "tuned": tuned}
    answers = (
        (
            case,
            {
                name: [
                    completion_of(row)
                    for sample in range(result_set.samples)
                    if (row := result_set.answers.get((case, sample))) and row.error is None
                ]
                for name, result_set in arms.items()
            },
        )
        for case in base.cases
        if base.answers[case, 0].task == task
    )
    unequal = find_unequal_scores(answers, "tuned", key)
    if unequal.too_many:
        yield f"    not comparable, unless a judge or a time makes it: {unequal.sentence}"


def _claim(delta: Delta, tolerance: float) -> str:
    try:
        return "proven" if delta.holds(tolerance) else "refuted: tuned lost more"
    except Undecided:
        return "neither proven nor refuted"


def _means(result_set: ResultSet, task: str, key: str) -> Mapping[str, float | None]:
    """Return case → mean of its samples; None if one of them is unscored or missing."""
    values: dict[str, list[float | None]] = {}
    for (case, _), row in result_set.answers.items():
        if row.task == task:
            score = row.scores.get(key) if row.error is None else None
            values.setdefault(case, []).append(score)
    means: dict[str, float | None] = {}
    for case, several in values.items():
        numbers = [value for value in several if value is not None]
        whole = len(numbers) == len(several) == result_set.samples
        means[case] = sum(numbers) / len(numbers) if whole else None
    return means
