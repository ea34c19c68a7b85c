"""Attempts: the k-th candidate on a suite at 1/k of the error, sealed suites only on demand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from tunegate.harness.decision.gating.attempts import extension_share
from tunegate.harness.decision.verdict.decide import decide_run
from tunegate.harness.records.manifest import Gate

# 5 wins, no loss: mid-p 0.5^5 / 2 = 0.0156, below 0.05 and 0.05/3 = 0.0167, above 0.05/4 = 0.0125
FIVE_WINS = 5, 0, 95, 0


@pytest.mark.parametrize(
    ("adjusted", "attempt", "status"),
    [
        (True, 1, "pass"),
        (True, 3, "pass"),
        (True, 4, "undecided"),
        (False, 4, "pass"),
    ],
)
def test_the_kth_candidate_has_a_kth_of_the_error(
    columns: Any, record_factory: Any, adjusted: bool, attempt: int, status: str
) -> None:
    gate = Gate(metric="m", kind="gain", margin=0.0)
    suite = columns([gate], {"m": record_factory.pairs(*FIVE_WINS)})
    record = suite.record().model_copy(update={"alpha_per_attempt": adjusted})
    manifest = record_factory.manifest([suite], attempts={record.hash: attempt})
    manifest = manifest.model_copy(update={"suites": (record,)})

    (result,) = decide_run(manifest, {"s": suite.cases()}, suite.rows()).suites

    assert result.gates[0].status.value == status
    told = f"s: candidate {attempt} on this suite, judged at 1/{attempt} of the error"
    assert (told in result.notes) is (adjusted and attempt > 1)


@pytest.mark.parametrize(
    ("extended", "adjusted", "wins", "status"),
    [
        # no losses: mid-p 0.5^wins / 2 is .0078 for 6 wins and .0156 for 5, against .05/5 = .01
        (0, False, 5, "pass"),
        (1, False, 5, "undecided"),
        (1, False, 6, "pass"),
        # and against .05/(2·5) = .005 for the second candidate; .0039 for 7 wins
        (1, True, 6, "undecided"),
        (1, True, 7, "pass"),
        # a third chance has half of that: .05/(5·2) = .005, and for the second candidate .0025,
        # where 8 wins have a mid-p of .0020
        (2, False, 6, "undecided"),
        (2, False, 7, "pass"),
        (2, True, 7, "undecided"),
        (2, True, 8, "pass"),
    ],
)
def test_a_second_chance_has_a_fifth_of_the_error_and_a_third_half_of_that(
    columns: Any, record_factory: Any, extended: int, adjusted: bool, wins: int, status: str
) -> None:
    """Of whatever the candidate has; the reader is told why."""
    suite = columns(
        [Gate(metric="m", kind="gain", margin=0.0)], {"m": record_factory.pairs(wins, 0, 95, 0)}
    )
    changes = {"alpha_per_attempt": adjusted, "extended": extended}
    record = suite.record().model_copy(update=changes)
    manifest = record_factory.manifest([suite], attempts={record.hash: 2})
    manifest = manifest.model_copy(update={"suites": (record,)})

    (result,) = decide_run(manifest, {"s": suite.cases()}, suite.rows()).suites

    assert result.gates[0].status.value == status
    told = [note for note in result.notes if "judged this candidate before" in note]
    share = (10 if adjusted else 5) * max(1, extended)
    assert [f"1/{share} of it" in note for note in told] == [True] * bool(extended)


def test_all_extensions_together_have_two_fifths_of_the_error() -> None:
    """1/5 + 1/10 + … + 1/2560 is 2/5 less 1/2560; beyond, each has 1/2560 for itself."""
    shares = [Fraction(1, extension_share(count)) for count in range(1, 11)]

    assert extension_share(0) == 1
    assert sum(shares) == Fraction(2, 5) - Fraction(1, 2560)
    assert extension_share(50) == 2560
