"""Notes on the share that thoughts have of a time or a price."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tunegate.harness.decision.answer_facts.answer_notes import thinking_share_notes
from tunegate.harness.decision.score_table import ScoreTable

THOUGHT = {"has_thoughts": 1.0}


@pytest.fixture(name="table")
def _table(columns: Any, record_factory: Any) -> Any:
    """Return a function that makes a table of three times an arm, with the parts of each."""

    def make(**parts: list[dict[str, float] | None]) -> ScoreTable:
        suite = columns(
            gates=(),
            columns={"latency": ([2.0] * 3, [2.0] * 3)},
            metrics=(record_factory.metric("latency", range=None, binary=False),),
        )
        left = {arm: list(given) for arm, given in parts.items()}
        rows = [replace(row, parts=left[row.arm].pop(0)) for row in suite.rows()]
        return ScoreTable(
            suite=suite.record(),
            cases={case.id: case for case in suite.cases()},
            values={(row.metric, row.case, row.arm): row for row in rows},
        )

    return make


def notes(table: ScoreTable) -> Iterator[str]:
    """Yield the notes on a table's scores."""
    return thinking_share_notes(table.suite.metrics, table.values, table.cases)


def test_means_of_thoughts_and_of_both(table: Any) -> None:
    """Base: (1 + 1 + 1.3) / 3 = 1.1 of (2 + 2 + 2.3) / 3 = 2.1; tuned thinks in one case alone."""
    base = [THOUGHT | {"thinking": 1.0, "answer": 1.0}] * 2
    base += [THOUGHT | {"thinking": 1.3, "answer": 1.0}]
    tuned = [THOUGHT | {"thinking": 0.5, "answer": 1.5}, None, {"batch_size": 1.0}]

    (note,) = notes(table(base=base, tuned=tuned))

    assert note == "latency: mean for the thoughts alone: base 1.1 of 2.1, tuned 0.5 of 2"


def test_what_is_not_known_is_no_zero(table: Any) -> None:
    known = THOUGHT | {"thinking": 0.5, "answer": 1.5}

    (note,) = notes(table(base=[THOUGHT] * 3, tuned=[known, known, THOUGHT]))

    assert note == (
        "latency: mean for the thoughts alone: base not known, tuned 0.5 of 2 "
        "(known of 2 of 3 cases)"
    )


def test_nothing_is_said_where_no_arm_thinks(table: Any) -> None:
    assert list(notes(table(base=[None] * 3, tuned=[{"batch_size": 1.0}] * 3))) == []
