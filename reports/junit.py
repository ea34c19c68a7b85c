"""junit.xml: a testcase for the verdict, one for each gate, one for each case that a gate broke on.

A case that got worse is evidence, not a rule: where the gate passes, it is listed in the output
of the gate's testcase. Where a gate of its metric failed, it is also a failed testcase, unless the
gate leaves it out, so that CI shows which prompts broke. An undecided gate is skipped, as test
frameworks have no third outcome; an advisory one never fails.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from xml.etree import ElementTree as ET

from tunegate.harness.contracts.further_arm import comparison_results
from tunegate.harness.records.gate_results import GateResult, GateStatus
from tunegate.harness.records.hidden_text import escape_hidden
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import ArmResult, SuiteResult, Verdict
from tunegate.harness.records.wording import count_noun
from tunegate.reports.case_view import CaseView, PairScore
from tunegate.reports.data import ReportData, once_per_report, prepare_data

NAMED = 200
"""Regressed cases named of one metric; those of thousands are in scores.jsonl."""

_TAGS = {
    GateStatus.FAIL: "failure",
    GateStatus.ERROR: "error",
    GateStatus.UNDECIDED: "skipped",
    Verdict.BLOCK: "failure",
    Verdict.HOLD: "failure",
    Verdict.NOT_COMPARABLE: "error",
    Verdict.ERROR: "error",
    Verdict.UNDECIDED: "skipped",
}


def render_junit(run: Run, data: ReportData | None = None) -> str:
    """Return the run as JUnit XML; the same run gives the same text."""
    return _render(data or prepare_data(run))


@once_per_report  # the page holds the file too
def _render(data: ReportData) -> str:
    run, worse = data.run, _WorseCases.of(data)
    root = ET.Element("testsuites", name="tunegate")
    _verdict(root, run)
    for suite in run.verdict.suites:
        _suite(root, suite, worse)
    for total in ("tests", "failures", "errors", "skipped"):
        root.set(total, str(sum(int(child.get(total, "0")) for child in root)))
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


@dataclass(frozen=True, slots=True)
class _WorseCases:
    """The regressions by what got worse on them."""

    by_metric: Mapping[tuple[str, str], Sequence[tuple[CaseView, PairScore]]]
    """(suite, metric) → the cases that got worse on it, each with its score."""

    @classmethod
    def of(cls, data: ReportData) -> _WorseCases:
        by_metric: dict[tuple[str, str], list[tuple[CaseView, PairScore]]] = defaultdict(list)
        for view in data.regressions:
            for score in view.scores:
                if (score.change or 0) < 0:
                    by_metric[view.suite, score.metric.name].append((view, score))
        return cls(by_metric)

    def on(
        self, suite: str, metric: str, tags: Collection[str | None]
    ) -> list[tuple[CaseView, PairScore]]:
        """Return those of a metric with one of the tags; None among the tags is any case."""
        worse = self.by_metric.get((suite, metric), ())
        if None in tags:
            return list(worse)
        return [pair for pair in worse if any(tag in tags for tag in pair[0].case.tags)]


def _verdict(root: ET.Element, run: Run) -> None:
    """Add the verdict, so that a run without gates is not an empty, green file."""
    parent = ET.SubElement(root, "testsuite", name="tunegate")
    case = ET.SubElement(parent, "testcase", classname="tunegate", name="verdict", time="0")
    verdict = run.verdict
    slices = None if verdict.slices is None else verdict.slices.sentence
    facts = {"verdict": verdict.verdict, "run_id": verdict.run_id, "seed": verdict.seed}
    _properties(case, {**facts, "slices": slices})
    _outcome(case, _TAGS.get(verdict.verdict), verdict.verdict, verdict.sentence)
    for name, compared in comparison_results(verdict).items():
        _further_arm(parent, name, compared)
    _count(parent)


def _further_arm(parent: ET.Element, name: str, found: ArmResult) -> None:
    """Add the comparison of a further arm: it can stop a release that every gate lets through."""
    case = ET.SubElement(parent, "testcase", classname="tunegate", name=name, time="0")
    _properties(case, found.facts)
    _outcome(case, _TAGS.get(found.verdict), found.outcome, found.sentence)


def _suite(root: ET.Element, suite: SuiteResult, worse: _WorseCases) -> None:
    parent = ET.SubElement(root, "testsuite", name=escape_hidden(suite.name))
    facts = suite.model_dump(exclude={"gates", "notes", "n_unscored", "unscored_reasons", "name"})
    unscored = {f"n_unscored.{arm}": n for arm, n in sorted(suite.n_unscored.items())}
    _properties(parent, facts | unscored)
    for gate in suite.gates:
        _gate(parent, suite, gate, worse)
    failed: dict[str, set[str | None]] = defaultdict(set)
    for gate in suite.gates:
        if gate.status is GateStatus.FAIL and not gate.advisory:
            failed[gate.metric].add(gate.tag)
    for metric, tags in failed.items():
        pairs = worse.on(suite.name, metric, tags)
        counted = (pair for pair in pairs if not pair[0].left_out)
        for view, score in islice(counted, NAMED):
            _add_regressed_case(parent, view, score)
    _count(parent)


def _gate(
    parent: ET.Element, suite: SuiteResult, gate: GateResult, worse_cases: _WorseCases
) -> None:
    name = escape_hidden(gate.id)
    case = ET.SubElement(
        parent, "testcase", classname=escape_hidden(suite.name), name=name, time="0"
    )
    _properties(case, gate.model_dump(exclude={"metric", "kind", "sentence"}))
    tag = _TAGS.get(gate.status)
    if tag and gate.advisory:
        _outcome(case, "skipped", "advisory", f"advisory, {gate.status}: {gate.sentence}")
    else:
        _outcome(case, tag, gate.reason or gate.status, gate.sentence)
    worse = [view for view, _ in worse_cases.on(suite.name, gate.metric, {gate.tag})]
    lines = [gate.sentence, f"{count_noun(len(worse), 'case')} got worse on {gate.subject}"]
    lines += [f"  {view.name} ({_place(view)})" for view in worse[:NAMED]]
    if len(worse) > NAMED:
        lines.append(f"  and {len(worse) - NAMED} more in scores.jsonl")
    ET.SubElement(case, "system-out").text = escape_hidden("\n".join(map(_one_line, lines)))


def _add_regressed_case(parent: ET.Element, view: CaseView, score: PairScore) -> None:
    """Add a case that got worse on the metric of a gate that failed."""
    metric = score.metric.name
    name = escape_hidden(f"{metric}::{view.name}")
    case = ET.SubElement(
        parent, "testcase", classname=escape_hidden(view.suite), name=name, time="0"
    )
    base, tuned = (row.value if row else None for row in (score.base, score.tuned))
    _properties(case, {"base": base, "tuned": tuned, "delta": score.change})
    why = (score.tuned.reason if score.tuned else None) or "got worse"
    _outcome(case, "failure", "regressed", f"{metric} {base:.4g} → {tuned:.4g}: {why}")
    ET.SubElement(case, "system-out").text = escape_hidden(_one_line(view.stored.where))


def _place(view: CaseView) -> str:
    """Return the place of a case, in training rows too."""
    return f"{view.stored.where}{', in training rows' if view.touched else ''}"


def _one_line(text: str) -> str:
    """Return text on one line that does not start with a workflow command."""
    joined = " ".join(text.splitlines())
    return f" {joined}" if joined.startswith("::") else joined


def _outcome(case: ET.Element, tag: str | None, kind: str, sentence: str) -> None:
    if tag is None:
        return
    message = escape_hidden(" ".join(sentence.split()))
    outcome = ET.SubElement(case, tag, message=message)
    if tag != "skipped":
        outcome.set("type", str(kind))
        outcome.text = message


def _properties(parent: ET.Element, facts: dict[str, object]) -> None:
    properties = ET.SubElement(parent, "properties")
    for name, value in facts.items():
        if value is not None:
            ET.SubElement(
                properties, "property", name=escape_hidden(name), value=escape_hidden(str(value))
            )


def _count(suite: ET.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    for tag, total in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(total, str(sum(case.find(tag) is not None for case in cases)))
