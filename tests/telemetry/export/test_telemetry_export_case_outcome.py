"""How a case went: by the metrics that gates rest on, and no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.scores import ScoreRow
from tunegate.harness.telemetry.export.case_outcome import CaseOutcome, case_outcome


def _record(recorded: Any, values: dict[tuple[str, str], float | None], gates: Any = ()) -> Any:
    (first, *_) = recorded.by_case()
    rows = [
        ScoreRow(suite="s", metric=metric, case="c1", arm=arm, value=value, reason="r")
        for (metric, arm), value in values.items()
    ]
    suite = first.suite.model_copy(update={"gates": gates}) if gates else first.suite
    return replace(first, scores=rows, suite=suite)


@pytest.mark.parametrize(
    ("base", "tuned", "expected"),
    [
        (1.0, 0.0, CaseOutcome.REGRESSED),
        (0.0, 1.0, CaseOutcome.IMPROVED),
        (0.5, 0.5, CaseOutcome.UNCHANGED),
        (0.5, 0.5 + 1e-9, CaseOutcome.UNCHANGED),
        (None, 1.0, CaseOutcome.UNSCORED),
        (1.0, None, CaseOutcome.UNSCORED),
    ],
)
def test_by_one_metric(recorded: Any, base: Any, tuned: Any, expected: CaseOutcome) -> None:
    """Worse, better, the same to within rounding, or missing."""
    rows = {("exact_match", "base"): base, ("exact_match", "tuned"): tuned}
    assert case_outcome(_record(recorded, rows)) is expected
    assert expected.result == ("fail" if expected.value in ("regressed", "unscored") else "pass")


def test_what_no_gate_rests_on_says_nothing(recorded: Any) -> None:
    """`preferred` got worse, and has no gate."""
    rows = {("preferred", "base"): 1.0, ("preferred", "tuned"): 0.0}
    assert case_outcome(_record(recorded, rows)) is CaseOutcome.UNCHANGED


def test_one_loss_outweighs_a_gain(recorded: Any) -> None:
    gates = tuple(
        Gate(metric=m, kind="tolerance", margin=0.1) for m in ("exact_match", "preferred")
    )
    rows = {
        ("exact_match", "base"): 0.0, ("exact_match", "tuned"): 1.0,
        ("preferred", "base"): 1.0, ("preferred", "tuned"): 0.5,
    }  # fmt: skip
    assert case_outcome(_record(recorded, rows, gates)) is CaseOutcome.REGRESSED


def test_a_failed_answer_is_unscored(recorded: Any) -> None:
    (_, second) = recorded.by_case()
    assert case_outcome(replace(second, scores=[])) is CaseOutcome.UNSCORED
