"""Comparison of candidates as an HTML page and as Markdown.

It is made from records alone, runs no script and fetches nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote

from tunegate.harness.contracts.quantity import QuantityFormat
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.records.candidates import Candidate, CandidateComparison, PairwiseComparison
from tunegate.harness.records.files import write_atomic
from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.verdict import Verdict
from tunegate.reports.axis import AxisScale, GateMarks, gate_marks, gate_values
from tunegate.reports.escaping import code_span, escape_markdown
from tunegate.reports.formatting import (
    FACES,
    REASONS,
    STATUSES,
    format_difference,
    format_gate_interval,
    format_gate_value,
    format_interval,
    format_level,
    metric_direction,
)
from tunegate.reports.identity import short_of
from tunegate.reports.markdown import format_table, tag_phrase
from tunegate.reports.page import render_scriptless_page
from tunegate.reports.pareto import HEIGHT, WIDTH, draw_pareto, format_share
from tunegate.reports.strength_curves import HEIGHT as CURVE_HEIGHT
from tunegate.reports.strength_curves import WIDTH as CURVE_WIDTH
from tunegate.reports.strength_curves import draw_curves

FOREST_WIDTH, FOREST_HEIGHT, FOREST_EDGE = 260, 26, 8
"""Size of a candidate's row in a gate's forest plot, and the space beside its scale."""


@dataclass(frozen=True, slots=True)
class GateTable:
    """One gate with every candidate's outcome."""

    suite: str
    gate: GateResult
    """The first candidate's, for what all share."""
    rows: tuple[tuple[str, GateResult, GateMarks], ...]
    """Letter, outcome and drawing of each candidate."""


def render_page(
    comparison: CandidateComparison, pages: Mapping[str, str] = MappingProxyType({})
) -> str:
    """Return the page of a comparison: the same comparison gives the same bytes.

    Args:
        comparison: The comparison.
        pages: Letter of a candidate → address of its run's own page.
    """
    chosen = comparison.candidate(comparison.chosen)
    return render_scriptless_page(
        "compare.html",
        tone=FACES[comparison.verdict].tone,
        style="compare.css",
        c=comparison,
        chosen=chosen,
        face=FACES[comparison.verdict],
        faces=FACES,
        statuses=STATUSES,
        reasons=REASONS,
        direction=metric_direction,
        plot=draw_pareto(comparison),
        plot_size=(WIDTH, HEIGHT),
        row_size=(FOREST_WIDTH, FOREST_HEIGHT),
        gate_interval=format_gate_interval,
        share=format_share,
        short=short_of,
        gates=list(gate_tables(comparison)),
        overview=gate_overview(comparison),
        curves=list(draw_curves(comparison)),
        curve_size=(CURVE_WIDTH, CURVE_HEIGHT),
        pages=pages,
    )


def write_page(comparison: CandidateComparison, path: Path) -> None:
    """Write the page atomically."""
    reports = {
        candidate.letter: Path(candidate.folder) / "report.html"
        for candidate in comparison.candidates
    }
    pages = {
        letter: quote(os.path.relpath(page, path.parent))
        for letter, page in reports.items()
        if page.is_file()
    }
    write_atomic(path, render_page(comparison, pages))


def gate_tables(comparison: CandidateComparison) -> Iterator[GateTable]:
    """Yield every gate of the suites, with its result for each candidate."""
    first: Candidate = comparison.candidates[0]
    for at, suite in enumerate(first.suites):
        for index, gate in enumerate(suite.gates):
            results = [
                (candidate.letter, candidate.suites[at].gates[index])
                for candidate in comparison.candidates
            ]
            values = [value for _, result in results for value in gate_values(result)]
            scale = AxisScale.over(values, FOREST_EDGE, FOREST_WIDTH - FOREST_EDGE, pad=0.03)
            rows = tuple(
                (letter, result, gate_marks(result, scale, (0.0, FOREST_WIDTH)))
                for letter, result in results
            )
            yield GateTable(suite=suite.name, gate=gate, rows=rows)


LEAST = 3
"""Fewest gates that need an overview."""


def gate_overview(comparison: CandidateComparison) -> list[tuple[str, list[str]]]:
    """Return every gate with each candidate's result in short: the axes side by side."""
    overview = [
        (_gate_name(table), [_result(gate) for _, gate, _ in table.rows])
        for table in gate_tables(comparison)
    ]
    return overview if len(overview) >= LEAST else []


def _gate_name(table: GateTable) -> str:
    return f"{table.suite}: {table.gate.subject} {table.gate.kind}"


def _result(gate: GateResult) -> str:
    value = gate_kind(gate.kind).value(gate)
    advisory = " (advisory)" if gate.advisory else ""
    return f"{STATUSES[gate.status].sign} {format_gate_value(gate, value)}{advisory}"


ROWS = 100
"""Limit of the table of pairs; the page has all of them."""


def render_markdown(comparison: CandidateComparison) -> str:
    """Return the text of a comparison; the same comparison gives the same text."""
    face = FACES[comparison.verdict]
    return "\n".join(
        [
            f"### {face.sign} tunegate compare: {face.word}",
            "",
            escape_markdown(comparison.sentence),
            "",
            f"{len(comparison.candidates)} candidates, each gate at 1/{comparison.of} of its "
            "error.",
            "",
            format_table(
                ("", "tuned", "run", "verdict", "alone", "gain", "interval", "tolerance used"),
                map(_candidate, comparison.candidates),
            ),
            "",
            *(f"- {escape_markdown(note)}" for note in _notes(comparison)),
            "",
            *_overview_lines(comparison),
            "### One against the other",
            "",
            format_table(
                ("", "suite", "metric", "difference", "interval", "p (Holm)", "proven", "n"),
                map(_duel, comparison.duels[:ROWS]),
            ),
            *_more(len(comparison.duels) - ROWS),
            "",
        ]
    )


def _overview_lines(comparison: CandidateComparison) -> Iterator[str]:
    rows = gate_overview(comparison)
    if rows:
        yield "### Every gate"
        yield ""
        head = ("gate", *(candidate.letter for candidate in comparison.candidates))
        yield format_table(head, ([code_span(name), *results] for name, results in rows))
        yield ""


def _notes(found: CandidateComparison) -> Iterator[str]:
    yield from found.notes
    yield from (f"{one.letter}: {note}" for one in found.candidates for note in one.notes)


def _candidate(candidate: Candidate) -> list[str]:
    gain = candidate.gain
    how = QuantityFormat(gain is not None and gain.rate)
    return [
        candidate.letter,
        code_span(candidate.spec),
        code_span(candidate.folder),
        _face(candidate.verdict),
        _face(candidate.alone),
        format_difference(gain.estimate, how) if gain else format_level(None),
        format_interval(gain.low, gain.high, how) if gain else format_level(None),
        format_share(candidate.forgetting),
    ]


def _face(verdict: Verdict) -> str:
    face = FACES[verdict]
    return f"{face.sign} {face.word}"


def _duel(duel: PairwiseComparison) -> list[str]:
    proven = f"{duel.better} is better" if duel.better else "nothing"
    return [
        f"{duel.first} → {duel.second}",
        code_span(duel.suite),
        f"{code_span(duel.metric)}{tag_phrase(duel.tag)}",
        format_difference(duel.delta, QuantityFormat(duel.rate)),
        format_interval(duel.low, duel.high, QuantityFormat(duel.rate)),
        format_level(duel.p_value),
        proven + (" (advisory)" if duel.advisory else ""),
        str(duel.n),
    ]


def _more(n: int) -> list[str]:
    return [f"\n{n} more pairs on the page."] if n > 0 else []
