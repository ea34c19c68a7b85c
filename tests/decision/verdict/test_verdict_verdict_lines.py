"""A verdict in lines: gates that were never judged take one line, and do not count as failed."""

from __future__ import annotations

from pathlib import Path

from tests.compared_runs import column, run_of
from tunegate.harness.decision.verdict.run_sentence import run_sentence
from tunegate.harness.decision.verdict.verdict_lines import sorted_gates, verdict_lines
from tunegate.harness.records.gate_results import GateStatus
from tunegate.harness.records.run_folder import Run
from tunegate.harness.records.verdict import VerdictRecord


def ended_early(unjudged: int) -> tuple[Run, VerdictRecord]:
    """Return a run with BLOCK, and its verdict with gates of tags that no case was asked for."""
    run = run_of("r", {"solved": (column(80), column(80)), "kept": (column(90), column(40))})
    suite, *others = run.verdict.suites
    empty = suite.gates[0].model_copy(update={"n": 0, "status": GateStatus.UNDECIDED})
    tags = tuple(empty.model_copy(update={"tag": f"{i}"}) for i in range(unjudged))
    changed = suite.model_copy(update={"gates": (*suite.gates, *tags)})
    return run, run.verdict.model_copy(update={"suites": (changed, *others)})


def test_gates_without_a_case_take_one_line() -> None:
    run, verdict = ended_early(8)

    lines = list(verdict_lines(verdict, run.manifest, Path("run")))

    assert [line for line in lines if "not judged" in line] == [
        "8 gates not judged, for lack of cases: s solved (tag 0), s solved (tag 1) and 6 more"
    ]
    assert sum("tag 7" in line for line in lines) == 0
    assert [gate.n for _, gate in sorted_gates(verdict)][-8:] == [0] * 8


def test_gates_without_a_case_do_not_count_as_not_holding() -> None:
    run, verdict = ended_early(8)

    assert run_sentence(verdict.verdict, verdict.suites) == run.verdict.sentence
