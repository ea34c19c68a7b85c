"""compare.html: which of several fine-tunes of one base may ship, as one self-contained page.

Like the report of a run it is made from records alone, runs no script and asks for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.run import write_atomic
from harness.verdict.comparison_record import Candidate, Comparison
from harness.verdict.record import GateResult
from reports import forest, pareto
from reports.identity import short_of
from reports.plain import filled
from reports.wording import FACES, REASONS, STATUSES, direction


@dataclass(frozen=True, slots=True)
class GateTable:
    """One gate with every candidate's outcome."""

    suite: str
    gate: GateResult
    """The first candidate's, for what is the same of all."""
    rows: tuple[tuple[str, GateResult, forest.Row], ...]
    """Letter, outcome and drawing of each candidate."""


def render(comparison: Comparison) -> str:
    """Return the page of a comparison: the same comparison gives the same bytes."""
    chosen = comparison.candidate(comparison.chosen)
    return filled(
        "compare.html",
        tone=FACES[comparison.verdict].tone,
        style="compare.css",
        c=comparison,
        chosen=chosen,
        face=FACES[comparison.verdict],
        faces=FACES,
        statuses=STATUSES,
        reasons=REASONS,
        direction=direction,
        plot=pareto.draw(comparison),
        plot_size=(pareto.WIDTH, pareto.HEIGHT),
        row_size=(forest.WIDTH, forest.HEIGHT),
        share=pareto.share,
        short=short_of,
        gates=list(gate_tables(comparison)),
    )


def write(comparison: Comparison, path: Path) -> None:
    """Write the page; a reader sees the old file or the new one, never a part."""
    write_atomic(path, render(comparison))


def gate_tables(comparison: Comparison) -> Iterator[GateTable]:
    """Yield every gate of the suites, with what it says of each candidate."""
    first: Candidate = comparison.candidates[0]
    for at, suite in enumerate(first.suites):
        for number, gate in enumerate(suite.gates):
            found = [(one.letter, one.suites[at].gates[number]) for one in comparison.candidates]
            drawn = forest.rows([result for _, result in found])
            rows: Any = tuple(
                (letter, result, row) for (letter, result), row in zip(found, drawn, strict=True)
            )
            yield GateTable(suite=suite.name, gate=gate, rows=rows)
