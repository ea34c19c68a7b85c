"""Scores as evaluation results: the attributes of the event and of the check that made it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.manifest import Manifest, MetricRecord
from harness.records import CellKind, ScoreRow
from harness.tracing import attributes as a
from harness.tracing import otlp
from harness.tracing.content import Content

UNSCORED = "unscored"
"""`error.type` of a score that is missing."""


@dataclass(frozen=True, slots=True)
class Evaluator:
    """A metric of a suite, with what all its results share."""

    metric: MetricRecord
    version: str
    """Of tunegate, for a rule; the hash of the prompt, for a judge."""
    result: str
    """Attributes of every result on its span, as text."""
    known: str
    """What a log record, which is read alone, says beside them: range, direction, version."""
    check: str
    """Attributes of every check, as text."""

    @classmethod
    def of(cls, metric: MetricRecord, tunegate: str) -> Evaluator:
        """Return the evaluator that a metric is."""
        judge = metric.judge
        version = judge.prompt_sha256 if judge else metric.signature or tunegate
        low, high = metric.range or (None, None)
        shared = {
            a.EVALUATION_NAME: metric.name,
            a.EVALUATOR_KIND: "LLM" if judge else "CODE",
            a.EVALUATOR_ID: judge.name if judge else metric.use,
        }
        known = {
            a.EVALUATOR_VERSION: version,
            a.SCORE_MIN: low,
            a.SCORE_MAX: high,
            a.HIGHER_IS_BETTER: metric.higher_is_better,
        }
        named = {a.CHECK_NAME: metric.name, a.CHECK_VERSION: version}
        texts = (otlp.attributes(values) for values in (shared, known, named))
        return cls(metric, version, *texts)

    def result_of(self, row: ScoreRow, response_id: str, content: Content | None) -> str:
        """Return the attributes of one result, as text."""
        values = {
            a.SCORE_VALUE: row.value,
            a.SCORE_LABEL: self._label(row),
            a.RESPONSE_ID: response_id,
            a.ERROR_TYPE: UNSCORED if row.value is None else None,
        }
        if content is not None and row.reason:
            values[a.EXPLANATION] = content.clean(row.reason)
        return otlp.joined(self.result, otlp.attributes(values))

    def check_of(self, row: ScoreRow) -> str:
        """Return the attributes of the check that made a score, as text."""
        values = {
            a.ARM: row.arm,
            a.SCORE_VALUE: row.value,
            a.ERROR_TYPE: UNSCORED if row.value is None else None,
        }
        return otlp.joined(self.check, otlp.attributes(values))

    def _label(self, row: ScoreRow) -> str | None:
        """Return pass or fail, where there is nothing between them."""
        if not self.metric.binary or row.value not in (0.0, 1.0):
            return None
        return "pass" if bool(row.value) is self.metric.higher_is_better else "fail"


class Evaluators:
    """The metrics of a run; what is fixed is put together once."""

    def __init__(self, manifest: Manifest) -> None:
        """Take the run."""
        version = manifest.versions.get("tunegate", "")
        self._known = {
            (suite.name, metric.name): Evaluator.of(metric, version)
            for suite in manifest.suites
            for metric in suite.metrics
        }

    def of(self, row: ScoreRow) -> Evaluator:
        """Return the metric that gave a score."""
        return self._known[row.suite, row.metric]

    def metric(self, suite: str, name: str) -> MetricRecord:
        """Return a metric by its place."""
        return self._known[suite, name].metric


def kind_of(metric: MetricRecord) -> str:
    """Return the kind of cell that a metric looks at."""
    return (CellKind.GENERATE if metric.judge else metric.needs).value
