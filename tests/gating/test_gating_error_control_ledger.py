"""Attempts: the k-th candidate on a suite at 1/k of the error, sealed suites only on demand."""

from __future__ import annotations

from typing import Any

import pytest

from tunegate.harness.records.manifest import Gate
from tunegate.harness.verdict.decide import decide_run

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
    columns: Any, made: Any, adjusted: bool, attempt: int, status: str
) -> None:
    """Only where the suite asks for it, and the reader is told."""
    gate = Gate(metric="m", kind="gain", margin=0.0)
    suite = columns([gate], {"m": made.pairs(*FIVE_WINS)})
    record = suite.record().model_copy(update={"alpha_per_attempt": adjusted})
    manifest = made.manifest([suite], attempts={record.hash: attempt})
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
        (2, True, 7, "pass"),
    ],
)
def test_a_second_chance_has_a_fifth_of_the_error(
    columns: Any, made: Any, extended: int, adjusted: bool, wins: int, status: str
) -> None:
    """Of whatever the candidate has; the reader is told why."""
    suite = columns([Gate(metric="m", kind="gain", margin=0.0)], {"m": made.pairs(wins, 0, 95, 0)})
    changes = {"alpha_per_attempt": adjusted, "extended": extended}
    record = suite.record().model_copy(update=changes)
    manifest = made.manifest([suite], attempts={record.hash: 2})
    manifest = manifest.model_copy(update={"suites": (record,)})

    (result,) = decide_run(manifest, {"s": suite.cases()}, suite.rows()).suites

    assert result.gates[0].status.value == status
    told = [note for note in result.notes if "another number of cases has judged" in note]
    assert [f"1/{10 if adjusted else 5} of it" in note for note in told] == [True] * bool(extended)
