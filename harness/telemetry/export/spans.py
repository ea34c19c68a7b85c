"""Span tree of a run, a case at a time.

```
eval run
└── eval suite                one per suite
    └── eval case             one per case that was asked
        ├── chat MODEL        one per completion of an arm, linked by its scores; for an
        │                     episode `invoke_agent SUITE`, with turns and calls below it
        ├── eval check METRIC one per score of a rule
        └── chat JUDGE        one per reply of a judge model, linked to what it judged
```
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from tunegate.harness.records.answers import StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.hashing import sha256
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.records.verdict import Verdict
from tunegate.harness.telemetry.export import attribute_names as a
from tunegate.harness.telemetry.export import otlp_json, resources
from tunegate.harness.telemetry.export.case_outcome import case_outcome
from tunegate.harness.telemetry.export.completion_spans import CompletionSpans
from tunegate.harness.telemetry.export.content import ContentCapture, case_with_system
from tunegate.harness.telemetry.export.episode_spans import episode_spans
from tunegate.harness.telemetry.export.evaluators import MetricEvaluator, RunEvaluators, kind_of
from tunegate.harness.telemetry.export.identifiers import TraceIdentifiers, plan_sha256
from tunegate.harness.telemetry.export.run_metrics import RunTotals
from tunegate.harness.telemetry.export.run_records import CaseRecord, RunRecords

if TYPE_CHECKING:
    from tunegate.harness.telemetry.export.judge_spans import JudgeSpans

SKIPPED = "skipped"
"""Status of a case that was not asked because all was decided."""
_STATUSES = {Verdict.SHIP: "success", Verdict.ERROR: "aborted"}
"""Verdict → status of a suite as the conventions have it; the others are failures."""


@dataclass
class _TimeExtent:
    """From when to when something lasted, and a hash of what it saw."""

    start: int = 0
    end: int = 0
    cases: Any = field(default_factory=hashlib.sha256)

    def take(self, start: int, end: int) -> None:
        self.start = min(self.start or start, start)
        self.end = max(self.end, end)


class _ScoredCell(NamedTuple):
    """A score, and the completion that it is about."""

    row: ScoreRow
    evaluator: MetricEvaluator
    key: str
    """The cell's."""
    span_id: str
    end: int
    """When the completion was done, in nanoseconds."""


@dataclass(frozen=True, slots=True)
class CaseSignals:
    """Spans of one case."""

    spans: tuple[str, ...]
    logs: tuple[str, ...]


class SpanBuilder:
    """Makes the spans of one run."""

    def __init__(self, run: RunRecords, content: ContentCapture | None) -> None:
        """Take the records, and what of prompts and answers is written: None writes nothing."""
        self._run, self._content = run, content
        self._plan_sha256 = plan_sha256(run.manifest)
        self.ids = TraceIdentifiers.of(run.manifest, self._plan_sha256)
        self.totals = RunTotals()
        self._completions = CompletionSpans(run, self.ids, content, self.totals)
        self._evaluators = RunEvaluators(run.manifest)
        self._suites: dict[str, _TimeExtent] = {}
        self._seen: set[tuple[str, str]] = set()

    @cached_property
    def _judges(self) -> JudgeSpans:
        """Factory of judge spans, imported only by runs that have any."""
        from tunegate.harness.telemetry.export.judge_spans import JudgeSpans

        run, content = self._run.manifest, self._content
        return JudgeSpans(run, self._evaluators, self.ids, content, self.totals)

    def cases(self) -> Iterator[CaseSignals]:
        """Yield what is written of each case."""
        for record in self._run.by_case():
            yield self._case(record)

    def closing(self) -> tuple[str, ...]:
        """Return the spans of the run and its suites, after all cases."""
        whole = _TimeExtent()
        inner = []
        planned = {(cell.suite, cell.case) for cell in self._run.manifest.plan}
        for suite, _ in planned - self._seen:
            self.totals.cases(suite, SKIPPED)
        for suite, extent in self._suites.items():
            whole.take(extent.start, extent.end)
            whole.cases.update(extent.cases.digest())
            inner.append(self._suite(suite, extent))
        if not self._suites:
            begun = self._run.begun
            whole.take(round(begun * 1e9), round(begun * 1e9))
        self.extent = whole.start, whole.end
        return tuple(span.json(self.ids.trace_id) for span in (self._root(whole), *inner))

    def _case(self, record: CaseRecord) -> CaseSignals:
        run, parent = self._run, self.ids.span("suite", record.suite.name)
        span_id = self.ids.case(record.suite.name, record.id)
        start = min(run.start(c) for c in record.cells)
        done = end = max(run.end(c) for c in record.cells)
        scored = [*self._scored_cells(record)]
        logs = [self._result(scored_cell) for scored_cell in scored]
        spans = [self._completions.span(record, c, span_id) for c in record.cells]
        for stored in record.cells:
            spans += self._episode(stored)
        spans += [
            self._check(scored_cell, span_id)
            for scored_cell in scored
            if scored_cell.evaluator.metric.judge is None
        ]
        for call in self._judges.of(record, span_id, done) if record.judgements else ():
            spans.append(call)
            end = max(end, call.end)
        extent = self._suites.setdefault(record.suite.name, _TimeExtent())
        extent.take(start, end)
        self._seen.add((record.suite.name, record.id))
        outcome = case_outcome(record)
        self.totals.cases(record.suite.name, outcome.value)
        case_sha256 = _case_sha256(record)
        extent.cases.update((case_sha256 or record.id).encode("utf-8", "surrogatepass"))
        values = {
            a.SUITE_NAME: record.suite.name,
            a.CASE_NAME: record.id,
            a.CASE_RESULT: outcome.result,
            a.RUN_ID: run.manifest.run_id,
            a.CASE_ID: record.id,
            a.CASE_SUBJECT: list(record.case.tags) if record.case and record.case.tags else None,
            a.CASE_SHA256: case_sha256,
            a.CASE_OUTCOME: outcome.value,
        }
        if self._content is not None and record.case is not None:
            shown = case_with_system(record.case, record.suite.generation)
            values[a.CASE_CONTENT] = self._content.json(_plain(shown))
        spans.insert(
            0,
            otlp_json.SpanText(
                "eval case", span_id, parent, start, end, otlp_json.attributes_json(values)
            ),
        )
        texts = tuple(span.json(self.ids.trace_id) for span in spans)
        return CaseSignals(texts, tuple(logs))

    def _episode(self, stored: StoredAnswer) -> Iterable[otlp_json.SpanText]:
        if stored.completion is None or stored.completion.episode is None:
            return ()
        model = resources.ModelAttributes.of(self._run.manifest.identity(stored.cell.arm))
        return episode_spans(stored, self.ids, self._run.start(stored), model, self._content)

    def _scored_cells(self, record: CaseRecord) -> Iterator[_ScoredCell]:
        """Yield each score of a case with its completion."""
        cells = {(c.cell.arm, c.cell.kind): c for c in reversed(record.cells)}
        places = {
            name: (stored.cell.key, self.ids.cell(stored.cell), self._run.end(stored))
            for name, stored in cells.items()
        }
        for row in record.scores:
            evaluator = self._evaluators.of(row)
            place = places.get((row.arm, kind_of(evaluator.metric)))
            if place is not None:
                yield _ScoredCell(row, evaluator, *place)

    def _result(self, scored: _ScoredCell) -> str:
        """Return an evaluation result as a log record of the completion's span."""
        row, evaluator = scored.row, scored.evaluator
        values = evaluator.result_of(row, scored.key, self._content)
        values = otlp_json.join_attributes(values, evaluator.known)
        place, warn = (self.ids.trace_id, scored.span_id), row.value is None
        return otlp_json.log_record(a.EVALUATION, scored.end, values, place=place, warn=warn)

    def _check(self, scored: _ScoredCell, parent: str) -> otlp_json.SpanText:
        """Return the span of a rule that scored the case; it takes no time."""
        row = scored.row
        return otlp_json.SpanText(
            name=f"eval check {row.metric}",
            span_id=self.ids.span("check", row.suite, row.case, row.metric, row.arm),
            parent_id=parent,
            start=scored.end,
            end=scored.end,
            attributes=scored.evaluator.check_of(row),
            links=(scored.span_id,),
            error="" if row.value is None else None,
        )

    def _suite(self, name: str, extent: _TimeExtent) -> otlp_json.SpanText:
        suite = self._run.suites[name]
        results = {result.name: result.verdict for result in self._run.verdict.suites}
        values = {
            a.SUITE_NAME: name,
            a.SUITE_STATUS: _status(results.get(name, self._run.verdict.verdict)),
            a.RUN_ID: self._run.manifest.run_id,
            a.VERDICT: results[name].value if name in results else None,
            a.SUITE_SHA256: suite.hash,
            a.DATA_SHA256: extent.cases.hexdigest(),
        }
        span_id, root = self.ids.span("suite", name), self.ids.span("run")
        fixed = otlp_json.attributes_json(values)
        return otlp_json.SpanText(
            f"eval suite {name}", span_id, root, extent.start, extent.end, fixed
        )

    def _root(self, whole: _TimeExtent) -> otlp_json.SpanText:
        manifest, verdict = self._run.manifest, self._run.verdict.verdict
        names = [suite.name for suite in manifest.suites]
        values = {
            a.SUITE_NAME: names[0] if len(names) == 1 else None,
            a.SUITE_STATUS: _status(verdict),
            **resources.pipeline_attributes(),
            a.RUN_ID: manifest.run_id,
            a.PLAN_SHA256: self._plan_sha256,
            a.VERDICT: verdict.value,
            a.SUITE_SHA256: manifest.suites[0].hash if len(names) == 1 else None,
            a.DATA_SHA256: whole.cases.hexdigest(),
        }
        fixed = otlp_json.attributes_json(values)
        name = " ".join(["eval run", *names[:1]]) if len(names) == 1 else "eval run"
        return otlp_json.SpanText(name, self.ids.span("run"), None, whole.start, whole.end, fixed)


def _status(verdict: Verdict) -> str:
    return _STATUSES.get(verdict, "failure")


def _plain(case: Case) -> dict[str, Any]:
    """Return a case as in cases.jsonl."""
    fields = case.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return {name: value for name, value in fields.items() if value is not None}


def _case_sha256(record: CaseRecord) -> str | None:
    return sha256(_plain(record.case)) if record.case else None
