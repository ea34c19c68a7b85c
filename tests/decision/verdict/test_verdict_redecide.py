"""A stored run decided again gives the verdict that it had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.comparison.interim_look import InterimLook
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.decision.verdict.redecide import answer_texts, current_labels, decide_again
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.manifest import Gate, LookSchedule
from tunegate.harness.records.run_folder import Run, RunCase


def stored(case: str, arm: str, text: str | None, sample: int = 0) -> StoredAnswer:
    """Return a cell with an answer, or a skipped one."""
    cell = Cell(suite="s", case=case, arm=arm, kind=CellKind.GENERATE, sample=sample, key=case)
    if text is None:
        return StoredAnswer(cell=cell, status="skipped")
    return StoredAnswer(cell=cell, status="ok", completion=Completion(text=text))


def run_of(suite: Any, manifest: Any, cells: list[StoredAnswer], verdict: Any) -> Run:
    """Return a run with these records."""
    cases = {("s", c.id): RunCase(suite="s", case=c, where="x") for c in suite.cases()}
    return Run(Path("r"), manifest, cases, tuple(cells), tuple(suite.rows()), verdict)


def test_the_verdict_is_the_same(columns: Any, record_factory: Any) -> None:
    suite = columns([Gate(metric="m", kind="gain", margin=0.0)],
                    {"m": record_factory.pairs(30, 5, 20, 5)})  # fmt: skip
    manifest = record_factory.manifest([suite])
    verdict = decide_run(manifest, {"s": suite.cases()}, suite.rows())

    assert decide_again(run_of(suite, manifest, [], verdict)) == verdict


def test_a_run_that_ended_early_is_judged_at_its_look(columns: Any, record_factory: Any) -> None:
    suite = columns([Gate(metric="m", kind="gain", margin=0.0)],
                    {"m": record_factory.pairs(45, 5, 30, 20)})  # fmt: skip
    order = tuple(case.id for case in suite.cases())
    looks = LookSchedule(order=order, sizes=(60, 100), shares=(0.6, 1.0))
    manifest = record_factory.manifest([suite])
    record = manifest.suites[0].model_copy(update={"looks": looks})
    manifest = manifest.model_copy(update={"suites": (record,)})
    verdict = decide_run(
        manifest, {"s": suite.cases()}, suite.rows(), looks={"s": InterimLook(looks, 0)}
    )
    cells = [stored(case, "base", None) for case in order[60:]]
    again = decide_again(run_of(suite, manifest, cells, verdict))

    assert again == verdict
    assert "look 1 of 2" in again.suites[0].gates[0].method


@pytest.mark.parametrize("samples", [1, 3])
def test_labels_stand_for_the_text_they_were_given(
    columns: Any, record_factory: Any, samples: int
) -> None:
    """A label of an answer that has changed since, or of one among several, says nothing."""
    from tunegate.harness.records.labels import Label

    suite = columns([], {"m": ([1.0], [1.0])}).record()
    suite = suite.model_copy(update={"generation": {"samples": samples}})
    cells = [stored("c000", "base", "old"), stored("c000", "tuned", "new")]
    labels = [
        Label(suite="s", metric="m", id="c000", arm=arm, completion="new", label=1.0)
        for arm in ("base", "tuned")
    ]

    kept = current_labels(labels, cells, [suite])
    assert [label.arm for label in kept] == (["tuned"] if samples == 1 else [])
    assert len(answer_texts(cells, [suite])) == (2 if samples == 1 else 0)
