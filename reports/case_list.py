"""Case list of the page: rows for filtering and searching, with links to traces.

The page's script draws both. Rows come in the order in which a reviewer wants them: what broke,
what got worse, where judges disagree, what got better, and the rest. Every case has its row, with
all its scores; the texts follow in the same order until the page is full.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.jsonl import record_lines
from tunegate.harness.records.judgements import Judgement
from tunegate.harness.records.run_folder import Run
from tunegate.harness.telemetry.export import TRACES, collector, find_file
from tunegate.harness.telemetry.export.run_records import TraceIdentifiers, plan_sha256
from tunegate.reports import escaping
from tunegate.reports.case_detail import (
    TextExcerpt,
    WordDiff,
    cells_in_order,
    compare_choices,
    completion_diff,
    expected_texts,
    further_completions,
    prompt_snippet,
    question_texts,
    rendered_prompt,
    thoughts,
)
from tunegate.reports.data import CaseChange, CaseView, PairScore, ReportData
from tunegate.reports.identity import run_facts

SPREAD = "jury_spread"
"""Part of a jury's score: how far its judges differ."""


def order_changed(judgement: Judgement) -> bool:
    """Return whether a judge of pairs changed its verdict with the answers in the other order."""
    parts = judgement.parts or {}
    if not {"base_first", "tuned_first"} <= parts.keys():
        return False
    first, second = parts["base_first"], parts["tuned_first"]
    return first * second < 0 or (first == 0) != (second == 0)


def judgements_by_case(
    judgements: Iterable[Judgement],
) -> Mapping[tuple[str, str], tuple[Judgement, ...]]:
    """Return (suite, case) → the judges' replies."""
    found: dict[tuple[str, str], list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        found[judgement.suite, judgement.case].append(judgement)
    return {key: tuple(lines) for key, lines in found.items()}


def disagreement_notes(
    view: CaseView, judged: Iterable[Judgement], metrics: Iterable[str]
) -> tuple[str, ...]:
    """Return in words what about a case the judges disagree on.

    Args:
        view: The case.
        judged: The judges' replies.
        metrics: Names of the suite's metrics that ask a judge.
    """
    names = set(metrics)
    scores = [score for score in view.scores if score.metric.name in names]
    said = [
        f"{name}: another answer with the completions the other way round"
        for name in sorted({line.metric for line in judged if order_changed(line)})
    ]
    said += [f"{s.metric.name}: the jury is divided" for s in scores if _is_divided(s)]
    rules = {_sign(s) for s in view.scores if s.metric.ranks and s.metric.name not in names}
    said += [
        f"{s.metric.name}: the judge and a rule point in opposite directions"
        for s in scores
        if _sign(s) and -_sign(s) in rules
    ]
    return tuple(said)


def _is_divided(score: PairScore) -> bool:
    rows = (row for row in (score.base, score.tuned) if row is not None)
    return any((row.parts or {}).get(SPREAD, 0) > 0 for row in rows)


def _sign(score: PairScore) -> int:
    change = score.change or 0
    return (change > 0) - (change < 0)


REASON = 600
"""Characters shown of a metric's or a judge's reason."""

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

    def case(self, suite: str, name: str) -> str:
        """Return the id of a case's span."""
        return self.ids.case(suite, name)


@dataclass(frozen=True, slots=True)
class CaseListing:
    """All cases of a run in the order of the page."""

    data: ReportData = field(repr=False)
    views: tuple[CaseView, ...] = field(repr=False)
    judged: Mapping[tuple[str, str], tuple[Judgement, ...]] = field(repr=False)
    doubts: Mapping[str, tuple[str, ...]] = field(repr=False)
    """Anchor → what its judges disagree on; only cases on which they do."""
    traces: TraceViewer | None
    """None where the run left none."""
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

    def bodies(self, room: int) -> Iterator[str]:
        """Yield the JSON of the first cases' texts, as many as `room` bytes hold."""
        yield "["
        for at, view in enumerate(self.views):
            body = f"{',' if at else ''}{escaping.script_json(self._body(view))}"
            room -= len(body.encode())
            if room < 0:
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
                {"suite": one.suite, "metric": one.gate.metric, "words": one.words,
                 "name": f"{one.suite}: {one.gate.subject} {one.gate.kind}"}
                for one in self.data.gate_cases
            ],
            "metrics": [
                {"name": m.name, "suite": m.suite, "higher": m.higher_is_better, "gated": m.gated,
                 "ranks": m.ranks, "rate": m.rate}
                for m in self.data.metrics.values()
            ],
        }  # fmt: skip

    def _row(self, view: CaseView, places: Mapping[tuple[str, str], int]) -> dict[str, Any]:
        """Return the row of a case.

        Args:
            view: The case.
            places: (suite, metric) → its place among the metrics.
        """
        deciding = view.deciding
        values = [
            [places[view.suite, s.metric.name], _value(s.base), _value(s.tuned), _round(s.change)]
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
        body = _texts(view) | {
            "where": view.stored.where,
            "span": self.traces.case(view.suite, view.name) if self.traces else None,
            "found": [*_reasons(view, places)],
            "judged": [_judgement(line) for line in lines],
            "line": _case_line(view),
        }
        return {key: value for key, value in body.items() if value}


def list_cases(data: ReportData) -> CaseListing:
    """Return the cases of a run in the order of the page."""
    judged = judgements_by_case(data.run.judgements)
    asks = {suite.name: [m.name for m in suite.metrics if m.judge] for suite in _suites(data)}
    found = {
        view.anchor: said
        for view in data.cases
        if (
            said := disagreement_notes(
                view, judged.get((view.suite, view.name), ()), asks[view.suite]
            )
        )
    }
    rest = [p for p in data.cases if p.outcome in (CaseChange.EQUAL, CaseChange.CHANGED)]
    rest.sort(
        key=lambda p: (p.anchor not in found, not _is_unscored(p), p.outcome is CaseChange.EQUAL)
    )
    views = (*data.regressions, *data.improvements, *rest)
    return CaseListing(
        data=data,
        views=views,
        judged=judged,
        doubts=found,
        traces=trace_viewer(data.run),
        against=_gates_against(data),
        talks=_conversations(data.cases),
    )


def _gates_against(data: ReportData) -> dict[tuple[str, str], list[int]]:
    """Return (suite, case) → places of the gates that the case speaks against."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, one in enumerate(data.gate_cases):
        for case in one.cases:
            found[one.suite, case].append(place)
    return found


def _conversations(views: Sequence[CaseView]) -> dict[str, int]:
    """Return anchor → place in the plan, of the cases whose cluster has others in their suite."""
    sizes = Counter((view.suite, view.case.cluster) for view in views)
    return {
        view.anchor: at
        for at, view in enumerate(views)
        if view.case.cluster and sizes[view.suite, view.case.cluster] > 1
    }


LONGEST_LINE = 8_000
"""Characters of a case that the page can save as a line of a suite."""


def _case_line(view: CaseView) -> str | None:
    """Return the case as a line of cases.jsonl; None of one that is too long for the page."""
    line = next(iter(record_lines([view.case]))).rstrip("\n")
    return line if len(line) <= LONGEST_LINE else None


def _suites(data: ReportData) -> Sequence[Any]:
    return data.run.manifest.suites


def _value(row: Any) -> float | None:
    return None if row is None else _round(row.value)


def _round(value: float | None) -> float | None:
    """Return six significant digits: what a page shows, in half the bytes."""
    return None if value is None else float(f"{value:.6g}")


def _is_unscored(view: CaseView) -> bool:
    """Return whether a gated metric lacks a score on either arm."""
    return any(s.metric.gated and s.delta is None for s in view.scores)


def _contamination_note(view: CaseView) -> str | None:
    """Return in words what training rows have in common with a case, and what follows from it."""
    if view.touched is None:
        return None
    then = "left out of the gates" if view.left_out else "counts in the gates all the same"
    return f"{view.touched.found}, {view.touched.where}; {then}"


def _texts(view: CaseView) -> dict[str, Any]:
    diff = completion_diff(view)
    return {
        "question": [*map(_text, question_texts(view))],
        "rendered": [*map(_text, rendered_prompt(view))],
        "expected": [*map(_text, expected_texts(view))],
        "choices": [
            {"text": c.text, "right": c.right, "logprobs": [*map(_round, c.logprobs)],
             "shares": [*map(_round, c.shares)], "picked": c.picked}
            for c in compare_choices(view)
        ],
        "diff": [*_segments(diff)] if diff else None,
        "note": diff.note if diff else None,
        "lacks": [arm for arm in ("base", "tuned") if view.text(arm) is None],
        "others": [*map(_text, further_completions(view))],
        "thoughts": [*map(_text, thoughts(view))],
        "cells": [*map(_cell, cells_in_order(view))],
    }  # fmt: skip


def _text(item: TextExcerpt) -> list[Any]:
    return [item.label, item.text, item.missing] if item.missing else [item.label, item.text]


def _segments(diff: WordDiff) -> Iterator[Any]:
    """Yield a text both arms have, or base's and tuned's, with 1 if only the spaces differ."""
    for part in diff.segments:
        if not part.changed and part.base == part.tuned:
            yield part.base
        else:
            yield [part.base, part.tuned] if part.changed else [part.base, part.tuned, 1]


def _reasons(view: CaseView, places: Mapping[int, int]) -> Iterable[list[Any]]:
    """Yield metric, arm and what the metric found; 1 at the end where there is no value."""
    for score in view.scores:
        for arm, row in (("base", score.base), ("tuned", score.tuned)):
            if row is not None and row.reason:
                reason = [places[id(score.metric)], arm, _short(row.reason)]
                yield reason if row.value is not None else [*reason, 1]


def _cell(stored: StoredAnswer) -> dict[str, Any]:
    done = stored.completion
    facts: dict[str, Any] = {
        "arm": stored.cell.arm,
        "kind": stored.cell.kind,
        "status": None if stored.status == "ok" else stored.status,
        "error": _short(stored.error) if stored.error else None,
        "began": stored.started_s,
        "stored": stored.cache_hit or None,
    }
    if done is not None:
        facts |= {
            "finish": done.finish_reason,
            "read": done.input_tokens,
            "wrote": done.output_tokens,
            "thought": done.reasoning_tokens,
            "took": _round(done.latency_s),
            "batch": done.batch_size,
            "asked": done.attempts,
            "cost": _round(done.cost),
            "answer": _round(done.answer_logprob),
        }
    return {key: value for key, value in facts.items() if value is not None}


def _judgement(line: Judgement) -> dict[str, Any]:
    facts = {
        "arm": line.arm,
        "metric": line.metric,
        "judge": line.judge,
        "status": line.status,
        "value": _round(line.value),
        "reason": _short(line.reason) if line.reason else None,
        "asked": line.attempts,
        "took": _round(line.latency_s),
    }
    return {key: value for key, value in facts.items() if value is not None}


def _short(text: str) -> str:
    return text if len(text) <= REASON else text[:REASON] + "…"


def trace_viewer(run: Run) -> TraceViewer | None:
    """Return what is known of a run's traces; None where it left none.

    A link always leads to a web page: its address was read from a file of the run's folder.
    """
    link = run.manifest.origin.get(collector.ORIGIN)
    if link is None and find_file(run.folder, TRACES) is None:
        return None
    known = link if link is not None and collector.template_problem(link) is None else None
    return TraceViewer(TraceIdentifiers.of(run.manifest, plan_sha256(run.manifest)), known)
