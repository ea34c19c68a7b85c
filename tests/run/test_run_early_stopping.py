"""Early stopping: what a look sees."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tunegate.harness.contracts.further_arm import ARMS, BASE_AGAIN
from tunegate.harness.decision.verdict import interim_analysis
from tunegate.harness.records.answers import Cell, CellKind, StoredAnswer
from tunegate.harness.records.manifest import LookSchedule
from tunegate.harness.run import early_stopping


def test_a_look_sees_what_base_said_when_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it a loss would end the suite that inexact arithmetic may explain on so few cases."""
    arms = (*ARMS, BASE_AGAIN, "incumbent")
    cells = [
        Cell(suite="s", case=case, arm=arm, kind=CellKind.GENERATE, key=f"{case}{arm}")
        for case in ("now", "later")
        for arm in arms
    ]

    def collect(*_: Any, skipped: Any) -> list[StoredAnswer]:
        return [
            StoredAnswer(cell=cell, status="skipped" if skipped(cell) else "ok") for cell in cells
        ]

    def score(_: Any, asked: list[StoredAnswer], scored: tuple[str, ...]) -> list[Any]:
        return [
            (stored.cell.case, stored.cell.arm) for stored in asked if stored.cell.arm in scored
        ]

    seen: list[Any] = []
    monkeypatch.setattr(early_stopping, "collect_answers", collect)
    monkeypatch.setattr(early_stopping, "score_suite", score)
    monkeypatch.setattr(
        interim_analysis, "should_stop", lambda _m, _r, _c, rows, _i: seen.extend(rows)
    )
    looks = LookSchedule(order=("now", "later"), sizes=(1, 2), shares=(0.5, 1.0))
    suite: Any = SimpleNamespace(name="s", cases=())
    run: Any = SimpleNamespace(suites=(suite,))

    early_stopping.EarlyStopping({"s": looks}).watch(run, run, run, [suite])(0)

    assert seen == [("now", "base"), ("now", "tuned"), ("now", BASE_AGAIN)]
