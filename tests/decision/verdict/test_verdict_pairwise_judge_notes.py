"""Notes on judges of pairs: how often a verdict turned, which place won, what length explains."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from tunegate.harness.decision.score_table import ScoreTable
from tunegate.harness.decision.verdict.pairwise_judge_notes import comparison_notes, example_notes
from tunegate.harness.records.answers import CellKind
from tunegate.harness.records.cases import Case
from tunegate.harness.records.manifest import JudgeRecord, MetricRecord, SuiteRecord
from tunegate.harness.records.scores import ScoreRow

PAIRWISE = MetricRecord(
    name="better",
    use="pairwise",
    needs=CellKind.GENERATE,
    higher_is_better=True,
    range=(0.0, 1.0),
    binary=False,
    judge=JudgeRecord(name="pairwise", prompt_sha256="0" * 64, pairs=True),
)


def table(found: Sequence[dict[str, float] | None]) -> ScoreTable:
    """Return the scores of comparisons: advantage in both orders, and the length ratio."""
    rows = {}
    for number, parts in enumerate(found):
        case = f"c{number}"
        known = parts is not None and "base_first" in parts
        d = 0.0 if parts is None or not known else (parts["base_first"] + parts["tuned_first"]) / 2
        for arm, value in (("base", (1 - d) / 2), ("tuned", (1 + d) / 2)):
            score = None if parts is None else value
            rows["better", case, arm] = ScoreRow(
                suite="s", metric="better", case=case, arm=arm, value=score,
                reason=None if parts else "x", parts=parts,
            )  # fmt: skip
    suite = SuiteRecord(
        name="s", path="p", hash="h", n_cases=len(found), goal_rule="primary", max_unscored=0.05,
        metrics=(PAIRWISE,), gates=(), generation={},
    )  # fmt: skip
    return ScoreTable(
        suite, {f"c{i}": Case(id=f"c{i}", prompt="q") for i in range(len(found))}, rows
    )


def pair(base_first: float, tuned_first: float, ratio: float = 0.0) -> dict[str, float]:
    """Return what one comparison leaves."""
    return {"base_first": base_first, "tuned_first": tuned_first, "log_length_ratio": ratio}


def test_a_steady_judge_is_told_without_a_warning() -> None:
    """Nine of ten verdicts survive the swap; of 20 decisions the first place won nine."""
    found = [pair(1, 1)] * 5 + [pair(-1, -1)] * 4 + [pair(1, -1)]

    (note,) = comparison_notes(table(found))

    # base first, then tuned first: (1, 1) is second, first; (-1, -1) first, second; (1, -1) twice
    # the second. First wins: 5 + 4 = 9 of 20.
    assert note == (
        "better: the judge kept its verdict on 9 of 10 swapped pairs, and the answer that came "
        "first won 45% of its decisions"
    )


@pytest.mark.parametrize(("kept", "warned"), [(7, False), (6, True)])
def test_a_judge_that_turns_is_warned_of(kept: int, warned: bool) -> None:
    """Below 70 % a verdict says more about the place than about the answer."""
    found = [pair(1, 1)] * kept + [pair(0, 1)] * (10 - kept)

    (note,) = comparison_notes(table(found))

    assert f"kept its verdict on {kept} of 10" in note
    assert ("the order sways it" in note) is warned


def test_a_judge_that_always_takes_the_first_is_warned_of() -> None:
    """Of 40 decisions the first place won all."""
    (note,) = comparison_notes(table([pair(-1, 1)] * 20))

    assert "kept its verdict on 0 of 20" in note
    assert "first won 100% of its decisions: the order sways it" in note


def test_length_is_taken_out() -> None:
    """d = 0.2 + 0.5 x ratio without noise: 0.2 at equal lengths, and 0.35 for twice the length."""
    ratios = [-0.4, -0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4]
    found = [pair(0.2 + 0.5 * r, 0.2 + 0.5 * r, r) for r in ratios]

    note = list(comparison_notes(table(found)))[1]

    assert "equally long the difference is +0.200 [+0.200, +0.200] (over all +0.450)" in note
    assert f"twice as long adds {0.5 * math.log(2):+.3f}" in note


def test_too_little_is_not_told() -> None:
    """Nine pairs, or equal ratios, say nothing of length; unscored and identical ones are out."""
    few = [pair(1, 1, r / 10) for r in range(9)]
    same = [{"log_length_ratio": 0.0}] * 12

    assert len(list(comparison_notes(table([*few, None])))) == 1
    assert list(comparison_notes(table(same))) == [
        "better: both arms gave the same answer on all 12 cases"
    ]
    assert list(comparison_notes(table([None]))) == []


def test_answers_that_the_judge_was_shown_are_counted() -> None:
    """By arm; the part of the score says so, and the note what to do."""
    shown = {**pair(1, 1), "in_examples": 1.0}

    assert list(example_notes(table([shown, shown, pair(1, 1)]))) == [
        f"better: 2 answers of {arm} are examples of the judge's own prompt, which gives the "
        "verdict; take other examples"
        for arm in ("base", "tuned")
    ]
    assert list(example_notes(table([pair(1, 1), None]))) == []
