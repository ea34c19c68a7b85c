"""Evaluators: the metrics of a run, with the attributes that all their results share."""

from __future__ import annotations

from dataclasses import dataclass

from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.manifest import Manifest, MetricRecord
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.telemetry.export import attribute_names as a
from tunegate.harness.telemetry.export import otlp_json
from tunegate.harness.telemetry.export.content import ContentCapture

UNSCORED = "unscored"
"""`error.type` of a score that is missing."""


@dataclass(frozen=True, slots=True)
class MetricEvaluator:
    """A metric of a suite, with the attributes that all its results share."""

    metric: MetricRecord
    version: str
    """Of tunegate, for a rule; the hash of the prompt, for a judge."""
    result: str
    """Attributes of every result on its span, as text."""
    known: str
    """Additional attributes of a log record, which is read alone: range, direction, version."""
    check: str
    """Attributes of every check, as text."""

    @classmethod
    def of(cls, metric: MetricRecord, tunegate: str) -> MetricEvaluator:
        """Return the evaluator of a metric."""
        judge = metric.judge
        version = judge.prompt_sha256 if judge else metric.signature or tunegate
        low, high = metric.range or (None, None)
        shared = {
            a.EVALUATION_NAME: metric.name,
            a.EVALUATOR_KIND: "LLM" if judge else "CODE",
            a.EVALUATOR_ID: judge.name if judge else metric.use,
        }
        facts = {
            a.EVALUATOR_VERSION: version,
            a.SCORE_MIN: low,
            a.SCORE_MAX: high,
            a.HIGHER_IS_BETTER: metric.higher_is_better,
        }
        named = {a.CHECK_NAME: metric.name, a.CHECK_VERSION: version}
        texts = (otlp_json.attributes_json(values) for values in (shared, facts, named))
        return cls(metric, version, *texts)

    def result_of(self, row: ScoreRow, response_id: str, content: ContentCapture | None) -> str:
        """Return the attributes of one result, as text."""
        values = {
            a.SCORE_VALUE: row.value,
            a.SCORE_LABEL: self._label(row),
            a.RESPONSE_ID: response_id,
            a.ERROR_TYPE: UNSCORED if row.value is None else None,
        }
        if content is not None and row.reason:
            values[a.EXPLANATION] = content.clean(row.reason)
        return otlp_json.join_attributes(self.result, otlp_json.attributes_json(values))

    def check_of(self, row: ScoreRow) -> str:
        """Return the attributes of the check that made a score, as text."""
        values = {
            a.ARM: row.arm,
            a.SCORE_VALUE: row.value,
            a.ERROR_TYPE: UNSCORED if row.value is None else None,
        }
        return otlp_json.join_attributes(self.check, otlp_json.attributes_json(values))

    def _label(self, row: ScoreRow) -> str | None:
        """Return pass or fail of a binary metric."""
        if not self.metric.binary or row.value not in (0.0, 1.0):
            return None
        return "pass" if bool(row.value) is self.metric.higher_is_better else "fail"


class RunEvaluators:
    """The metrics of a run."""

    def __init__(self, manifest: Manifest) -> None:
        version = manifest.versions.get("tunegate", "")
        self._known = {
            (suite.name, metric.name): MetricEvaluator.of(metric, version)
            for suite in manifest.suites
            for metric in suite.metrics
        }

    def of(self, row: ScoreRow) -> MetricEvaluator:
        """Return the evaluator of a score."""
        return self._known[row.suite, row.metric]

    def metric(self, suite: str, name: str) -> MetricRecord:
        """Return a metric by suite and name."""
        return self._known[suite, name].metric


def kind_of(metric: MetricRecord) -> CellKind:
    """Return the kind of answer that a metric reads."""
    return CellKind.GENERATE if metric.judge else metric.needs
