"""Case list of the page: a row for every case, then texts until the page is full.

Rows come in the order in which a reviewer wants them: what broke, what got worse, where judges
disagree, what got better, and the rest. The page's script draws them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.records.judgements import Judgement
from tunegate.harness.records.run_folder import Run
from tunegate.harness.telemetry.export import TRACES, find_file, viewer
from tunegate.harness.telemetry.export.identifiers import TraceIdentifiers, plan_sha256
from tunegate.reports import escaping
from tunegate.reports.case_detail import prompt_snippet
from tunegate.reports.case_json import (
    case_line,
    case_reasons,
    case_texts,
    judgement_json,
    round_number,
)
from tunegate.reports.case_view import CaseChange, CaseView
from tunegate.reports.data import ReportData
from tunegate.reports.identity import run_facts
from tunegate.reports.judge_disagreement import disagreement_notes, judgements_by_case
from tunegate.reports.thumbnails import case_images

_KEYS = {
    CaseChange.BROKE: "broke",
    CaseChange.WORSE: "worse",
    CaseChange.FIXED: "fixed",
    CaseChange.BETTER: "better",
    CaseChange.CHANGED: "changed",
    CaseChange.EQUAL: "equal",
}
"""The names of outcomes in the page's addresses and downloads."""


@dataclass(frozen=True, slots=True)
class TraceViewer:
    """A run as a viewer of traces sees it."""

    ids: TraceIdentifiers
    link: str | None
    """Address of a span in the viewer, with places for the ids; None where no viewer is known."""


@dataclass(frozen=True, slots=True)
class CaseListing:
    """All cases of a run in the order of the page."""

    data: ReportData = field(repr=False)
    views: tuple[CaseView, ...] = field(repr=False)
    judged: Mapping[tuple[str, str], tuple[Judgement, ...]] = field(repr=False)
    doubts: Mapping[str, tuple[str, ...]] = field(repr=False)
    """Anchor → what its judges disagree on."""
    traces: TraceViewer | None
    """None without traces."""
    against: Mapping[tuple[str, str], Sequence[int]] = field(repr=False)
    """(suite, case) → places of the gates that it speaks against."""
    talks: Mapping[str, int] = field(repr=False)
    """Anchor of a case that shares its cluster with others → its place in the plan."""

    def index(self) -> Iterator[str]:
        """Yield the JSON of the run's names and of a row for every case."""
        yield f'{escaping.script_json(self._names()).removesuffix("}")},"cases":['
        places = {(m.suite, m.name): at for at, m in enumerate(self.data.metrics.values())}
        for at, view in enumerate(self.views):
            yield f"{',' if at else ''}{escaping.script_json(self._row(view, places))}"
        yield "]}"

    def bodies(self, limit: int) -> Iterator[str]:
        """Yield the JSON of the first cases' texts, as many as fit into `limit` bytes."""
        yield "["
        for at, view in enumerate(self.views):
            body = f"{',' if at else ''}{escaping.script_json(self._body(view))}"
            limit -= len(body.encode())
            if limit < 0:
                break
            yield body
        yield "]"

    def _names(self) -> dict[str, Any]:
        verdict, traced = self.data.run.verdict, self.traces
        return {
            "run": verdict.run_id,
            "verdict": verdict.verdict,
            "about": run_facts(self.data.run),
            "trace": {"id": traced.ids.trace_id, "link": traced.link} if traced else None,
            "gates": [
                {"suite": of.suite, "metric": of.gate.metric, "words": of.words,
                 "name": f"{of.suite}: {of.gate.subject} {of.gate.kind}"}
                for of in self.data.gate_cases
            ],
            "metrics": [
                {"name": m.name, "suite": m.suite, "higher": m.higher_is_better, "gated": m.gated,
                 "ranks": m.ranks, "rate": m.rate}
                for m in self.data.metrics.values()
            ],
        }  # fmt: skip

    def _row(self, view: CaseView, places: Mapping[tuple[str, str], int]) -> dict[str, Any]:
        """Return the row of a case."""
        deciding = view.deciding
        values = [
            [
                places[view.suite, s.metric.name],
                _value(s.base),
                _value(s.tuned),
                round_number(s.change),
            ]
            for s in view.scores
        ]
        row = {
            "at": view.anchor,
            "id": view.name,
            "suite": view.suite,
            "tags": view.case.tags,
            "how": _KEYS[view.outcome],
            "by": places[view.suite, deciding.metric.name] if deciding else None,
            "scores": values,
            "start": prompt_snippet(view),
            "doubts": self.doubts.get(view.anchor),
            "gap": _is_unscored(view) or None,
            "against": [*self.against.get((view.suite, view.name), ())] or None,
            "trained": _contamination_note(view),
        }
        if view.anchor in self.talks:
            row |= {"talk": view.case.cluster, "no": self.talks[view.anchor]}
        return {key: value for key, value in row.items() if value is not None}

    def _body(self, view: CaseView) -> dict[str, Any]:
        places = {id(facts): at for at, facts in enumerate(self.data.metrics.values())}
        lines = self.judged.get((view.suite, view.name), ())
        samples = {s.name: s.generation.get("samples", 1) for s in _suites(self.data)}[view.suite]
        body = case_texts(view) | {
            "images": [*case_images(self.data.run.folder, view.case)],
            "samples": samples if samples > 1 else None,
            "where": view.stored.where,
            "span": self.traces.ids.case(view.suite, view.name) if self.traces else None,
            "found": [*case_reasons(view, places)],
            "judged": [judgement_json(line) for line in lines],
            "line": case_line(view),
        }
        return {key: value for key, value in body.items() if value}


def list_cases(data: ReportData) -> CaseListing:
    """Return the cases of a run in the order of the page."""
    judged = judgements_by_case(data.run.judgements)
    asks = {suite.name: [m.name for m in suite.metrics if m.judge] for suite in _suites(data)}
    doubts = {
        view.anchor: notes
        for view in data.cases
        if (
            notes := disagreement_notes(
                view, judged.get((view.suite, view.name), ()), asks[view.suite]
            )
        )
    }
    rest = [p for p in data.cases if p.outcome in (CaseChange.EQUAL, CaseChange.CHANGED)]
    rest.sort(
        key=lambda p: (p.anchor not in doubts, not _is_unscored(p), p.outcome is CaseChange.EQUAL)
    )
    views = (*data.regressions, *data.improvements, *rest, *data.variants)
    return CaseListing(
        data=data,
        views=views,
        judged=judged,
        doubts=doubts,
        traces=trace_viewer(data.run),
        against=_gates_against(data),
        talks=_conversations(data.cases),
    )


def _gates_against(data: ReportData) -> dict[tuple[str, str], list[int]]:
    """Return (suite, case) → places of the gates that the case speaks against."""
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, gate_cases in enumerate(data.gate_cases):
        for case in gate_cases.cases:
            places[gate_cases.suite, case].append(place)
    return places


def _conversations(views: Sequence[CaseView]) -> dict[str, int]:
    """Return anchor → place in the plan, of the cases whose cluster has others in their suite."""
    sizes = Counter((view.suite, view.case.cluster) for view in views)
    return {
        view.anchor: at
        for at, view in enumerate(views)
        if view.case.cluster and sizes[view.suite, view.case.cluster] > 1
    }


def _suites(data: ReportData) -> Sequence[Any]:
    return data.run.manifest.suites


def _value(row: Any) -> float | None:
    return None if row is None else round_number(row.value)


def _is_unscored(view: CaseView) -> bool:
    """Return whether a gated metric lacks a score on either arm."""
    return any(s.metric.gated and s.delta is None for s in view.scores)


def _contamination_note(view: CaseView) -> str | None:
    """Return the overlap of a case with training rows in words, and its consequence."""
    if view.touched is None:
        return None
    then = "left out of the gates" if view.left_out else "counts in the gates all the same"
    return f"{view.touched.found}, {view.touched.where}; {then}"


def trace_viewer(run: Run) -> TraceViewer | None:
    """Return a run's traces as a viewer shows them; None without traces.

    The link comes from a file in the run's folder, so only one to a web page is kept.
    """
    link = run.manifest.origin.get(viewer.ORIGIN)
    if link is None and find_file(run.folder, TRACES) is None:
        return None
    template = link if link is not None and viewer.template_problem(link) is None else None
    return TraceViewer(TraceIdentifiers.of(run.manifest, plan_sha256(run.manifest)), template)
