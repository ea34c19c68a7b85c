"""Judge health: each judge's calibration, failures, cost, and whether its gates count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tunegate.harness.records.gate_results import GateResult
from tunegate.harness.records.judgements import Judgement, JudgementStatus, judge_spending
from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.records.wording import count_noun
from tunegate.reports.data import ReportData
from tunegate.reports.judge_disagreement import SPREAD, order_changed
from tunegate.reports.templating import fill_page_template

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Judge health"
ORDER = 55


@dataclass(frozen=True, slots=True)
class JudgeHealth:
    """One metric that asks a judge, in one suite."""

    suite: str
    metric: MetricRecord
    rights: tuple[str, ...]
    """Eligibility of its gates, and the reason."""
    advisory: bool
    """Whether all its gates are shown only."""
    known: tuple[tuple[str, str], ...]
    """Figure → value of its calibration; empty without one."""
    standing: str
    """Eligibility by its calibration."""
    facts: tuple[tuple[str, str], ...]
    """Events of this run."""


def render(data: ReportData) -> Markup:
    """Return a block for each metric that asks a judge."""
    models = [(str(j.get("spec", "")), str(j.get("fingerprint", ""))[:10]) for j in _models(data)]
    return fill_page_template("judge_health.html", healths=judge_healths(data), models=models)


def _models(data: ReportData) -> Sequence[dict[str, object]]:
    return data.run.manifest.judges


def judge_healths(data: ReportData) -> list[JudgeHealth]:
    """Return what is known of every judge of the run."""
    gates = {suite.name: suite.gates for suite in data.run.verdict.suites}
    return [
        _health(data, suite.name, metric, gates.get(suite.name, ()))
        for suite in data.run.manifest.suites
        for metric in suite.metrics
        if metric.judge is not None
    ]


def _health(
    data: ReportData, suite: str, metric: MetricRecord, gates: Sequence[GateResult]
) -> JudgeHealth:
    from tunegate.harness.judges.calibrating.calibration_report import (
        calibration_figures,
        eligibility_sentence,
    )

    metric_gates = [gate for gate in gates if gate.metric == metric.name]
    rights = dict.fromkeys(
        f"{'Advisory' if gate.advisory else 'Counts'}: {gate.judge_basis}"
        for gate in metric_gates
        if gate.judge_basis
    )
    calibration = None if metric.judge is None else metric.judge.calibration
    lines = [j for j in data.run.judgements if (j.suite, j.metric) == (suite, metric.name)]
    return JudgeHealth(
        suite=suite,
        metric=metric,
        rights=tuple(rights),
        advisory=all(gate.advisory for gate in metric_gates),
        known=() if calibration is None else tuple(calibration_figures(calibration)),
        standing="" if calibration is None else eligibility_sentence(calibration),
        facts=tuple((name, text) for name, text in _facts(data, suite, metric, lines) if text),
    )


def _facts(
    data: ReportData, suite: str, metric: MetricRecord, lines: Sequence[Judgement]
) -> list[tuple[str, str]]:
    return [
        ("judgements", _count_by_arm(lines)),
        ("no verdict", _failures(lines)),
        ("asked again", _again(lines)),
        ("order flips", _flips(lines)),
        ("jury", _spread(data, suite, metric.name)),
        ("cost", judgement_cost(lines)),
        ("labels on this run", _labels(data, suite, metric.name)),
    ]


def _count_by_arm(lines: Sequence[Judgement]) -> str:
    counts = Counter(line.arm for line in lines)
    return ", ".join(f"{arm} {n}" for arm, n in counts.items()) or "none"


def _failures(lines: Sequence[Judgement]) -> str:
    """Return what the judge failed on or gave no verdict on, arm by arm."""
    counts = Counter((line.arm, line.status) for line in lines if line.status != "ok")
    words = {JudgementStatus.JUDGE_ERROR: "judge errors", JudgementStatus.ABSTAINED: "abstained"}
    failures = [f"{arm} {n} {words[status]}" for (arm, status), n in sorted(counts.items())]
    return ", ".join(failures) or ("none is missing" if lines else "")


def _again(lines: Sequence[Judgement]) -> str:
    replies = [reply for line in lines for reply in line.replies if reply.text is not None]
    unread = sum(reply.problem is not None for reply in replies)
    return f"{count_noun(unread, 'reply', 'replies')} could not be read" if lines else ""


def _flips(lines: Sequence[Judgement]) -> str:
    """Return how often a judge of pairs changed its verdict with the order of the answers."""
    both = [line for line in lines if {"base_first", "tuned_first"} <= (line.parts or {}).keys()]
    flipped = sum(map(order_changed, both))
    return f"{flipped} of {count_noun(len(both), 'pair')}" if both else ""


def _spread(data: ReportData, suite: str, metric: str) -> str:
    """Return how far the judges of a jury differ, on average."""
    apart = [
        row.parts[SPREAD]
        for row in data.run.scores
        if (row.suite, row.metric) == (suite, metric) and row.parts and SPREAD in row.parts
    ]
    if not apart:
        return ""
    mean = sum(apart) / len(apart)
    return f"its judges are {mean:.3g} apart on average, {max(apart):.3g} at most"


def judgement_cost(lines: Sequence[Judgement]) -> str:
    """Return the cost of the judgements; an unknown price is never zero."""
    spent = judge_spending(lines)
    seconds = sum(line.latency_s or 0.0 for line in lines)
    sentences = [spending.sentence for spending in spent]
    return "; ".join(
        [*sentences, f"{seconds:.0f} s of replies"] if any(s.calls for s in spent) else sentences
    )


def _labels(data: ReportData, suite: str, metric: str) -> str:
    arms: dict[str, set[str | None]] = {}
    for label in data.run.labels:
        if (label.suite, label.metric) == (suite, metric):
            arms.setdefault(label.id, set()).add(label.arm)
    pairs = sum({"base", "tuned"} <= labelled for labelled in arms.values())
    return f"both answers of {count_noun(pairs, 'case')}" if pairs else ""
