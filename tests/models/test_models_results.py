"""Results of another tool as an arm: what its answers can be asked, and which do not count."""

from __future__ import annotations

from pathlib import Path

from tests.results.recorded_results import write_rows
from tunegate.harness.contracts.model import Request
from tunegate.harness.models.results import results
from tunegate.harness.records.answers import Cell, CellKind, StoredAnswer
from tunegate.harness.records.cases import Case
from tunegate.harness.records.generation import GenerationSettings


def ask(path: Path, name: str, kind: CellKind) -> StoredAnswer:
    arm, case, generation = results(str(path)), Case(id=name, prompt="Q"), GenerationSettings()
    cell = Cell(suite="s", case=name, arm="tuned", kind=kind, key="k")
    request = Request(cell, case, arm.prompt(case, generation), generation, 0)
    (answer,) = arm.complete([request])
    return answer


def test_answers_are_asked_for_what_the_files_hold(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"id": "a", "score": 1, "completion": "Oslo"}])
    arm = results(str(path))

    assert arm.kinds == {CellKind.RECORDED, CellKind.GENERATE}
    assert "no answer has 'latency_s'" in arm.cannot(CellKind.LATENCY)
    for kind in arm.kinds:
        completion = ask(path, "a", kind).completion
        assert completion is not None
        assert (completion.text, completion.scores) == ("Oslo", {"score": 1.0})


def test_no_metric_counts_a_case_with_more_samples_than_the_others(tmp_path: Path) -> None:
    """Which of them count is not known."""
    found = [{"id": name, "sample": 0, "score": 1, "completion": "Oslo"} for name in "abc"]
    path = write_rows(tmp_path / "a.jsonl", [*found, found[0] | {"sample": 1}])

    for kind in (CellKind.RECORDED, CellKind.GENERATE):
        assert ask(path, "a", kind).error == "table: more than 1 sample of the case"
        assert ask(path, "b", kind).error is None


def test_a_failed_answer_is_an_error_of_the_tool(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"id": "a", "score": 0, "error": "HTTP 429"}])

    assert ask(path, "a", CellKind.RECORDED).error == "table: HTTP 429"
    assert ask(path, "b", CellKind.RECORDED).error == f"results:{path} has no answer to 'b'"
