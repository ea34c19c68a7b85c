"""history.html: a project's runs over time, one chart a gate, as one self-contained page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tunegate.harness.records.files import write_atomic
from tunegate.harness.records.verdict import GateResult, SuiteResult
from tunegate.harness.verdict.run_history import PastRun, RunHistory, SuiteUsage
from tunegate.reports import trend_chart
from tunegate.reports.formatting import FACES, STATUSES, metric_direction
from tunegate.reports.identity import short_of
from tunegate.reports.page import scriptless


@dataclass(frozen=True, slots=True)
class SuiteTimeline:
    """One suite's runs, newest first, with the drawings of its gates."""

    name: str
    rows: tuple[tuple[PastRun, SuiteResult], ...]
    trends: tuple[trend_chart.TrendDrawing, ...]
    wear: tuple[SuiteUsage, ...]
    gates: tuple[str, ...]
    """Ids of its gates, those of the newest run first: the table's columns."""


def render_history(history: RunHistory) -> str:
    """Return the page of a history: the same runs give the same bytes."""
    newest = history.runs[-1] if history.runs else None
    return scriptless(
        "history.html",
        tone=FACES[newest.verdict].tone if newest else "calm",
        style="history.css",
        h=history,
        newest=newest,
        runs=tuple(reversed(history.runs)),
        suites=list(suites_over_time(history)),
        faces=FACES,
        statuses=STATUSES,
        tones={status.value: face.tone for status, face in STATUSES.items()},
        direction=metric_direction,
        short=short_of,
        size=(trend_chart.WIDTH, trend_chart.HEIGHT),
    )


def write_history(history: RunHistory, path: Path) -> None:
    """Write the page; a reader sees the old file or the new one, never a part."""
    write_atomic(path, render_history(history))


def suites_over_time(history: RunHistory) -> Iterator[SuiteTimeline]:
    """Yield every suite, in the order of its first run."""
    for name in history.names:
        rows = tuple(history.of_suite(name))
        ids = dict.fromkeys(_id(gate) for _, suite in reversed(rows) for gate in suite.gates)
        drawn = (trend_chart.draw_trend(_gate_history(rows, gate)) for gate in ids)
        yield SuiteTimeline(
            name=name,
            rows=tuple(reversed(rows)),
            trends=tuple(found for found in drawn if found is not None),
            wear=tuple(w for w in history.wear if w.name == name),
            gates=tuple(ids),
        )


def _id(gate: GateResult) -> str:
    return f"{gate.metric}::{gate.kind}"


def _gate_history(
    rows: tuple[tuple[PastRun, SuiteResult], ...], gate_id: str
) -> list[trend_chart.HistoricalOutcome]:
    return [
        trend_chart.HistoricalOutcome(run, suite.hash, gate)
        for run, suite in rows
        for gate in suite.gates
        if _id(gate) == gate_id
    ]
