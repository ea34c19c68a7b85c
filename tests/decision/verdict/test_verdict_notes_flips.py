"""Flipped questions: counted and named in the notes, whether a gate asks about them or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.gate_results import GateReason, GateStatus
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.verdict import Verdict, VerdictRecord

Judge = Callable[..., VerdictRecord]
CHOICES = {"choices": ("a", "b", "c", "d"), "answer": 0}
STEADY = ([0.5] * 100, [0.5, 0.52] * 50)
TOLERANCE = Gate(metric="share", kind="tolerance", margin=0.1)


def _suite(columns: Any, record_factory: Any, flips: tuple[list[float], ...], *gates: Gate) -> Any:
    asked = {"needs": CellKind.CHOICES}
    metrics = [
        record_factory.metric("right", **asked),
        record_factory.metric("share", **asked, binary=False),
    ]
    return columns(
        gates or (TOLERANCE,), {"right": flips, "share": STEADY}, metrics=metrics, extra=CHOICES
    )


@pytest.mark.parametrize(
    ("lost", "won", "told"),
    [
        (7, 4, "right → wrong on 7 (c004, c005, c006, c007, c008, 2 more), wrong → right on 4"),
        (2, 0, "right → wrong on 2 (c000, c001), wrong → right on 0"),
        (0, 3, "right → wrong on 0, wrong → right on 3"),
        (0, 0, None),
    ],
)
def test_an_ungated_metric_tells_its_flips(
    judge: Judge, columns: Any, record_factory: Any, lost: int, won: int, told: str | None
) -> None:
    """Wins come first in the columns, so losses begin at their number; no flip, no note."""
    flips = record_factory.pairs(won, lost, 60, 40 - lost - won)
    (result,) = judge(_suite(columns, record_factory, flips)).suites

    assert result.verdict is Verdict.SHIP
    notes = [note for note in result.remarks if "→" in note]
    assert notes == ([f"s: right: {told}"] if told else [])


def test_other_pass_or_fail_metrics_are_listed_elsewhere(
    judge: Judge, columns: Any, record_factory: Any
) -> None:
    """A written answer that fails is a regression of the report, not a flipped question."""
    flips = record_factory.pairs(3, 3, 60, 34)
    suite = columns((Gate(metric="m", kind="tolerance", margin=0.2),), {"m": flips})

    assert not any("→" in note for note in judge(suite).suites[0].remarks)


@pytest.mark.parametrize(
    ("right", "status", "reason"),
    [
        # 4 choices: chance 0.25. 30 of 100 right: exact lower end 0.225, not above 0.25 + 0.1.
        (30, GateStatus.UNDECIDED, GateReason.INSENSITIVE),
        # 60 of 100 right: exact lower end 0.513.
        (60, GateStatus.PASS, None),
    ],
)
def test_accuracy_gates_only_above_chance(
    judge: Judge, columns: Any, record_factory: Any, right: int, status: GateStatus, reason: Any
) -> None:
    same = [1.0] * right + [0.0] * (100 - right)
    gate = Gate(metric="right", kind="tolerance", margin=0.1)
    (result,) = judge(_suite(columns, record_factory, (same, same), gate)).suites

    assert (result.gates[0].status, result.gates[0].reason) == (status, reason)


@pytest.mark.parametrize(
    ("choices", "status"),
    [
        # exact lower end of 30 of 100: 0.225, below 0.25 + 0.1 of four choices that are known
        (("a", "b", "c", "d"), GateStatus.UNDECIDED),
        # and above 0 + 0.1 where the prompt alone lists them
        (None, GateStatus.PASS),
    ],
)
def test_choices_named_in_free_text_may_be_guessed_too(
    judge: Judge, columns: Any, record_factory: Any, choices: Any, status: GateStatus
) -> None:
    """The metric `multiple_choice` reads letters from texts; guessing gets one of four right."""
    same = [1.0] * 30 + [0.0] * 70
    named = record_factory.metric("named", use="multiple_choice")
    gate = Gate(metric="named", kind="tolerance", margin=0.1)
    extra = {} if choices is None else {"choices": choices}
    suite = columns((gate,), {"named": (same, same)}, [named], extra=extra)

    assert judge(suite).suites[0].gates[0].status is status
