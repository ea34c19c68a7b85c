"""The reader of lm-eval's files: documents, filters, dates and what its headers say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.results.recorded_results import LM_EVAL
from tunegate.harness.contracts.result_set import ResultSet, read_results
from tunegate.harness.records.errors import UsageError


def samples_of(folder: Path, task: str = "sums") -> Path:
    """Return the file of a task's samples in a copied run."""
    (found,) = folder.rglob(f"samples_{task}_*.jsonl")
    return found


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Copy the recorded run of base, to be changed."""
    return Path(shutil.copytree(LM_EVAL / "base", tmp_path / "base"))


def headline(found: ResultSet, task: str, key: str) -> float:
    """Return the mean of a score over a task."""
    values = [row.scores[key] for row in found.answers.values() if row.task == task]
    return sum(value for value in values if value is not None) / len(values)


@pytest.mark.parametrize("arm", ["base", "tuned"])
def test_the_mean_of_the_scores_is_what_lm_eval_reports(arm: str) -> None:
    (header,) = (LM_EVAL / arm).rglob("results_*.json")
    reported = json.loads(header.read_text(encoding="utf-8"))["results"]

    found = read_results(str(LM_EVAL / arm))

    for task, key in [
        ("sums", "exact_match,strict"), ("sums", "exact_match,flexible"),
        ("colours", "acc,none"), ("colours", "acc_norm,none"),
    ]:  # fmt: skip
        assert headline(found, task, key) == pytest.approx(reported[task][key], abs=1e-12)


def test_a_line_for_each_filter_is_one_case_with_two_scores() -> None:
    """Of 24 lines 12 documents are left."""
    found = read_results(str(LM_EVAL / "base"))

    assert len(samples_of(LM_EVAL / "base").read_text(encoding="utf-8").splitlines()) == 24
    assert found.tasks == {"colours": 6, "lines": 6, "sums": 12}
    assert found.answers["sums/1e16f2d7f4aca340", 0].scores == {
        "exact_match,strict": 1.0,
        "exact_match,flexible": 1.0,
    }


def test_a_document_that_the_data_hold_twice_is_two_cases() -> None:
    """In the order of the data: doc_id 0 and 11 are the same question."""
    found = read_results(str(LM_EVAL / "base"))
    twice = [(case, row.position) for (case, _), row in found.answers.items() if "54742c" in case]

    assert twice == [("sums/54742c8593140d6b", 0), ("sums/54742c8593140d6b#2", 11)]


def test_completions_are_texts_and_prompts_are_what_was_sent() -> None:
    found = read_results(str(LM_EVAL / "one_shot"))

    assert found.row("sums/1e16f2d7f4aca340").prompt == "1 + 1 = 2\n\n1 + 2 ="
    assert found.answers["sums/1e16f2d7f4aca340", 0].completion == " it is 3"
    choices = read_results(str(LM_EVAL / "base")).answers
    assert {row.completion for row in choices.values() if row.task != "sums"} == {None}


def test_scores_of_the_whole_corpus_are_unscored_with_the_reason() -> None:
    found = read_results(str(LM_EVAL / "base"))
    row = next(row for row in found.answers.values() if row.task == "lines")

    assert row.scores == {"word_perplexity,none": None, "bits_per_byte,none": None}
    assert "whole data set" in row.errors["word_perplexity,none"]


def test_direction_and_settings_come_from_the_header() -> None:
    """Perplexity is lower-is-better; the few-shot number belongs to the task."""
    found = read_results(str(LM_EVAL / "base"))

    assert found.traits("lines", "word_perplexity,none").higher_is_better is False
    assert found.traits("sums", "exact_match,strict").higher_is_better is True
    assert found.settings("sums")["number of few-shot examples"] == 0
    assert found.models == ("ink-base",)


def test_the_newest_run_of_a_task_is_read(run: Path) -> None:
    new = samples_of(run)
    old = new.with_name("samples_sums_2020-01-01T00-00-00.000001.jsonl")
    old.write_text("nonsense\n", encoding="utf-8")

    found = read_results(str(run))

    assert found.tasks["sums"] == 12
    assert any("1 older run left out" in note for note in found.notes)


def test_one_file_and_the_folder_hold_the_same(run: Path) -> None:
    one = read_results(str(samples_of(run)))

    assert one.tasks == {"sums": 12}
    assert one.settings("sums") == read_results(str(run)).settings("sums")


def test_several_models_in_a_folder_are_selected_by_name(tmp_path: Path) -> None:
    for arm in ("base", "tuned"):
        shutil.copytree(LM_EVAL / arm, tmp_path, dirs_exist_ok=True)

    with pytest.raises(UsageError, match=r"has 2 runs.*#ink-base, #ink-tuned"):
        read_results(str(tmp_path))
    assert read_results(f"{tmp_path}#ink-tuned").models == ("ink-tuned",)


def test_the_order_of_the_lines_makes_no_difference(run: Path) -> None:
    before = read_results(str(run))
    file = samples_of(run)
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(reversed(lines)), encoding="utf-8")

    after = read_results(str(run))

    assert after.cases == before.cases
    assert after.fingerprint == before.fingerprint


def test_a_log_that_broke_off_is_told(run: Path) -> None:
    file = samples_of(run)
    whole = file.read_bytes()
    lines = whole.splitlines(keepends=True)

    file.write_bytes(whole[: len(whole) // 4])
    (within,) = read_results(str(file)).unread
    file.write_bytes(b"".join(lines[:5]))
    (between,) = read_results(str(file)).unread

    assert within.cut
    assert within.where.startswith(f"{file}:")
    assert (between.cut, between.problem) == (True, "5 of 12 documents are there")


def test_the_same_document_logged_twice_is_refused_with_both_lines(run: Path) -> None:
    file = samples_of(run)
    text = file.read_text(encoding="utf-8")
    file.write_text(text + text.splitlines(keepends=True)[3], encoding="utf-8")

    with pytest.raises(UsageError, match=r"jsonl:25: .* is already at .*jsonl:4;"):
        read_results(str(file))


def test_a_folder_without_samples_says_what_to_do(run: Path) -> None:
    for file in run.rglob("samples_*"):
        file.unlink()
    (header,) = run.rglob("results_*.json")

    with pytest.raises(UsageError, match="--log_samples"):
        read_results(str(header))


def test_hostile_fields_are_no_traceback(run: Path) -> None:
    file = samples_of(run)
    line = json.loads(file.read_text(encoding="utf-8").splitlines()[0])
    wrong = [None, 0, -1, 10**400, "x" * 2_000_000, [], {}, [[]], {"gen_args_0": 3}, True]
    for key in line:
        for value in wrong:
            changed = json.dumps({**line, key: value}) if value != 10**400 else "{}"
            file.write_text(changed + "\n", encoding="utf-8")
            try:
                cases = len(read_results(str(file)).cases)
            except UsageError as error:
                cases = 1 - str(error).count("\n")

            assert cases == 1, (key, value)
