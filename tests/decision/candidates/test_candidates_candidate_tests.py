"""Candidate against candidate: pairs of their own answers, one error over all comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, norm
from statsmodels.stats.multitest import multipletests

from tests.compared_runs import GOAL, column, metric, run_of
from tests.decision.gating.test_gating_judge_eligibility import calibration
from tunegate.harness.comparison.delta import Delta
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.contracts.further_arm import BASE_AGAIN
from tunegate.harness.decision.candidates.candidate_tests import (
    _adjust_p_values,
    _better,
    _UnadjustedComparison,
    compare_pairwise,
)
from tunegate.harness.decision.candidates.rank import compare_runs
from tunegate.harness.records.contamination import (
    ContaminationCheck,
    ContaminationCoverage,
    ContaminationMatch,
    ContaminationMode,
    OverlapKind,
    SuiteContamination,
)
from tunegate.harness.records.manifest import JudgeRecord
from tunegate.harness.records.scores import ScoreRow


def _run(name: str, solved: list[float | None], **changes: Any) -> Any:
    return run_of(name, {"solved": (column(30), solved)}, gates=[GOAL], **changes)


def test_the_difference_is_paired_by_case() -> None:
    """A is right on cases 0-59, B on 10-79: B wins 20 and loses 10, whatever base did."""
    runs = {"A": _run("a", column(60)), "B": _run("b", column(70, skip=10))}

    (duel,) = compare_pairwise(runs)

    assert (duel.first_level, duel.second_level, duel.n) == (0.6, 0.7, 100)
    assert duel.delta == pytest.approx(0.1)
    from tunegate.harness.stats.binary import deciding_interval

    expected = deciding_interval(20, 10, 100, confidence=0.90)
    assert (duel.low, duel.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_claims_are_holms_over_all_pairs_and_both_directions() -> None:
    """Three candidates, six one-sided tests: as statsmodels adjusts them, from p-values by hand.

    The larger of McNemar's mid-p and the score test at 0, z = (wins - losses) / √(wins + losses).
    A is right on 0-39, B on 0-54, C on 0-57: differences of 15, 18 and 3 cases without a loss.
    """
    sizes = {"A": 40, "B": 55, "C": 58}
    found = compare_pairwise({letter: _run(letter, column(n)) for letter, n in sizes.items()})

    def p_value(wins: int, losses: int) -> float:
        n = wins + losses
        mid_p = binom.sf(wins, n, 0.5) + 0.5 * binom.pmf(wins, n, 0.5)
        return float(max(mid_p, norm.sf((wins - losses) / n**0.5)))

    raw = [p for w in (15, 18, 3) for p in (p_value(w, 0), p_value(0, w))]
    adjusted = multipletests(raw, method="holm")[1]
    pairs = [(d.first + d.second, d.p_value, d.better) for d in found]

    assert [(name, better) for name, _, better in pairs] == [("AB", "B"), ("AC", "C"), ("BC", None)]
    assert [p for _, p, _ in pairs] == pytest.approx(
        [min(adjusted[2 * i : 2 * i + 2]) for i in range(3)], rel=1e-4
    )


def test_a_lower_is_better_metric_is_turned_round() -> None:
    fewer = metric("solved", higher_is_better=False)
    runs = {
        "A": _run("a", column(60), suite={"metrics": (fewer,)}),
        "B": _run("b", column(30), suite={"metrics": (fewer,)}),
    }

    (duel,) = compare_pairwise(runs)

    assert duel.delta == pytest.approx(-0.3)
    assert duel.low is not None
    assert duel.high is not None
    assert duel.low < -0.3 < duel.high < 0
    assert duel.better == "B"


def test_unscored_cases_are_left_out_of_the_pairs() -> None:
    """A pair takes a score of both; without any pair the number is None."""
    holes = [None if i < 10 else 1.0 for i in range(100)]
    some = compare_pairwise({"A": _run("a", column(60)), "B": _run("b", holes)})
    none = compare_pairwise({"A": _run("a", column(60)), "B": _run("b", [None] * 100)})

    assert some[0].n == 90
    assert (none[0].n, none[0].delta, none[0].p_value, none[0].better) == (0, None, None, None)


def test_a_lead_within_the_noise_proves_nothing() -> None:
    """Base asked again moved by 0.31: a lead of 0.3 may be arithmetic."""
    first = _run("a", column(60))
    again = [
        ScoreRow(suite="s", metric="solved", case=f"c{i:03}", arm=BASE_AGAIN, value=float(i < 61))
        for i in range(100)
    ]
    noisy = replace(first, scores=(*first.scores, *again))
    runs = {"A": noisy, "B": _run("b", column(90))}

    (duel,) = compare_pairwise(runs)

    assert duel.noise == pytest.approx(0.31)
    assert duel.better is None
    assert compare_pairwise(runs | {"A": first})[0].better == "B"


def test_cases_of_anyones_training_are_nobodys_proof() -> None:
    seen = ContaminationMatch(
        case="c000", found=OverlapKind.RUN, share=0.9, longest=31, where="t.jsonl:17"
    )
    suite = SuiteContamination(name="s", n_cases=100, n_templates=0, matches=(seen,))
    leakage = ContaminationCheck(
        mode=ContaminationMode.GATE, checked=ContaminationCoverage.ALL, rows=9, suites=(suite,)
    )
    runs = {"A": _run("a", column(60)), "B": _run("b", column(70), leakage=leakage)}

    (duel,) = compare_pairwise(runs)

    assert (duel.n, duel.first_level) == (99, pytest.approx(59 / 99, rel=1e-5))


def test_a_judge_of_pairs_has_no_score_of_one_alone() -> None:
    judge = JudgeRecord(name="pairwise", prompt_sha256="x", pairs=True)
    suite = {"metrics": (metric("solved", judge=judge),)}

    assert compare_pairwise({n: _run(n, column(60), suite=suite) for n in "AB"}) == ()


def test_a_calibrated_judge_is_only_shown() -> None:
    judge = JudgeRecord(name="tone", prompt_sha256="x", calibration=calibration())
    suite = {"metrics": (metric("solved", judge=judge),)}
    runs = [_run(name, column(n), suite=suite) for name, n in (("a", 60), ("b", 90))]

    (duel,) = compare_pairwise(dict(zip("AB", runs, strict=True)))
    found = compare_runs(runs)

    assert duel.advisory
    assert not [note for note in found.notes if "on the same cases" in note]


def test_what_is_only_shown_takes_nothing_from_what_counts() -> None:
    judge = JudgeRecord(name="tone", prompt_sha256="x")
    columns = {"solved": (column(30), column(60)), "tone": (column(30), column(60))}
    gates = [GOAL, GOAL.model_copy(update={"metric": "tone"})]
    suite = {"metrics": (metric("solved"), metric("tone", judge=judge))}

    def run(name: str, right: int) -> Any:
        pair = {m: (b, column(right)) for m, (b, _) in columns.items()}
        return run_of(name, pair, gates=gates, suite=suite)

    solved, tone = compare_pairwise({"A": run("a", 60), "B": run("b", 65)})
    alone, *_ = compare_pairwise({"A": _run("a", column(60)), "B": _run("b", column(65))})

    assert (solved.advisory, tone.advisory) == (False, True)
    assert solved.p_value == alone.p_value


def test_claims_about_identical_candidates_are_rarely_made() -> None:
    """400 seeded runs of 5 equals on 60 cases, 10 pairs: any claim in at most 5 of 100 runs.

    Without Holm's procedure some pair looks different far more often.
    """
    runs, rng = 400, np.random.default_rng(20260505)
    answers = (rng.random((runs, 5, 60)) < 0.5).astype(float)
    claimed = alone = 0
    for columns in answers:
        bouts = [_bout(columns[i], columns[j]) for i, j in combinations(range(5), 2)]
        adjusted = _adjust_p_values(bouts)
        claimed += any(
            _better(b, Delta(b.pairs, 0.9), p) for b, p in zip(bouts, adjusted, strict=True)
        )
        alone += any(min(b.pairs.test(0).p_value, b.pairs.reversed_test().p_value) <= 0.05
                     for b in bouts)  # fmt: skip

    assert claimed <= runs * (0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5)
    assert alone > 5 * runs * 0.05


def _bout(first: Sequence[float], second: Sequence[float]) -> _UnadjustedComparison:
    pairs = Pairs(
        suite="s", metric=metric("solved"), base=tuple(map(float, first)),
        tuned=tuple(map(float, second)),
    )  # fmt: skip
    return _UnadjustedComparison("A", "B", pairs, 0.9, ())


def test_a_gate_on_a_tag_compares_on_its_cases() -> None:
    """B solves ten more of the 40 cases of the tag, and none fewer: 10 wins of 40."""
    goal = GOAL.model_copy(update={"tag": "short"})
    tags = ["short"] * 40 + ["long"] * 60
    runs = [
        run_of(name, {"solved": (column(10), column(n))}, gates=[goal], tags=tags)
        for name, n in (("a", 30), ("b", 60))
    ]
    (duel,) = compare_pairwise(dict(zip("AB", runs, strict=True)))
    found = compare_runs(runs)

    assert (duel.tag, duel.n, duel.first_level, duel.second_level) == ("short", 40, 0.75, 1.0)
    assert duel.better == "B"
    assert [(one.gain.tag, one.gain.estimate) for one in found.candidates if one.gain] == [
        ("short", pytest.approx(0.5)),
        ("short", pytest.approx(0.75)),
    ]
