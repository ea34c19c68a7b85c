"""`tunegate compare RUN RUN…`: which of several fine-tunes of one base may ship?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tunegate.harness.cli._output import say
from tunegate.harness.cli._panels import Panel
from tunegate.harness.cli._run_suites import RunSuites, suite_paths
from tunegate.harness.records.errors import UsageError, refuse_unwritable

if TYPE_CHECKING:
    from tunegate.harness.contracts.quantity import QuantityFormat
    from tunegate.harness.records.candidates import (
        Candidate,
        CandidateComparison,
        PairwiseComparison,
    )

ORDER = 90
PANEL = Panel.DECIDE
FOLDER = Path(".tunegate/compare")
CANDIDATE_COLUMNS = ("", "tuned", "verdict", "alone", "gain", "interval", "tolerance used")
_DUELS = ("", "metric", "difference", "interval", "p (Holm)", "proven")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compare")(compare)


def compare(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Finished runs of one suite and base, a fine-tune each."),
    ] = None,
    of: Annotated[
        int,
        typer.Option("--of", min=0, help="Number of candidates these were picked from."),
    ] = 0,
    choose: Annotated[
        Path | None,
        typer.Option("--choose", metavar="RUN", help="Decide on this run instead of the best one."),
    ] = None,
    suite: RunSuites = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for compare.html, .md and .json.")
    ] = FOLDER,
    json: Annotated[
        bool, typer.Option("--json", help="Print compare.json and nothing else.")
    ] = False,
) -> None:
    """Decide which of several fine-tunes may ship, and rank them.

    Each candidate is judged again at its share of the error, since the best of many looks better
    than it is. No model is asked. The exit code is the chosen candidate's verdict, 0 for SHIP; 12
    if the runs cannot be compared.

    Example: tunegate compare .tunegate/runs/r8 .tunegate/runs/r16 .tunegate/runs/r64
    """
    from tunegate.harness.decision.candidates.rank import compare_runs
    from tunegate.harness.records.files import record_json
    from tunegate.harness.run.verification import load_verified

    folders, suites = runs or [], suite_paths(suite)
    found = compare_runs(
        [load_verified(folder, suites=suites)[0] for folder in folders],
        of=of,
        choose=_chosen_index(folders, choose),
    )
    written = write_comparison(found, output)
    if json:
        print(record_json(found), end="")
    else:
        for line in (*_lines(found), f"page: {written}"):
            say(line)
    raise typer.Exit(found.verdict.exit_code)


def _chosen_index(runs: Sequence[Path], choose: Path | None) -> int | None:
    if choose is None:
        return None
    places = [run.resolve() for run in runs]
    if choose.resolve() not in places:
        raise UsageError(
            f"--choose {choose}: not one of the runs; allowed: {', '.join(map(str, runs))}"
        )
    return places.index(choose.resolve())


def write_comparison(found: CandidateComparison, folder: Path) -> Path:
    """Write page, Markdown and JSON; return the page's path."""
    from tunegate.harness.records.files import record_json, write_atomic
    from tunegate.reports import candidates

    with refuse_unwritable(folder, "choose another with -o DIR"):
        write_atomic(folder / "compare.json", record_json(found))
        write_atomic(folder / "compare.md", candidates.render_markdown(found))
        candidates.write_page(found, folder / "compare.html")
    return folder / "compare.html"


def _lines(found: CandidateComparison) -> Iterator[str]:
    from tunegate.harness.decision.verdict.verdict_lines import columns

    names = ", ".join(suite.name for suite in found.suites)
    yield f"{len(found.candidates)} candidates on {names}; each gate gets 1/{found.of} of its error"
    yield ""
    yield from columns([CANDIDATE_COLUMNS, *map(candidate_cells, found.candidates)])
    if found.duels:
        yield ""
        yield from columns([_DUELS, *map(_duel, found.duels)])
    yield ""
    yield from (f"note: {note}" for note in found.notes)
    yield from (f"note: {one.letter}: {note}" for one in found.candidates for note in one.notes)
    yield f"{found.verdict.value}: {found.sentence}"


def candidate_cells(one: Candidate) -> tuple[str, ...]:
    """Return a candidate's row: letter, spec, verdict, alone, gain, interval, tolerance used."""
    from tunegate.harness.records.manifest import gate_subject

    gain, used = one.gain, one.forgetting
    return (
        one.letter,
        _format_spec(one.spec),
        one.verdict.value,
        one.alone.value,
        "–" if gain is None else _format(gain.rate).difference(gain.estimate),
        "–" if gain is None else _interval(gain.low, gain.high, rate=gain.rate),
        "–"
        if used is None or used.estimate is None
        else f"{100 * used.estimate:.0f} % of {used.suite} {gate_subject(used.metric, used.tag)}",
    )


def _duel(duel: PairwiseComparison) -> tuple[str, ...]:
    from tunegate.harness.records.manifest import gate_subject

    return (
        f"{duel.first} → {duel.second}",
        f"{duel.suite} {gate_subject(duel.metric, duel.tag)}",
        _format(duel.rate).difference(duel.delta),
        _interval(duel.low, duel.high, rate=duel.rate),
        "–" if duel.p_value is None else f"{duel.p_value:.2g}",
        (f"{duel.better} is better" if duel.better else "nothing")
        + (" (advisory)" if duel.advisory else ""),
    )


def _format(rate: bool) -> QuantityFormat:
    from tunegate.harness.contracts.quantity import QuantityFormat

    return QuantityFormat(rate)


def _interval(low: float | None, high: float | None, *, rate: bool) -> str:
    how = _format(rate)
    return f"{how.bare(low, sign=True)} to {how.bare(high, sign=True)}"


def _format_spec(spec: str) -> str:
    """Return a spec on one line; of a long one the end, which is where specs differ."""
    text = " ".join(spec.split())
    return text if len(text) <= 40 else f"…{text[-39:]}"
