"""The next step after a verdict that is not SHIP: what a user can do, in one line."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from tunegate.harness.decision.verdict.run_sentence import deciding_gate
from tunegate.harness.gates.contract.registry import gate_kind
from tunegate.harness.gates.contract.sentences import gate_words
from tunegate.harness.records.answers import ALONE
from tunegate.harness.records.cases import VARIANT
from tunegate.harness.records.files import relative_path
from tunegate.harness.records.gate_results import GateReason, GateResult, GateStatus
from tunegate.harness.records.manifest import SuiteRecord
from tunegate.harness.records.verdict import SuiteResult, Verdict, VerdictRecord
from tunegate.harness.records.wording import count_noun

_ADVICE = {
    GateReason.INSENSITIVE: "add cases that base answers well, or drop the gate: a loss could not "
    "show here",
    GateReason.LOSS_MAY_BE_STYLE: "read the cases that lost most, or let a pairwise judge compare "
    "the answers: {report}",
    GateReason.LOSS_NOT_BOUNDED: "the loss is real: read the cases that lost most before you add "
    "cases or allow more: {report}",
    GateReason.WITHIN_NOISE: "run both models in float32, or ask for a larger gain: inexact "
    "arithmetic moves scores this much",
    GateReason.UNSCORED: "see why cases are unscored: {report}",
    GateReason.NOT_VOTED: "let people vote: tunegate judge label {run} --serve",
}
"""Reason of an undecided gate → what helps."""


def next_step(
    verdict: VerdictRecord, suites: Iterable[SuiteRecord], *, run: str, report: str
) -> str | None:
    """Return what to do after a verdict; None if its headline says it, or nothing is wrong."""
    if verdict.verdict is Verdict.HOLD:
        reasons = {gate.reason for suite in verdict.suites for gate in suite.gates}
        if GateReason.PROMPT_SUFFICES in reasons:
            return f"use the prompt, or train on rows that it gets wrong: {report}"
        if any(map(_learned_a_wording, verdict.suites)):
            return f"train on rows in several wordings; see where it did not gain: {report}"
        return f"train longer, or on more rows of the task; see what did not gain: {report}"
    if verdict.verdict not in (Verdict.BLOCK, Verdict.UNDECIDED):
        return None
    deciding = deciding_gate(verdict.verdict, verdict.suites)
    if deciding is None:
        return None
    suite, gate = deciding
    records = {record.name: record for record in suites}
    record = records.get(suite.name)
    if verdict.verdict is Verdict.BLOCK and record is not None and record.training_rows:
        return (
            "tuned remembers what its rows hold: replace the values in them, or train less; "
            f"see which rows: {report}"
        )
    others = (s.causes for s in verdict.suites if s.verdict is Verdict.BLOCK and s.causes)
    if causes := suite.causes or next(others, ()):
        first, *more = causes
        return first + "".join(f". {cause[:1].upper()}{cause[1:]}" for cause in more)
    if verdict.verdict is Verdict.BLOCK:
        if _is_timed(record, gate):
            return f"tuned lost speed, not answers; see which cases: {report}"
        if suite.has_goal or not gate_kind(gate.kind).claims_loss(gate):
            return f"look at the failing cases: {report}"
        return (
            "if tuned forgot this, mix everyday rows into the training data: "
            "`tunegate help forgetting`"
        )
    paths = {name: str(relative_path(Path(record.path))) for name, record in records.items()}
    plan = shlex.join(["tunegate", "plan", paths.get(suite.name, suite.name), "--from", run])
    if gate.reason in _ADVICE:
        return _ADVICE[gate.reason].format(report=report, run=shlex.quote(run))
    return _more_cases(gate, plan)


def _learned_a_wording(suite: SuiteResult) -> bool:
    """Return whether a gain is proven under some wordings and missed under others."""
    status = {
        (gate.rule_id, gate.status)
        for gate in suite.gates
        if gate.every == VARIANT and gate_kind(gate.kind).is_goal
    }
    return any((rule, GateStatus.PASS) in status and s is GateStatus.FAIL for rule, s in status)


def _is_timed(record: SuiteRecord | None, gate: GateResult) -> bool:
    """Return whether the gate's metric measures how fast a model is served."""
    metrics = record.metrics if record else ()
    return any(metric.name == gate.metric and metric.needs in ALONE for metric in metrics)


def _more_cases(gate: GateResult, plan: str) -> str:
    """Return what an undecided gate needs: more cases, or something else first."""
    if gate.missing is not None:
        return f"{gate.missing}: {plan}"
    more = (gate.needed_n or 0) - gate.n
    if more > 0:
        return (
            f"about {count_noun(more, 'more case')} would decide it in 4 of 5 runs"
            f"{gate_words(gate, 'assumption')}: {plan}"
        )
    if gate.needed_n is not None:
        return f"more cases, or a wider bound set before the next attempt: {plan}"
    return f"{gate_words(gate, 'remedy')}: {plan}"
