"""Deciding a stored run again from its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.contracts.further_arm import comparisons
from tunegate.harness.decision.answer_facts.answer_counts import AnswerCounts
from tunegate.harness.decision.answer_facts.read_answers import read_answers
from tunegate.harness.decision.verdict.decide import ScoredRun, decide_run
from tunegate.harness.records.answers import CellKind, StoredAnswer
from tunegate.harness.records.jsonl import FilteredRecords
from tunegate.harness.records.labels import Label
from tunegate.harness.records.manifest import SuiteRecord
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import VerdictRecord


def decide_again(run: Run, answers: Mapping[str, AnswerCounts] | None = None) -> VerdictRecord:
    """Return the verdict of a stored run from its present scores and labels."""
    looks = _looks(run)
    cells = _asked(run)
    if answers is None:
        answers = read_stored_answers(run)
    verdict = decide_run(
        run.manifest,
        run.cases_of,
        run.scores,
        looks=looks,
        answers=answers,
        labels=current_labels(run.labels, run.cells, run.manifest.suites),
    )
    scored = ScoredRun(
        manifest=run.manifest,
        cases=run.cases_of,
        scores=run.scores,
        cells=cells,
        answers=answers,
        looks=looks,
    )
    results = run.verdict.further_arms
    for name, compared in comparisons(run.manifest.arms).items():
        # What the models had to compute is kept: their answers are the same.
        if name in results:
            verdict = verdict.after(name, compared.compare_again(scored, results[name]))
    return verdict


def read_stored_answers(run: Run) -> dict[str, AnswerCounts]:
    """Return suite → what the texts of a stored run show."""
    return read_answers(run.manifest, run.cases_of, run.scores, _asked(run), _looks(run))


def _asked(run: Run) -> FilteredRecords[StoredAnswer]:
    return FilteredRecords(run.cells, lambda stored: stored.status != "skipped")


def _looks(run: Run) -> dict[str, InterimLook]:
    """Return suite → the look at which it ended."""
    skipped: dict[str, set[str]] = {}
    for stored in run.cells:
        if stored.status == "skipped":
            skipped.setdefault(stored.cell.suite, set()).add(stored.cell.case)
    return {
        suite.name: look
        for suite in run.manifest.suites
        if (look := _look(suite, skipped.get(suite.name, set()))) is not None
    }


def current_labels(
    labels: Iterable[Label], cells: Iterable[StoredAnswer], suites: Iterable[SuiteRecord]
) -> tuple[Label, ...]:
    """Return the labels whose answer is still the run's."""
    labels = list(labels)
    if not labels:
        return ()
    texts = answer_texts(cells, suites)
    return tuple(
        label
        for label in labels
        if texts.get((label.suite or "", label.id, label.arm or "")) == label.completion
    )


def answer_texts(
    cells: Iterable[StoredAnswer], suites: Iterable[SuiteRecord]
) -> Mapping[tuple[str, str, str], str]:
    """Return (suite, case, arm) → the answer, in suites with one answer per case and arm."""
    several = {s.name for s in suites if s.generation.get("samples", 1) > 1}
    return {
        (stored.cell.suite, stored.cell.case, stored.cell.arm): stored.completion.text
        for stored in cells
        if stored.cell.kind is CellKind.GENERATE
        and stored.completion is not None
        and stored.completion.text is not None
        and stored.cell.suite not in several
    }


def _look(suite: SuiteRecord, skipped: set[str]) -> InterimLook | None:
    """Return the look at which a suite ended, from the cases that were skipped."""
    if suite.looks is None:
        return None
    seen = len(suite.looks.order) - len(skipped)
    return InterimLook(suite.looks, suite.looks.sizes.index(seen))
