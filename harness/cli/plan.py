"""`tunegate plan SUITES… [--from RUN]`: what the suites can prove, before a token is spent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.records.errors import SuiteError, UsageError
from tunegate.harness.records.wording import count_noun

if TYPE_CHECKING:
    from tunegate.harness.decision.planning.ship_probability import (
        GatePlan,
        GatePower,
        SuitePlan,
    )
    from tunegate.harness.records.manifest import Gate
    from tunegate.harness.suite import Suite

ORDER = 30
PANEL = Panel.DECIDE
_HEAD = ("gate", "spread", "proves (80 %)", "true change", "passes", "cases")
"""Columns: what changes is an improvement, in the metric's unit; cases are the gate's for SHIP."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plan")(plan)


def plan(
    suites: Annotated[
        list[str] | None, typer.Argument(help="Suite folders, suite.toml files or bundled names.")
    ] = None,
    from_: Annotated[
        Path | None,
        typer.Option("--from", help="Finished run of these suites to take spread and time from."),
    ] = None,
    judge: Annotated[str, typer.Option(help="Judges whose calls to price, comma-separated.")] = "",
) -> None:
    """Show what suites can prove, and how many cases that takes."""
    forecasts = _forecasts(_load(_files(suites or ())), from_)
    for number, suite_plan in enumerate(forecasts):
        suite = suite_plan.suite
        lines = (*_lines(suite_plan, from_), *_playing(suite), *_judging(suite, judge))
        say(*([""] if number else []), *lines)
    if len(forecasts) > 1 and all(suite_plan.chances for suite_plan in forecasts):
        say(f"\nall {len(forecasts)} suites: {_whole_run(forecasts)}")
    refusals = [text for suite_plan in forecasts for text in suite_plan.refusals]
    if refusals:
        raise SuiteError(refusals)


def _files(words: Sequence[str]) -> list[Path]:
    from tunegate.harness.suite.find import NONE_NAMED, find_suites

    for word in words:
        if "::" in word:
            raise UsageError(
                f"{word}: a plan is for a whole suite; leave out {word[word.index('::') :]}"
            )
    files = dict.fromkeys(file for word in words for file in find_suites(word))
    if not files:
        raise UsageError(NONE_NAMED)
    return [Path(file) for file in files]


def _forecasts(loaded: Sequence[Suite], run: Path | None) -> list[SuitePlan]:
    """Plan the suites."""
    from tunegate.harness.decision.planning.pilot import read_pilot
    from tunegate.harness.decision.planning.ship_probability import plan_suite
    from tunegate.harness.records.run_folder import Run

    if run is None:
        return [plan_suite(suite) for suite in loaded]
    earlier = Run.load(run)
    return [
        plan_suite(suite, read_pilot(earlier, suite.name, [m.name for m in suite.gated_metrics]))
        for suite in loaded
    ]


def _load(files: Sequence[Path]) -> list[Suite]:
    from tunegate.harness.suite import load_suite
    from tunegate.harness.suite.find import refuse_shared_name

    problems: list[str] = []
    loaded = []
    for file in files:
        try:
            loaded.append(load_suite(file))
        except SuiteError as error:
            problems += error.problems
    if problems:
        raise SuiteError(problems)
    refuse_shared_name(loaded)
    return loaded


def _lines(suite_plan: SuitePlan, run: Path | None) -> Iterator[str]:
    from tunegate.harness.suite import describe_variants

    grouped = "" if suite_plan.n_clusters is None else f" in {suite_plan.n_clusters} clusters"
    written = "nothing changed / spread of suite.toml (--from RUN measures yours)"
    assumed = (
        written if suite_plan.suite.written_spreads else "spread assumed (--from RUN measures it)"
    )
    source = f"spread as in {run}" if run else assumed
    cases = count_noun(len(suite_plan.suite.plain_cases), "case")
    yield f"{suite_plan.suite.name}: {cases}{grouped}; {source}"
    if added := describe_variants(suite_plan.suite):
        yield f"  {added} of each model"
    if not suite_plan.gates:
        yield "  no gates: it can neither ship nor block; add a [[gates]] table to its suite.toml"
        return
    yield from _table(suite_plan.gates)
    kinds = {power.comparison.spread.binary for gate in suite_plan.gates for power in gate.powers}
    yield from (f"  {meaning}" for binary, meaning in _SPREADS.items() if binary in kinds)
    yield f"  {_whole_rule(suite_plan)}"
    yield from (f"  note: {note}" for note in suite_plan.notes)
    yield f"  {_time(suite_plan)}"
    yield from (f"  {line}" for line in _answers(suite_plan))


_SPREADS = {
    True: "ψ: share of the cases that one model gets right and the other one wrong",
    False: "σ: standard deviation over the cases of the difference tuned - base",
}
"""Whether scores are 0 or 1 → what their spread is."""


def _table(gates: Sequence[GatePlan]) -> Iterator[str]:
    """Yield the gates with their numbers, and behind or below them what must be known of them."""
    rows = [(_gate_name(gate.gate), gate, _row(gate)) for gate in gates]
    width = max(len(name) for name, _, _ in rows)
    planned = [row for _, _, row in rows if row]
    widths = [max(map(len, column)) for column in zip(_HEAD[1:], *planned, strict=True)]
    if planned:
        yield "  " + _align_cells(_HEAD, (width, *widths))
    for name, gate, row in rows:
        if row:
            yield "  " + _align_cells((name, *row), (width, *widths))
        if gate.note:
            yield f"  {'' if row else name:<{width}}  {gate.note}"


def _align_cells(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{c:<{w}}" for c, w in zip(cells, widths, strict=True)).rstrip()


def _gate_name(gate: Gate) -> str:
    """Return `length::ratio_at_most 1.2`: the metric, and the key and margin of the suite file."""
    from tunegate.harness.gates.contract.registry import gate_kind
    from tunegate.harness.records.manifest import gate_id

    name = gate_id(gate.metric, gate_kind(gate.kind).margin_key(gate), gate.tag, gate.against)
    return f"{name} {gate.margin}"


def _row(gate: GatePlan) -> tuple[str, ...]:
    """Return the cells of the table after the gate's name; none if nothing is planned."""
    powers = gate.powers
    if not powers:
        return ()
    symbol = "ψ" if powers[0].comparison.spread.binary else "σ"
    return (
        f"{symbol} {_join_texts(_spread(o) for o in powers)}",
        _join_texts("none" if o.provable is None else _number(o.provable) for o in powers),
        _join_texts(f"{o.effect:+.2g}" if o.effect else "0" for o in powers),
        _shares([o.chance for o in powers]),
        _join_texts(_count(o.cases) for o in powers),
    )


def _spread(power: GatePower) -> str:
    spread = power.comparison.spread
    return _number(spread.value) + (f" ×{spread.deff:.1f}" if spread.deff > 1.05 else "")


def _whole_rule(suite_plan: SuitePlan) -> str:
    from tunegate.harness.gates.contract.registry import gate_kind

    levels = any(gate_kind(gate.gate.kind).reads_level for gate in suite_plan.gates)
    if suite_plan.refusals:
        return "SHIP cannot be reached with these cases"
    if not suite_plan.chances:
        unknown = [gate.gate.id for gate in suite_plan.gates if gate.counts and not gate.powers]
        alone = all(gate_kind(gate.gate.kind).reads_level for gate in suite_plan.gates)
        depends = "tuned's level alone" if alone else "gates that are not planned"
        why = f"unknown for {', '.join(unknown)}" if unknown else f"depends on {depends}"
        return f"SHIP: {why}"
    where = " where the floors hold" if levels else ""
    takes = f"80 % takes {_join_texts(_count(n) for n in suite_plan.cases)} cases"
    several = sum(gate.counts for gate in suite_plan.gates) > 1
    independent = ", as if gates were independent" if several else ""
    return f"SHIP: {_shares(suite_plan.chances)}{where}{independent}; {takes}"


def _whole_run(forecasts: Sequence[SuitePlan]) -> str:
    """Return the probability that all suites ship, for each assumption on the spread.

    Beside assumed spreads, a declared one counts in each column as suite.toml has it.
    """
    columns = max(len(suite_plan.chances) for suite_plan in forecasts)
    fixed = [suite_plan for suite_plan in forecasts if len(suite_plan.chances) < columns]
    chances = [o.chances[-1:] * columns if o in fixed else o.chances for o in forecasts]
    run = [math.prod(column) for column in zip(*chances, strict=True)]
    return f"SHIP {_shares(run)}" + (", declared spreads as in suite.toml" if fixed else "")


def _time(suite_plan: SuitePlan) -> str:
    from tunegate.harness.engine.progress import format_duration

    if suite_plan.pilot is None or not suite_plan.pilot.seconds:
        return "time: unknown; give a timed run with --from RUN"
    seconds = suite_plan.pilot.seconds
    total, tuned = sum(seconds.values()), seconds.get("tuned", 0.0)
    parts = [f"{n} cases take {format_duration(n * total)}" for n in _sizes(suite_plan)]
    kept = (
        f"; {format_duration(len(suite_plan.suite.cases) * tuned)} once base's answers are stored"
        if tuned < total
        else ""
    )
    return f"time: as in the run, {', '.join(parts)}{kept}"


def _answers(suite_plan: SuitePlan) -> Iterator[str]:
    """Yield what the answers cost: of those that equal base's the prompt and a prefill alone."""
    unchanged = suite_plan.pilot and suite_plan.pilot.unchanged
    if not unchanged:
        return
    parts = [f"{n} cases write {round(n * (1 - unchanged))}" for n in _sizes(suite_plan)]
    yield (
        f"answers: {100 * unchanged:.0f} % of tuned's were base's own in the run and "
        f"are read, not written: {', '.join(parts)} of tuned, and as many of base as have cases "
        "until those are stored"
    )


def _sizes(suite_plan: SuitePlan) -> Iterable[int]:
    """Return the suite's number of cases, and those that it takes, each once."""
    needed = (n for n in suite_plan.cases if n is not None)
    return dict.fromkeys((len(suite_plan.suite.cases), *needed))


def _playing(suite: Suite) -> Iterator[str]:
    """Yield what another program is to play."""
    if suite.episode is not None and suite.episode.settings.inspect:
        task, count = suite.episode.settings.inspect, len(suite.cases) * suite.generation.samples
        yield f"  Inspect plays {count} episodes of {task} with each model"


def _judging(suite: Suite, judge: str) -> Iterator[str]:
    """Yield what a suite's judges are asked, and what that costs."""
    from tunegate.harness.judges.asking import costs as forecast
    from tunegate.harness.judges.asking.specs import parse_specs
    from tunegate.harness.judges.asking.stage import judge_metrics

    if judge_metrics([suite]):
        judging = forecast.forecast_judging([suite], parse_specs(judge or None))
        yield from (f"  {line}" for line in forecast.forecast_lines(judging))


def _shares(values: Sequence[float]) -> str:
    """Return probabilities in percent; no forecast is certain, and 0 is what cannot pass."""
    texts = []
    for value in values:
        rare, sure = 0 < value < 0.005, value >= 0.995
        texts.append("<1" if rare else ">99" if sure else f"{100 * value:.0f}")
    return f"{_join_texts(texts)} %"


def _join_texts(texts: Sequence[str] | Iterator[str]) -> str:
    """Return what the assumptions make, once if it is the same for all of them."""
    found = list(texts)
    return found[0] if len(set(found)) == 1 else " / ".join(found)


def _number(value: float) -> str:
    return f"{value:.2g}"


def _count(cases: int | None) -> str:
    return "never" if cases is None else str(cases)
