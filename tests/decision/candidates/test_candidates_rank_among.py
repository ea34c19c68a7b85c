"""A candidate judged as one of several has its share of the error, and no more than that."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.compared_runs import candidate, column, metric, run_of
from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.decision.candidates.shared_error import judge_among, shared_error
from tunegate.harness.decision.gating.decide_all import decide_gate
from tunegate.harness.records.gate_results import GateStatus
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.verdict import Verdict

PLAIN = Gate(metric="solved", kind="gain", margin=0.0)


def _wins(count: int, **changes: Any) -> Any:
    """Return a run in which tuned wins `count` cases and loses none."""
    pair = (column(50), column(50 + count))
    return run_of("one", {"solved": pair}, gates=[PLAIN], **changes)


# w wins, no loss: mid-p 0.5^w / 2; w=5: 0.0156, below 0.05/3 = 0.0167, above 0.05/4 = 0.0125
@pytest.mark.parametrize(
    ("wins", "of", "verdict"),
    [(5, 2, "SHIP"), (5, 3, "SHIP"), (5, 4, "UNDECIDED"), (6, 4, "SHIP"), (6, 7, "UNDECIDED")],
)
def test_each_candidate_has_its_share_of_the_error(wins: int, of: int, verdict: str) -> None:
    """Bonferroni's bound, by hand: p against 0.05 / k."""
    run = _wins(wins)

    assert run.verdict.verdict is Verdict.SHIP
    assert judge_among(run, of).verdict.value == verdict


def test_the_interval_is_that_of_the_share() -> None:
    """Tango's interval of 20 wins in 100 at 1 - 0.1/4, from its own closed definition."""
    from tunegate.harness.stats.binary import deciding_interval

    (suite,) = judge_among(_wins(20), 4).suites
    expected = deciding_interval(20, 0, 100, confidence=0.975)

    assert suite.gates[0].confidence == pytest.approx(0.975)
    assert suite.gates[0].low == pytest.approx(expected.low, abs=1e-6)
    assert suite.gates[0].high == pytest.approx(expected.high, abs=1e-6)


def test_a_broken_candidate_stays_broken() -> None:
    """6 losses alone: mid-p 0.0078 is below 0.05 and proves it; 0.05 / 8 it would be above."""
    guard = Gate(metric="solved", kind="tolerance", margin=0.02)
    run = run_of("one", {"solved": (column(56), column(50))}, gates=[guard])

    judged = judge_among(run, 8)

    assert run.verdict.verdict is Verdict.BLOCK
    assert (judged.verdict, judged.sentence) == (Verdict.BLOCK, run.verdict.sentence)
    assert judged.suites[0].verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(("attempt", "of", "share"), [(2, 3, 3), (5, 3, 5)])
def test_the_error_is_not_divided_twice(attempt: int, of: int, share: int) -> None:
    """Where the suite judges its k-th candidate at 1/k, the smaller share counts."""
    manifest = candidate(
        "one", 60, suite={"alpha_per_attempt": True}, attempts={"hash of s": attempt}
    ).manifest

    (suite,) = shared_error(manifest, of).suites

    assert [g.confidence for g in suite.gates] == pytest.approx([1 - 0.1 / share] * 2)
    assert not suite.alpha_per_attempt


@cache
def _ships(wins: int, losses: int, of: int) -> bool:
    """Return whether a goal passes at its share of the error, with these pairs of 60."""
    gate = PLAIN.model_copy(update={"confidence": 1 - 0.1 / of})
    pairs = Pairs(
        suite="s",
        metric=metric("solved"),
        base=tuple([0.0] * wins + [1.0] * losses + [0.0] * (60 - wins - losses)),
        tuned=tuple([1.0] * wins + [0.0] * losses + [0.0] * (60 - wins - losses)),
    )
    return decide_gate(gate, pairs, regressed=False).status is GateStatus.PASS


@pytest.mark.parametrize("k", [2, 5, 10])
def test_the_best_of_identical_candidates_rarely_ships(k: int) -> None:
    """4,000 seeded runs of k candidates no better than base: one ships in at most 5 of 100.

    Each answers 60 cases of its own luck, with half of them right, as base does; judged one by one
    without sharing the error, some candidate ships far more often.
    """
    runs = 4_000
    rng = np.random.default_rng(20260101 + k)
    base = rng.random((runs, 1, 60)) < 0.5
    tuned = rng.random((runs, k, 60)) < 0.5
    wins, losses = (tuned & ~base).sum(axis=2), (~tuned & base).sum(axis=2)

    def rate(of: int) -> float:
        best = [
            any(_ships(int(w), int(v), of) for w, v in zip(*pair, strict=True))
            for pair in zip(wins, losses, strict=True)
        ]
        return sum(best) / runs

    shared, alone = rate(k), rate(1)

    assert shared <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    assert shared > 0  # the test can fail: something ships now and then
    assert alone > 0.05 * (1 + k / 10)
