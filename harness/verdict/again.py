"""A stored run decided again, from its files alone: with labels that people gave since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.labels import Label
from harness.manifest import SuiteRecord
from harness.records import CellKind, StoredCell
from harness.run import Run
from harness.verdict.decide import decide
from harness.verdict.looks import Look
from harness.verdict.record import VerdictRecord
from harness.verdict.scores import same_answers
from harness.verdict.standing import compare_incumbent


def decide_again(run: Run) -> VerdictRecord:
    """Return the verdict of a stored run, its scores and labels being what they are now."""
    skipped: dict[str, set[str]] = {}
    for stored in run.cells:
        if stored.status == "skipped":
            skipped.setdefault(stored.cell.suite, set()).add(stored.cell.case)
    looks = {
        suite.name: look
        for suite in run.manifest.suites
        if (look := _look(suite, skipped.get(suite.name, set()))) is not None
    }
    verdict = decide(
        run.manifest,
        run.cases_of,
        run.scores,
        looks=looks,
        same_answers=same_answers(s for s in run.cells if s.status != "skipped"),
        labels=standing_labels(run.labels, run.cells, run.manifest.suites),
    )
    # What was proven of the model that ships is about its answers, which are what they were.
    parity = run.verdict.parity
    verdict = verdict if parity is None else verdict.after(parity=parity)
    if run.verdict.standing is None:
        return verdict
    standing = compare_incumbent(run.manifest, run.cases_of, run.scores)
    return verdict.after(standing=standing)


def standing_labels(
    labels: Iterable[Label], cells: Iterable[StoredCell], suites: Iterable[SuiteRecord]
) -> tuple[Label, ...]:
    """Return the labels whose answer is still the run's: a label speaks of a text, not a case."""
    given = list(labels)
    if not given:
        return ()
    texts = answer_texts(cells, suites)
    return tuple(
        label
        for label in given
        if texts.get((label.suite or "", label.id, label.arm or "")) == label.completion
    )


def answer_texts(
    cells: Iterable[StoredCell], suites: Iterable[SuiteRecord]
) -> Mapping[tuple[str, str, str], str]:
    """Return (suite, case, arm) → the answer, in suites with one answer a case and arm."""
    several = {s.name for s in suites if s.generation.get("samples", 1) > 1}
    return {
        (stored.cell.suite, stored.cell.case, stored.cell.arm): stored.completion.text
        for stored in cells
        if stored.cell.kind is CellKind.GENERATE
        and stored.completion is not None
        and stored.completion.text is not None
        and stored.cell.suite not in several
    }


def _look(suite: SuiteRecord, skipped: set[str]) -> Look | None:
    """Return the look at which a suite ended, told by the cases that were left out."""
    if suite.looks is None:
        return None
    seen = len(suite.looks.order) - len(skipped)
    return Look(suite.looks, suite.looks.sizes.index(seen))
