"""Run metrics: histograms of durations and tokens, and counts of case outcomes.

The histograms are those of the GenAI conventions. Those of seconds have the boundaries that the
conventions ask for. Tokens are counted by model call: those of an episode by its turns.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tunegate.harness.records.answers import Completion, StoredAnswer
from tunegate.harness.records.episodes import EpisodeTurn
from tunegate.harness.records.judgements import JudgeReply
from tunegate.harness.telemetry.export import attribute_names as a
from tunegate.harness.telemetry.export import otlp_json
from tunegate.harness.telemetry.export.resources import ModelAttributes, OperationAttributes

SECONDS = tuple(0.01 * 2**power for power in range(14))
TOKENS = tuple(4**power for power in range(14))
"""Boundaries. Those of seconds are in the conventions, client-inference.md; v0.1.0 names none for
tokens, so these are those of earlier versions."""
_CUMULATIVE = 2


@dataclass
class _HistogramPoint:
    """Measurements under one set of attributes."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0
    low: float = float("inf")
    high: float = float("-inf")

    def add(self, value: float) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)
        self.counts[bisect_left(self.bounds, value)] += 1  # a bucket includes its upper boundary
        self.total += value
        self.low, self.high = min(self.low, value), max(self.high, value)

    def point(self) -> dict[str, Any]:
        return {
            "count": str(sum(self.counts)),
            "sum": self.total,
            "bucketCounts": [str(count) for count in self.counts],
            "explicitBounds": list(self.bounds),
            "min": self.low,
            "max": self.high,
        }


class RunTotals:
    """Counters, filled while the spans are made."""

    def __init__(self) -> None:
        self._measured: dict[str, dict[str, _HistogramPoint]] = {name: {} for name in _METRICS}
        self._cases: dict[str, int] = {}
        self._shared: dict[tuple[Any, ...], str] = {}

    def completion(self, stored: StoredAnswer, attributes: OperationAttributes) -> None:
        """Count a completion of an arm."""
        cell = stored.cell
        if stored.completion is not None:
            place = cell.suite, cell.arm, cell.kind, stored.cache_hit
            more = {a.SUITE_NAME: cell.suite, a.ARM: cell.arm, a.CACHE_HIT: stored.cache_hit}
            shared = self._named(place, attributes.operation, attributes.model, more)
            done = stored.completion
            if done.episode is None:
                self._measure(done, shared)
                return
            self._add(a.AGENT_DURATION, shared, done.latency_s)
            turns = self._named((*place, "turns"), "chat", attributes.model, more)
            for turn in done.episode.turns:
                self._measure(turn, turns)

    def judge_call(self, model: ModelAttributes, reply: JudgeReply | None, metric: str) -> None:
        """Count a reply of a judge model that was asked for in this run."""
        if reply is not None:
            place = "judge", model, metric
            self._measure(reply, self._named(place, "chat", model, {a.CHECK_NAME: metric}))

    def cases(self, suite: str, status: str, count: int = 1) -> None:
        """Count cases of a suite with one status."""
        name = otlp_json.attributes_json({a.SUITE_NAME: suite, a.STATUS: status})
        self._cases[name] = self._cases.get(name, 0) + count

    def metrics(self, start: int, end: int) -> Iterator[str]:
        """Yield the metrics in OTLP of a run from `start` to `end`, in nanoseconds."""
        times = {"startTimeUnixNano": str(start), "timeUnixNano": str(end)}
        for name, histograms in self._measured.items():
            unit, about, _ = _METRICS[name]
            points = [_point(shared, times | h.point()) for shared, h in histograms.items()]
            if points:
                yield _metric(name, unit, about, "histogram", points)
        counted = [
            _point(shared, times | {"asInt": str(count)}) for shared, count in self._cases.items()
        ]
        if counted:
            yield _metric(a.CASES, "{case}", "Cases by outcome.", "sum", counted)

    def _measure(self, done: Completion | EpisodeTurn | JudgeReply, shared: str) -> None:
        self._add(a.DURATION, shared, done.latency_s)
        self._add(a.INPUT_USAGE, shared, done.input_tokens)
        self._add(a.OUTPUT_USAGE, shared, done.output_tokens)

    def _named(
        self,
        place: tuple[Any, ...],
        operation: str,
        model: ModelAttributes,
        more: Mapping[str, Any],
    ) -> str:
        if place not in self._shared:
            values = {a.OPERATION: operation, **model.attributes(), **more}
            self._shared[place] = otlp_json.attributes_json(values)
        return self._shared[place]

    def _add(self, name: str, shared: str, value: float | None) -> None:
        if value is not None:
            histograms = self._measured[name]
            if shared not in histograms:
                histograms[shared] = _HistogramPoint(_METRICS[name][2])
            histograms[shared].add(value)


_METRICS = {
    a.DURATION: ("s", "GenAI client inference operation duration.", SECONDS),
    a.AGENT_DURATION: ("s", "Duration of an agent invocation.", SECONDS),
    a.INPUT_USAGE: ("{token}", "Prompt tokens used per inference operation.", TOKENS),
    a.OUTPUT_USAGE: ("{token}", "Answer tokens used per inference operation.", TOKENS),
}
"""Name → unit, description and boundaries."""


def _point(shared: str, values: Mapping[str, Any]) -> str:
    return f'{{"attributes":[{shared}],{json.dumps(values, separators=(",", ":"))[1:]}'


def _metric(name: str, unit: str, about: str, shape: str, points: Iterable[str]) -> str:
    monotonic = ',"isMonotonic":true' if shape == "sum" else ""
    return (
        f'{{"name":"{name}","description":"{about}","unit":"{unit}","{shape}":{{'
        f'"dataPoints":[{",".join(points)}],"aggregationTemporality":{_CUMULATIVE}{monotonic}}}}}'
    )
