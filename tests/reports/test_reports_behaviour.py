"""Cost and behaviour: counted by hand on a few cells, and said on the page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.run_folder import Run
from tunegate.reports.data import prepare_data
from tunegate.reports.sections import behaviour
from tunegate.reports.sections.behaviour import arm_behaviours, length_ratios

SUITE = "support_json"


def answer(case: str, arm: str, text: str | None, **more: Any) -> StoredAnswer:
    """Return a written cell; a failed one without a text."""
    cell = Cell(suite=SUITE, case=case, arm=arm, kind=CellKind.GENERATE, key=f"{case}{arm}")
    if text is None:
        return StoredAnswer(cell=cell, status="error", error="TimeoutError")
    stored = more.pop("cache_hit", False)
    done = Completion(text=text, input_tokens=10, **more)
    return StoredAnswer(cell=cell, status="ok", completion=done, cache_hit=stored)


@pytest.fixture(name="run")
def _run(make_run: Any) -> Run:
    """Return a run with three cases answered by each arm."""
    run: Run = make_run("SHIP")
    names = [name for suite, name in run.cases if suite == SUITE][:3]
    times = (0.1, 0.2, 0.9)
    base = [
        answer(name, "base", "Fine.", output_tokens=4, latency_s=t, finish_reason="stop")
        for name, t in zip(names, times, strict=True)
    ]
    tuned = [
        answer(names[0], "tuned", "again " * 30, output_tokens=30, finish_reason="length"),
        answer(names[1], "tuned", "I can't help with that.", output_tokens=6, cost=0.25,
               finish_reason="stop", cache_hit=True, batch_size=8),
        answer(names[2], "tuned", None),
    ]  # fmt: skip
    return replace(
        run, cells=(*base, *tuned), cases={(SUITE, n): run.cases[SUITE, n] for n in names}
    )


def test_what_each_arm_did_is_counted(run: Run) -> None:
    """Times by nearest rank; cuts, loops and refusals of the answers that there are."""
    base, tuned = arm_behaviours(prepare_data(run))
    assert (base.arm, base.asked, base.failed, base.stored) == ("base", 3, 0, 0)
    assert (base.latency(0.5), base.latency(0.95)) == (0.2, 0.9)
    assert (base.tokens, base.length, base.cost) == ((30, 12), 4.0, None)
    assert (tuned.asked, tuned.failed, tuned.stored, tuned.batched) == (3, 1, 1, True)
    assert (tuned.cut, tuned.finished, tuned.looping, tuned.refused) == (1, 2, 1, 1)
    assert (tuned.length, tuned.cost, tuned.latency(0.5)) == (18.0, 0.25, None)
    # 30 / 4 and 6 / 4
    assert length_ratios(prepare_data(run)) == {SUITE: (7.5 + 1.5) / 2}


def test_answers_that_were_asked_for_again_are_counted(run: Run) -> None:
    """One of two answers took three calls; failed cells are not retries; local arms never retry."""
    name = run.cells[0].cell.case
    cells = [answer(f"{name}{i}", "tuned", "Fine.", attempts=n) for i, n in enumerate((1, 3))]
    asked = replace(run, cells=(run.cells[0], *cells, answer(name, "tuned", None)))

    base, tuned = arm_behaviours(prepare_data(asked))
    html = str(behaviour.render(prepare_data(asked)))

    assert (base.called, base.retried, base.calls) == (0, 0, 0)
    assert (tuned.called, tuned.retried, tuned.calls, tuned.failed) == (2, 1, 4, 1)
    assert "1 (50.0 %) <span" in html
    assert "4 calls" in html
    assert "Asked again" not in str(behaviour.render(prepare_data(run)))


def test_the_page_says_what_is_unknown(run: Run) -> None:
    """A price that nobody gave is unknown; a batch's time is said to be one."""
    html = str(behaviour.render(prepare_data(run)))
    assert "unknown" in html
    assert "$0.2500" in html
    assert "×4.50 base" in html
    assert "that of the whole batch" in html


def test_without_answers_there_is_no_section(run: Run) -> None:
    assert str(behaviour.render(prepare_data(replace(run, cells=())))).strip() == ""
