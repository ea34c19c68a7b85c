"""Cases from the results of another tool: ids, prompts, right answers, tags and clusters."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.results.recorded_results import LM_EVAL, RECORDED, write_rows, write_suite
from tunegate.harness.records.errors import SuiteError
from tunegate.harness.suite import load_suite

SUMS = 'task = "sums"\n'


def test_cases_are_the_documents_of_a_task(tmp_path: Path) -> None:
    """Prompt and right answer of lm-eval's document; tags are looked up in its record."""
    place = write_suite(
        tmp_path, LM_EVAL / "one_shot", score="exact_match,strict",
        cases=SUMS + 'columns = { tags = ["doc.level"] }',
    )  # fmt: skip

    case = next(c for c in load_suite(place).cases if c.id == "sums/1e16f2d7f4aca340")

    assert case.prompt == "1 + 1 = 2\n\n1 + 2 ="
    assert (case.expected, case.tags) == ("3", ("easy",))


def test_equal_questions_are_in_one_cluster(tmp_path: Path) -> None:
    place = write_suite(tmp_path, LM_EVAL / "base", score="exact_match,strict", cases=SUMS)

    (group,) = load_suite(place).equal_prompts

    assert group == ("sums/54742c8593140d6b", "sums/54742c8593140d6b#2")


def test_a_cluster_is_a_field_of_the_record(tmp_path: Path) -> None:
    place = write_suite(
        tmp_path, RECORDED / "inspect" / "base", score="match",
        cases='columns = { cluster = "metadata.level" }',
    )  # fmt: skip

    clusters = {c.id: c.cluster for c in load_suite(place).cases}

    assert (clusters["sums/q0"], clusters["sums/q7"]) == ("easy", "hard")


def test_the_hash_rests_on_the_cases_and_not_on_scores(tmp_path: Path) -> None:
    path = tmp_path / "base.jsonl"
    lines = [{"id": f"r{i}", "prompt": f"q{i}", "score": i % 2} for i in range(4)]
    first = load_suite(write_suite(tmp_path, write_rows(path, lines))).hash

    write_rows(path, [line | {"score": 1} for line in lines[::-1]])
    same = load_suite(tmp_path / "suites" / "found").hash
    write_rows(path, [line | {"prompt": "other"} for line in lines])

    assert same == first
    assert load_suite(tmp_path / "suites" / "found").hash != first


def test_results_without_prompts_are_told(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "base.jsonl", [{"id": "r1", "score": 1}, {"id": "r2", "score": 0}])

    suite = load_suite(write_suite(tmp_path, path))

    assert any("2 of 2 results hold no prompt" in line for line in suite.notes)
    assert not suite.equal_prompts


@pytest.mark.parametrize(
    ("cases", "told"),
    [
        ('task = "sum"', "did you mean 'sums'"),
        (SUMS + 'columns = { tags = ["doc.levle"] }', "doc.levle"),
        (SUMS + 'columns = { prompt = "doc.question" }', "prompt"),
        (SUMS + 'columns = { cluster = ["a", "b"] }', "cluster takes one field"),
    ],
)
def test_names_that_are_not_there_are_refused(tmp_path: Path, cases: str, told: str) -> None:
    place = write_suite(tmp_path, LM_EVAL / "base", score="exact_match,strict", cases=cases)

    with pytest.raises(SuiteError) as caught:
        load_suite(place)

    assert told in str(caught.value)


def test_a_log_that_broke_off_makes_no_suite(tmp_path: Path) -> None:
    """Cases that are missing from the pinned results would never be asked for."""
    path = tmp_path / "base.jsonl"
    path.write_text('{"id": "r1", "score": 1}\n{"id": "r2", "sc', encoding="utf-8")

    with pytest.raises(SuiteError, match=r"base.jsonl:2: "):
        load_suite(write_suite(tmp_path, path))


def test_a_path_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="no such file"):
        load_suite(write_suite(tmp_path, Path("../../missing.jsonl")))
