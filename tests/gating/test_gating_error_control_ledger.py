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
