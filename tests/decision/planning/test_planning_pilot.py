"""What a plan takes from an earlier run."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

from tunegate.harness.comparison.pairs import Pairs
from tunegate.harness.decision.planning.pilot import pilot_spread, read_pilot
from tunegate.harness.records.answers import Cell, CellKind, Completion, StoredAnswer
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.manifest import Gate
from tunegate.harness.records.run_folder import Run, RunCase


def pairs_of(
    record_factory: Any,
    base: Sequence[float],
    tuned: Sequence[float],
    clusters: Any = None,
    **metric: Any,
) -> Pairs:
    """Return pairs of a 0/1 metric, or of one with the given changes."""
    record = record_factory.metric("m", **metric)
    return Pairs("s", record, tuple(base), tuple(tuned), clusters and tuple(clusters))


TOLERANCE = Gate(metric="m", kind="tolerance", margin=0.05)


def test_discordance_is_read_off_a_run(record_factory: Any) -> None:
    """18 wins and 7 losses of 100 are ψ = .25; none at all is planned as one."""
    [found] = pilot_spread(
        pairs_of(record_factory, *record_factory.pairs(18, 7, 40, 35)), TOLERANCE
    )
    [equal] = pilot_spread(pairs_of(record_factory, *record_factory.pairs(0, 0, 30, 20)), TOLERANCE)

    assert (found.value, found.binary, found.deff) == (0.25, True, 1.0)
    assert (equal.value, equal.binary) == (0.02, True)


def test_deviation_is_read_off_a_run(record_factory: Any) -> None:
    """Differences of ±.1: σ² = n/(n-1)·.01; two equal ones a cluster: deff = 39/19."""
    tuned = [0.6, 0.6, 0.4, 0.4] * 10
    clusters = [str(i // 2) for i in range(40)]
    given = pairs_of(record_factory, [0.5] * 40, tuned, clusters, binary=False)

    [found] = pilot_spread(given, TOLERANCE)

    assert found.value == pytest.approx(sqrt(40 / 39) * 0.1)
    assert found.deff == pytest.approx(39 / 19)


def test_equal_continuous_scores_tell_nothing(record_factory: Any) -> None:
    assert (
        pilot_spread(pairs_of(record_factory, [0.5] * 9, [0.5] * 9, binary=False), TOLERANCE) == ()
    )


def test_a_metric_of_unknown_range_may_turn_out_to_be_0_or_1(record_factory: Any) -> None:
    """By a run's scores it is planned as 0/1, unless a gain of 2 says that others are possible."""
    pairs = pairs_of(record_factory, *record_factory.pairs(18, 7, 40, 35), binary=False, range=None)
    gate = Gate(metric="m", kind="gain", margin=2.0)

    assert [s.binary for s in pilot_spread(pairs, TOLERANCE)] == [True]
    assert [s.binary for s in pilot_spread(pairs, gate)] == [False]


def run_of(
    judge: Any, record_factory: Any, *suites: Any, cells: Sequence[StoredAnswer] = ()
) -> Run:
    """Return a run of suites made of columns."""
    return Run(
        folder=Path("run"),
        manifest=record_factory.manifest(suites),
        cases={
            (s.name, c.id): RunCase(suite=s.name, case=c, where="")
            for s in suites
            for c in s.cases()
        },
        cells=tuple(cells),
        scores=tuple(row for s in suites for row in s.rows()),
        verdict=judge(*suites),
    )


def timed(suite: str, case: str, arm: str, started: float, latency: float | None) -> StoredAnswer:
    """Return an answered cell."""
    cell = Cell(suite=suite, case=case, arm=arm, kind=CellKind.GENERATE, key=suite + case + arm)
    answer = Completion(text="x", latency_s=latency)
    return StoredAnswer(cell=cell, status="ok", completion=answer, started_s=started)


def test_a_batch_shares_its_time_among_its_cells(
    judge: Any, record_factory: Any, columns: Any
) -> None:
    """Base's four cells took 8 s together, three of them ours; tuned's three took 1 s each."""
    ours = columns(gates=[], columns={"m": ([1.0, 0.0, 1.0], [1.0, 1.0, 1.0])})
    other = columns(gates=[], columns={"m": ([1.0], [1.0])}, name="other")
    cells = [timed("s", f"c{i:03}", "base", 5.0, 8.0 - i) for i in range(3)]
    cells += [timed("other", "c000", "base", 5.0, 2.0)]
    cells += [timed("s", f"c{i:03}", "tuned", 20.0 + i, 1.0) for i in range(3)]
    cells += [timed("s", "c000", "base_again", 30.0, None)]

    cells.sort(key=lambda stored: (stored.cell.suite, stored.cell.case))  # as a run has them

    found = read_pilot(run_of(judge, record_factory, ours, other, cells=cells), "s", ["m"])

    assert found.seconds == {"base": 2.0, "tuned": 1.0}
    assert found.unchanged == 1.0  # each wrote "x" on the three cases that both answered
    assert (found.pairs["m"].wins, found.pairs["m"].losses, found.pairs["m"].n) == (1, 0, 3)


@pytest.mark.parametrize(
    ("suite_name", "metric", "message"),
    [
        ("t", "m", "run: unknown suite 't'; there are: s"),
        ("s", "n", "run: suite 's': unknown metric 'n'; there are: m, empty"),
        ("s", "empty", "run: suite 's': metric 'empty' has 0 complete pairs, and a plan takes 2"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(
    judge: Any, record_factory: Any, columns: Any, suite_name: str, metric: str, message: str
) -> None:
    given = columns(gates=[], columns={"m": ([1.0] * 3, [1.0] * 3), "empty": ([None] * 3,) * 2})

    with pytest.raises(UsageError) as caught:
        read_pilot(run_of(judge, record_factory, given), suite_name, [metric])

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
