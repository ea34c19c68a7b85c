"""Judge spans: one per reply of a judge model, linked to the completions it judged.

A judgement shared by identical completions has its spans once. If the record lacks the time of a
reply (a judge that is a program, or recorded), its span is at the end of what it judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.judgements import Judgement, JudgementStatus, JudgeReply
from tunegate.harness.records.manifest import Manifest, MetricRecord
from tunegate.harness.telemetry.export import attribute_names as a
from tunegate.harness.telemetry.export import otlp_json
from tunegate.harness.telemetry.export.content import ContentCapture
from tunegate.harness.telemetry.export.evaluators import RunEvaluators
from tunegate.harness.telemetry.export.identifiers import TraceIdentifiers
from tunegate.harness.telemetry.export.resources import ModelAttributes
from tunegate.harness.telemetry.export.run_metrics import RunTotals
from tunegate.harness.telemetry.export.run_records import CaseRecord, unix_nanoseconds

UNREADABLE = "unreadable_reply"
"""`error.type` of a call whose reply could not be used."""
_ORDERS = ("base_first", "tuned_first")
"""In which order `pairwise` shows the completions, question by question."""


@dataclass(frozen=True, slots=True)
class JudgeCall:
    """One reply, or one failure to get any."""

    lines: tuple[Judgement, ...]
    """The judgements of identical completions that use it."""
    reply: JudgeReply | None
    question: int
    """Which of the judgement's questions it answers, from 0."""
    attempt: int
    """Which attempt at that question it is, from 1."""

    @property
    def bill(self) -> Judgement:
        """The judgement that holds its cost."""
        paid = (line for line in self.lines if line.attempts)
        return next(paid, self.lines[0])

    @property
    def sent(self) -> bool:
        """Whether this run asked for it, rather than reading a stored reply."""
        return bool(self.bill.attempts) and not (self.reply is not None and self.reply.stored)

    @property
    def answered(self) -> JudgeReply | None:
        """The reply, if one came."""
        reply = self.reply
        came = reply is not None and (reply.text is not None or reply.weights is not None)
        return reply if came else None


def judge_calls(judgements: Sequence[Judgement]) -> Iterator[JudgeCall]:
    """Yield the calls of a case's judgements, each once."""
    shared: dict[tuple[str, str, str], list[Judgement]] = {}
    for line in judgements:
        shared.setdefault((line.metric, line.judge, line.key), []).append(line)
    for lines in (tuple(group) for group in shared.values()):
        question, attempt = 0, 1
        for reply in lines[0].replies:
            yield JudgeCall(lines, reply, question, attempt)
            question, attempt = (question, attempt + 1) if reply.problem else (question + 1, 1)
        if not lines[0].replies and lines[0].status is JudgementStatus.JUDGE_ERROR:
            yield JudgeCall(lines, None, 0, 1)


class JudgeSpans:
    """Makes the spans of a run's judge calls."""

    def __init__(
        self,
        manifest: Manifest,
        evaluators: RunEvaluators,
        ids: TraceIdentifiers,
        content: ContentCapture | None,
        totals: RunTotals,
    ) -> None:
        self._evaluators, self._ids, self._content = evaluators, ids, content
        self._totals = totals
        self._models = {str(j["spec"]): ModelAttributes.of(j) for j in manifest.judges}

    def of(self, record: CaseRecord, parent_id: str, after: int) -> Iterator[otlp_json.SpanText]:
        """Yield the spans of a case's judge calls; its last completion ended at `after` ns."""
        for call in judge_calls(record.judgements):
            bill = call.bill
            metric = self._evaluators.metric(bill.suite, bill.metric)
            model = self._models.get(bill.judge) or ModelAttributes.of({"spec": bill.judge})
            start, took = _times(call, after)
            number = f"{call.question}.{call.attempt}"
            place = (bill.suite, bill.case, bill.metric, bill.judge, bill.key, number)
            yield otlp_json.SpanText(
                name=f"chat {model.name}",
                span_id=self._ids.span("judge", *place),
                parent_id=parent_id,
                start=start,
                end=start + took,
                attributes=otlp_json.attributes_json(self._attributes(call, metric, model)),
                kind=model.kind,
                links=tuple(self._judged(call.lines, metric)),
                error=_error(call),
            )
            after = max(after, start + took)
            if call.sent:
                self._totals.judge_call(model, call.reply, metric.name)

    def _judged(self, lines: Sequence[Judgement], metric: MetricRecord) -> Iterator[str]:
        """Yield the ids of the completions that a call is about."""
        pairs = metric.judge is not None and metric.judge.pairs
        kind = CellKind.GENERATE.value
        judged_lines = {
            (arm, line.sample): line
            for line in lines
            for arm in (("base", line.arm) if pairs else (line.arm,))
        }
        for (arm, sample), line in judged_lines.items():
            yield self._ids.completion(line.suite, line.case, arm, kind, sample)

    def _attributes(
        self, call: JudgeCall, metric: MetricRecord, model: ModelAttributes
    ) -> Mapping[str, Any]:
        reply, judge = call.answered, metric.judge
        name = judge.name if judge else None
        order = _ORDERS[call.question] if name == "pairwise" and call.question < 2 else None
        values: dict[str, Any] = {
            a.OPERATION: "chat",
            **model.attributes(),
            a.RESPONSE_MODEL: model.name if reply else None,
            a.INPUT_TOKENS: reply.input_tokens if reply else None,
            a.OUTPUT_TOKENS: reply.output_tokens if reply else None,
            a.ERROR_TYPE: _error_type(call),
            a.CACHE_HIT: not call.sent,
            a.RESENT: call.reply.requests - 1 or None if call.reply and call.sent else None,
            a.CHECK_NAME: metric.name,
            a.JUDGE_NAME: name,
            a.JUDGE_PROMPT_SHA256: judge.prompt_sha256 if judge else None,
            a.JUDGE_STEP: call.reply.step if call.reply else None,
            a.JUDGE_ORDER: order,
            a.JUDGE_ATTEMPT: call.attempt,
            a.JUDGE_PARSE: ("unreadable" if reply.problem else "ok") if reply else None,
        }
        if self._content is not None and reply is not None and reply.text is not None:
            message = {"role": "assistant", "parts": [{"type": "text", "content": reply.text}]}
            finish = {"finish_reason": "unknown"}
            values[a.OUTPUT_MESSAGES] = self._content.json([{**message, **finish}])
        return values


def _times(call: JudgeCall, after: int) -> tuple[int, int]:
    """Return when a call began, and how long it took, in nanoseconds."""
    reply = call.reply
    if reply is not None and reply.latency_s is not None:
        return unix_nanoseconds(reply.started_s) if reply.started_s else after, unix_nanoseconds(
            reply.latency_s
        )
    return after, unix_nanoseconds((call.bill.latency_s or 0.0) / max(len(call.bill.replies), 1))


def _error_type(call: JudgeCall) -> str | None:
    if call.answered is None:
        return JudgementStatus.JUDGE_ERROR.value
    return UNREADABLE if call.answered.problem else None


def _error(call: JudgeCall) -> str | None:
    """Return why a call failed; None if it did not."""
    if call.answered is None:
        return call.bill.reason or ""
    return "the reply could not be read" if call.answered.problem else None
