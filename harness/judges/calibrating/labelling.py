"""Labelling sheet: a blind random sample of a run's answers for people to label.

A row shows a prompt and one answer, but not which arm wrote it. Both answers of a case are on the
sheet, shuffled ten cases at a time, so someone who stops early leaves a smaller random sample
rather than half of one. The arm of a label is found again by the answer's text.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunegate.harness.contracts.judge import format_conversation
from tunegate.harness.decision.verdict.redecide import answer_texts
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import SuiteError, UsageError
from tunegate.harness.records.labels import (
    ARMS,
    Label,
    read_labels,
    refuse_judges_labels,
    refuse_one_arm,
)
from tunegate.harness.records.manifest import MetricRecord
from tunegate.harness.records.record import Record, Text
from tunegate.harness.records.run_folder import Run

N_CASES = 100
"""Cases on a sheet."""
BLOCK = 10
"""Cases whose answers are shuffled together."""


class LabelSheetRow(Record):
    """One line of the sheet: an answer to label."""

    suite: str
    metric: str
    id: Text
    prompt: Text
    context: Text | None = None
    completion: Text
    label: float | None = None
    by: Text | None = None
    """Who labelled it."""

    def without_label(self) -> LabelSheetRow:
        """Return the row as it was drawn."""
        return self.model_copy(update={"label": None, "by": None})


@dataclass(frozen=True)
class LabellingSubject:
    """What a sheet is about: one metric on one suite of a run."""

    run: Run
    suite: str
    metric: MetricRecord

    @classmethod
    def of(cls, run: Run, name: str) -> LabellingSubject:
        """Find a metric by `METRIC` or `SUITE::METRIC`; "" finds the only one for people.

        Raises:
            UsageError: no metric fits, or several do.
        """
        suite, _, metric = name.rpartition("::")
        subjects = [
            cls(run, s.name, m)
            for s in run.manifest.suites
            for m in s.metrics
            if suite in ("", s.name)
            and (m.name == metric or (not name and (m.votes or m.judge is not None)))
        ]
        if len(subjects) == 1:
            return subjects[0]
        there = [f"{s.name}::{m.name}" for s in run.manifest.suites for m in s.metrics]
        problem = "fits several metrics" if subjects else "is not a metric of the run"
        shown = repr(name) if name else "the judge's metric"
        raise UsageError(
            f"{run.folder}: {shown} {problem}; name one with --metric: {', '.join(there)}"
        )

    def answers(self) -> dict[str, dict[str, str]]:
        """Return case → arm → answer, for the cases that both arms answered with text."""
        texts = answer_texts(self.run.cells, self.run.manifest.suites)
        by_case: dict[str, dict[str, str]] = {}
        for (suite, case, arm), text in texts.items():
            if suite == self.suite and arm in ARMS:
                by_case.setdefault(case, {})[arm] = text
        return {case: by_arm for case, by_arm in by_case.items() if len(by_arm) == len(ARMS)}

    def own(self, labels: Sequence[Label]) -> list[Label]:
        """Return the labels on this metric."""
        return [x for x in labels if (x.suite, x.metric) == (self.suite, self.metric.name)]


def draw_rows(subject: LabellingSubject, n: int) -> list[LabelSheetRow]:
    """Return the rows of `n` cases drawn at random from those without a label, shuffled.

    Raises:
        UsageError: there is nothing to label.
    """
    answers = subject.answers()
    labelled = {label.id for label in subject.own(subject.run.labels)}
    left = [case for case in answers if case not in labelled]
    if not left:
        raise UsageError(
            f"{subject.run.folder}: {subject.suite} has no unlabelled cases left (cases with "
            "several samples cannot be labelled)"
        )
    name = f"{subject.run.manifest.run_id}/{subject.suite}/{subject.metric.name}/{len(labelled)}"
    rng = random.Random(name)
    chosen = rng.sample(left, min(n, len(left)))
    rows: list[LabelSheetRow] = []
    for start in range(0, len(chosen), BLOCK):
        block = [
            _row(subject, subject.run.cases[subject.suite, case].case, text)
            for case in chosen[start : start + BLOCK]
            for text in dict.fromkeys(answers[case].values())  # equal answers are asked once
        ]
        rng.shuffle(block)
        rows += block
    return rows


def sheet_lines(rows: Sequence[LabelSheetRow]) -> str:
    """Return a sheet's JSON lines; one without a label has null, for people to fill in."""
    return "".join(
        json.dumps({**row.model_dump(mode="json", exclude_none=True), "label": row.label}) + "\n"
        for row in rows
    )


def _row(subject: LabellingSubject, case: Case, text: str) -> LabelSheetRow:
    return LabelSheetRow(
        suite=subject.suite,
        metric=subject.metric.name,
        id=case.id,
        prompt=format_conversation(case),
        context=case.context,
        completion=text,
    )


def read_back(subject: LabellingSubject, path: Path) -> tuple[Label, ...]:
    """Read a sheet that people filled in; lines without a label are skipped.

    Raises:
        SuiteError: a line is not a label, or its answer is not in the run.
        UsageError: the file cannot be read, or has labels of one arm only.
    """
    sheet = read_labels(path, range=subject.metric.range or (0.0, 1.0), unfinished=True)
    answers = subject.answers()
    new_labels = [label for line in sheet for label in _labels_by_arm(subject, line, answers)]
    missing = [line for line in sheet if line.completion not in answers.get(line.id, {}).values()]
    if missing:
        raise SuiteError(
            [
                f"{path}: the answer to {line.id!r} is not in this run; read the sheet into the "
                "run it was made from"
                for line in missing
            ]
        )
    before = {(x.suite, x.metric, x.id, x.arm): x for x in subject.run.labels}
    now = {(x.suite, x.metric, x.id, x.arm): x for x in new_labels}
    labels = tuple((before | now).values())
    refuse_one_arm(path, subject.own(labels))
    specs = [str(judge.get("spec")) for judge in subject.run.manifest.judges]
    refuse_judges_labels(path, labels, specs)
    return labels


def _labels_by_arm(
    subject: LabellingSubject, line: Label, answers: dict[str, dict[str, str]]
) -> Iterator[Label]:
    """Yield the label for each arm that gave this answer."""
    for arm, text in answers.get(line.id, {}).items():
        if text == line.completion:
            yield line.model_copy(
                update={
                    "suite": subject.suite,
                    "metric": subject.metric.name,
                    "arm": arm,
                    "case": None,
                }
            )
