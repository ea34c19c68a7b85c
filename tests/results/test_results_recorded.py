"""Readers of promptfoo, DeepEval, verifiers, BFCL, MLflow, OpenAI evals, lighteval, lmms-eval and
NeMo Evaluator.

Files are those that the tools wrote (`record_*.py`); the wanted numbers are what the scripts asked
the tools to grade.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.results.recorded_results import RECORDED, gate, write_suite
from tunegate.harness.contracts.result_reader import ResultRow, UnreadLine
from tunegate.harness.contracts.result_spec import ResultSpec, read_logs
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.verdict import Verdict

PROMPTFOO = RECORDED / "promptfoo" / "results.json"
DEEPEVAL = RECORDED / "deepeval"


def read(spec: str) -> tuple[str, list[ResultRow]]:
    """Return the format and the rows of a spec, all of which must be readable."""
    reader, (log,) = read_logs(ResultSpec.parse(spec))
    found = list(log.rows())
    assert all(isinstance(row, ResultRow) for row in found)
    return reader.name, [row for row in found if isinstance(row, ResultRow)]


def column(found: list[ResultRow], key: str) -> list[float | None]:
    """Return one score of all rows; None where the answer or the score failed."""
    return [None if row.error else row.scores.get(key) for row in found]


@pytest.fixture
def lighteval_run(tmp_path: Path) -> Callable[[str], Path]:
    """Return an arm's folder with the file names that lighteval writes."""

    def make(arm: str) -> Path:
        for file in (RECORDED / "lighteval" / arm).rglob("*.parquet"):
            target = tmp_path / str(file.relative_to(RECORDED)).replace("%7C", "|")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
        return tmp_path / "lighteval" / arm

    return make


def test_promptfoo_has_a_run_for_each_provider_and_samples_for_repeats() -> None:
    form, base = read(f"{PROMPTFOO}#base")
    _, tuned = read(f"{PROMPTFOO}#tuned")

    assert form == "promptfoo"
    assert len(base) == len(tuned) == 10
    assert len({row.key for row in base}) == 5
    assert {row.key for row in base} == {row.key for row in tuned}
    assert column(base, "exact") == [1, 1, 0, 0, 1, 1, 1, 1, None, None]
    assert column(tuned, "exact") == [1, 1, 1, 1, 0, 0, 1, 1, None, None]
    assert base[0].prompt == "Answer in one word: 2 + 2?"


def test_a_failed_call_of_promptfoo_is_no_zero() -> None:
    """Its row says `score: 0, success: false, failureReason: 2`."""
    _, found = read(f"{PROMPTFOO}#base")
    raw = [row for row in found if row.fields["failureReason"] == 2]

    assert [row.fields["score"] for row in raw] == [0, 0]
    assert [row.error for row in raw] == ["connection refused"] * 2


def test_a_failed_grader_of_promptfoo_is_no_zero() -> None:
    """Its row says `rubric: 0` and a mean score of .5; only the other assertion is a score."""
    _, found = read(f"{PROMPTFOO}#base")
    (paris, _) = [row for row in found if row.completion == "Paris"]

    assert paris.fields["namedScores"] == {"exact": 1, "rubric": 0}
    assert paris.scores == {"exact": 1.0, "rubric": None, "score": None, "success": None}
    assert "grader is out of order" in paris.errors["rubric"]


def test_both_forms_of_promptfoo_hold_the_same() -> None:
    """`results.json` and `results.jsonl` of one run."""
    for arm in ("base", "tuned"):
        _, whole = read(f"{PROMPTFOO}#{arm}")
        _, lines = read(f"{PROMPTFOO}l#{arm}")
        assert sorted((row.key, row.completion or "", str(row.scores)) for row in whole) == sorted(
            (row.key, row.completion or "", str(row.scores)) for row in lines
        )


def test_the_id_of_promptfoo_may_be_a_field_of_the_metadata() -> None:
    """`?id=question_id` names it; a field that no test has is refused."""
    _, found = read(f"{PROMPTFOO}?id=question_id#base")

    assert [row.id for row in found] == [f"q{i}" for i in (1, 1, 2, 2, 3, 3, 4, 4, 5, 5)]
    with pytest.raises(UsageError, match=r"id=nothing: in the metadata of no test"):
        read(f"{PROMPTFOO}?id=nothing#base")


def test_an_unnamed_provider_of_several_is_asked_for() -> None:
    with pytest.raises(UsageError, match=r"has 2 runs.*#base, #tuned"):
        read(str(PROMPTFOO))


def test_another_version_of_promptfoo_is_refused(tmp_path: Path) -> None:
    document = json.loads(PROMPTFOO.read_text())
    document["results"]["version"] = 4
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document))

    with pytest.raises(UsageError, match=r"version 4 .* knows 3"):
        read(f"{path}#base")


def test_an_errored_metric_of_deepeval_is_no_failure() -> None:
    """The file says `success: false` without a score, and counts the test as failed."""
    form, base = read(str(DEEPEVAL / "base"))
    _, tuned = read(str(DEEPEVAL / "tuned"))
    (broken,) = [row for row in base if row.id == "broken"]

    assert form == "deepeval"
    assert column(base, "Exact") == [1, 0, 1, 1, None]
    assert column(tuned, "Exact") == [1, 1, 0, 1, None]
    assert broken.errors["Exact"] == "ConnectionError: 429 Too Many Requests"
    assert broken.fields["metricsData"][0]["success"] is False


def test_metrics_of_one_name_are_numbered() -> None:
    """Two metrics called Tone, which give .25 and .75 to a wrong answer."""
    _, base = read(str(DEEPEVAL / "base"))

    assert column(base, "Tone#1") == [1, 0.25, 1, 1, 1]
    assert column(base, "Tone#2") == [1, 0.75, 1, 1, 1]
    assert "Tone" not in base[0].scores


def test_a_made_up_name_of_deepeval_is_no_id() -> None:
    """`test_case_3` says a position only; the hash of the input is the id then."""
    _, base = read(str(DEEPEVAL / "base"))
    named = [row.fields["name"] for row in base]

    assert named == ["sum-1", "sum-2", "sum-3", "test_case_3", "broken"]
    assert [row.id for row in base][:3] == ["sum-1", "sum-2", "sum-3"]
    assert re.fullmatch(r"[0-9a-f]{16}", base[3].id)
    _, by_field = read(f"{DEEPEVAL / 'base'}?id=question_id")
    assert [row.id for row in by_field] == ["q1", "q2", "q3", "q4", "q5"]


def test_the_judges_of_deepeval_must_be_equal() -> None:
    _, (log,) = read_logs(ResultSpec.parse(str(DEEPEVAL / "base")))

    assert log.settings == {"judge of Exact": "offline-judge", "judge of Tone": "offline-judge"}


def test_rewards_of_verifiers_are_weighted_and_missing_ones_stay_missing() -> None:
    """1 · correct + .2 · short = 1.1 or .1; a reward that was not computed leaves no sum."""
    form, base = read(str(RECORDED / "verifiers" / "base"))
    _, tuned = read(str(RECORDED / "verifiers" / "tuned" / "traces.jsonl"))

    assert form == "verifiers"
    assert len({row.key for row in base}) == 4
    assert column(base, "reward") == pytest.approx([1.1, 1.1, 0.1, 1.1, 1.1, None, 1.1, None])
    assert column(base, "reward.correct") == [1, 1, 0, 1, 1, None, 1, None]
    assert column(tuned, "reward.correct") == [1, 1, 1, 1, 1, None, None, None]
    assert base[0].completion == "4"
    assert base[0].prompt == [
        {"role": "system", "content": "Answer with a number."},
        {"role": "user", "content": "2 + 2?"},
    ]


def test_a_failed_episode_of_verifiers_says_why() -> None:
    _, tuned = read(str(RECORDED / "verifiers" / "tuned"))

    assert tuned[6].error == "ModelError: 429 Too Many Requests"
    assert tuned[7].error == "the episode ran into its time limit"


def test_bfcl_passes_anything_but_a_failure() -> None:
    """The files of scores hold only failures; an inference error is not one here."""
    form, base = read(f"{RECORDED / 'bfcl'}#base-prompt")
    _, tuned = read(f"{RECORDED / 'bfcl'}#tuned-prompt")

    assert form == "bfcl"
    assert [row.key for row in base][:2] == [
        "irrelevance/irrelevance_0",
        "irrelevance/irrelevance_1",
    ]
    assert column(base[:6], "valid") == [1, 0, 1, 0, 1, 1]
    assert column(base[6:], "valid") == [1, 0, 1, 0, None, 1]
    assert column(tuned[6:], "valid") == [1, 1, 1, 0, None, 1]


def edit_line(path: Path, number: int, text: str | None) -> None:
    """Replace a line of a file, or take it out."""
    lines = path.read_text().splitlines()
    lines[number : number + 1] = [] if text is None else [text]
    path.write_text("".join(line + "\n" for line in lines))


@pytest.mark.parametrize(
    ("number", "text", "message"),
    [
        (1, None, "holds 2 failures, its header counts 3"),
        (0, None, "no header with total_count"),
        (1, '{"id": "simple_py', "broken JSON"),
        (0, '{"accuracy": 0.5, "correct_count": 2, "total_count": 5}', "scores 5 answers"),
    ],
)
def test_scores_of_bfcl_that_do_not_fit_the_answers_are_refused(
    tmp_path: Path, number: int, text: str | None, message: str
) -> None:
    """A failure that is not read would count as passed."""
    folder = shutil.copytree(RECORDED / "bfcl", tmp_path / "bfcl")
    edit_line(
        folder / "score" / "base-prompt" / "non_live" / "BFCL_v4_simple_python_score.json",
        number,
        text,
    )

    with pytest.raises(UsageError, match=message):
        read(f"{folder}#base-prompt")


def test_answers_of_bfcl_without_scores_are_refused(tmp_path: Path) -> None:
    """`bfcl generate` without `bfcl evaluate`."""
    folder = shutil.copytree(RECORDED / "bfcl", tmp_path / "bfcl")
    shutil.rmtree(folder / "score" / "base-prompt")

    with pytest.raises(UsageError, match=r"run `bfcl evaluate --test-category"):
        read(f"{folder}#tuned-prompt")


def test_expectations_of_mlflow_are_no_scores() -> None:
    """Columns `points/value` and `expected_response/value` hold what the data expects."""
    form, base = read(str(RECORDED / "mlflow" / "base.jsonl"))
    _, tuned = read(str(RECORDED / "mlflow" / "tuned.jsonl"))

    assert form == "mlflow"
    assert set(base[0].scores) == {"exact", "short"}
    assert column(base, "exact") == [1, 0, 1, None]
    assert column(tuned, "exact") == [1, 1, 0, None]
    assert column(base, "short") == [1, 1, 1, 0]
    assert base[3].errors["exact"] == "429 Too Many Requests"
    assert [row.id for row in base] == [row.id for row in tuned]
    assert base[0].expected == "4"


def test_csv_of_mlflow_is_refused_with_the_way_to_save_it() -> None:
    with pytest.raises(UsageError, match=r'orient="records", lines=True'):
        read(f"{RECORDED / 'mlflow' / 'base.csv'}?format=mlflow")


def test_a_sample_of_openai_evals_without_a_score_is_unscored() -> None:
    form, base = read(str(RECORDED / "openai_evals" / "base.jsonl"))

    assert form == "openai_evals"
    assert column(base, "correct") == [1, 0, 1, None, None]
    assert [row.error for row in base][3:] == ["429", "no event scores this sample"]
    assert base[0].prompt == [{"role": "user", "content": "2 + 2?"}]
    assert base[1].expected == "8"


def test_lighteval_is_known_by_the_question_not_by_the_position(
    lighteval_run: Callable[[str], Path],
) -> None:
    """The last question is the first again, with other choices; NaN is not a score."""
    form, base = read(str(lighteval_run("base")))
    _, tuned = read(str(lighteval_run("tuned")))

    assert form == "lighteval"
    assert column(base, "em") == [1, 0, 1, 1]
    assert column(tuned, "em") == [1, 1, 0, 1]
    assert column(base, "length") == [0, 1, None, 3]
    assert [row.key for row in base] == [row.key for row in tuned]
    assert base[0].task == "custom|sums"
    assert base[1].expected == "8"


def many_deepeval(path: Path, count: int, change: Callable[[int, dict[str, Any]], None]) -> Path:
    """Write DeepEval's file with its first test case `count` times, each changed."""
    (source,) = (DEEPEVAL / "base").glob("*.json")
    document = json.loads(source.read_text())
    first = json.dumps(document["testCases"][0])
    document["testCases"] = cases = [json.loads(first) for _ in range(count)]
    for number, case in enumerate(cases):
        case.update(name=f"case-{number}", input=f"question {number}", order=number)
        change(number, case)
    path.write_text(json.dumps(document))
    return path


def test_another_prompt_under_one_id_is_not_comparable(tmp_path: Path) -> None:
    """Three of a hundred, more than 1 %; both texts are shown."""

    def edit(number: int, case: dict[str, Any]) -> None:
        if number < 3:
            case["input"] = f"an edited question {number}"

    base = many_deepeval(tmp_path / "base.json", 100, lambda *_: None)
    tuned = many_deepeval(tmp_path / "tuned.json", 100, edit)
    suite = write_suite(tmp_path, base, score="Exact")

    verdict = gate(suite, str(base), str(tuned))

    assert verdict.verdict is Verdict.NOT_COMPARABLE
    said = (tmp_path / "run" / "verdict.json").read_text()
    assert "question 0" in said
    assert "an edited question 0" in said


def test_one_file_of_promptfoo_is_two_arms(tmp_path: Path) -> None:
    """Both arms of one file are compared; it is not the same run twice."""
    document = json.loads(PROMPTFOO.read_text())
    rows = [row for row in document["results"]["results"] if row["testIdx"] == 0]
    several = []
    for number in range(60):
        for row in rows:
            one = json.loads(json.dumps(row))
            one["vars"]["question"] = f"{number} + 2"
            one["prompt"]["raw"] = f"Answer in one word: {number} + 2?"
            one["namedScores"]["exact"] = int(row["provider"]["label"] == "tuned")
            one["response"]["output"] = f"{number} and {row['provider']['label']}"
            several.append(one)
    document["results"]["results"] = several
    path = tmp_path / "both.json"
    path.write_text(json.dumps(document))
    suite = write_suite(tmp_path, Path(f"{path}#base"), score="exact", gates="gain = 0.1")

    verdict = gate(suite, f"{path}#base", f"{path}#tuned")

    assert verdict.verdict is Verdict.SHIP
    assert verdict.suites[0].gates[0].n == 60


def verdict_bytes(suite: Path, base: Path, tuned: Path) -> bytes:
    """Return verdict.json of a run, which is removed."""
    gate(suite, str(base), str(tuned))
    folder = suite.parents[1] / "run"
    found = (folder / "verdict.json").read_bytes()
    shutil.rmtree(folder)
    return found


def test_a_score_of_lmms_eval_is_a_number_or_within_an_object() -> None:
    """Of three answers tuned gave two right and base one; `shape_score` is `{…, "score": 1.0}`."""
    form, base = read(str(RECORDED / "lmms_eval" / "base"))
    _, tuned = read(str(RECORDED / "lmms_eval" / "tuned"))

    assert form == "lmms_eval"
    assert [row.key for row in tuned] == ["pictures/0", "pictures/1", "pictures/2"]
    assert column(base, "exact") == column(base, "shape_score") == [1, 0, 0]
    assert column(tuned, "exact") == column(tuned, "shape_score") == [1, 1, 0]
    assert [row.completion for row in tuned] == ["3", "red", "8"]
    assert base[1].prompt == "Which color? Answer with one word."


def test_a_metric_of_lmms_eval_over_the_whole_data_set_is_unscored(tmp_path: Path) -> None:
    """MMMU's entries hold parsed answers; the accuracy is computed when all are there."""
    file = next((RECORDED / "lmms_eval" / "base").rglob("*.jsonl"))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    entry = {"id": "x", "answer": "A", "parsed_pred": "A"}
    text = "".join(json.dumps(line | {"mmmu_acc": entry}) + "\n" for line in lines)
    (tmp_path / file.name).write_text(text)

    _, found = read(str(tmp_path))

    assert column(found, "mmmu_acc") == [None] * 3
    assert column(found, "exact") == [1, 0, 0]
    assert "whole data set" in found[0].errors["mmmu_acc"]


def test_failures_of_nemo_evaluator_are_no_zeros() -> None:
    """The file has reward 0 for a refused call, and for an answer whose judge was not there."""
    form, base = read(str(RECORDED / "nemo_evaluator" / "base"))
    _, tuned = read(str(RECORDED / "nemo_evaluator" / "tuned"))

    def rewards(rows: list[ResultRow]) -> dict[str, list[float | None]]:
        keys = sorted({row.key for row in rows})
        return {key: column([r for r in rows if r.key == key], "reward") for key in keys}

    assert form == "nemo_evaluator"
    assert [row.fields["reward"] for row in tuned if row.error] == [0, 0]
    assert rewards(base) == {
        "sums/0": [1, 1], "sums/1": [0, 0], "sums/2": [0, 0], "sums/3": [1, 1]
    }  # fmt: skip
    assert rewards(tuned) == {
        "sums/0": [None, None], "sums/1": [1, 1], "sums/2": [None, None], "sums/3": [0, 0]
    }  # fmt: skip
    assert {row.sample for row in base} == {0, 1}
    assert {row.output_tokens for row in base} == {1}


def test_a_model_that_ran_into_a_limit_of_nemo_evaluator_failed_by_itself(tmp_path: Path) -> None:
    """`turn_budget_exhausted` is the model's failure and counts 0; `rate_limit` is nobody's."""
    shutil.copytree(RECORDED / "nemo_evaluator" / "tuned" / "sums", tmp_path / "run")
    file = tmp_path / "run" / "results.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    failed = [line for line in lines if line["scoring_details"].get("method") == "infra_error"]
    causes = ("turn_budget_exhausted", "rate_limit")
    for line, cause in zip(failed, causes, strict=True):
        line["scoring_details"] |= {"method": "solve_failed", "error_category": cause}
    file.write_text("".join(json.dumps(line) + "\n" for line in failed))

    _, found = read(str(tmp_path / "run"))

    assert column(found, "reward") == [0, None]


def test_two_bundles_of_one_benchmark_are_refused(tmp_path: Path) -> None:
    for name in ("first", "second"):
        shutil.copytree(RECORDED / "nemo_evaluator" / "base" / "sums", tmp_path / name)

    with pytest.raises(UsageError, match="benchmark sums has two bundles"):
        read(str(tmp_path))


def test_shuffled_episodes_of_verifiers_give_the_same_bytes(tmp_path: Path) -> None:
    folders = [shutil.copytree(RECORDED / "verifiers" / arm, tmp_path / arm)
               for arm in ("base", "tuned")]  # fmt: skip
    suite = write_suite(
        tmp_path,
        folders[0],
        score="metric.characters",
        options="range = [0, 10]",
        generation="[generation]\nsamples = 2",
    )
    first = verdict_bytes(suite, *folders)
    for folder in folders:
        file = folder / "traces.jsonl"
        lines = file.read_text().splitlines(keepends=True)
        random.Random(7).shuffle(lines)
        file.write_text("".join(lines))

    assert verdict_bytes(suite, *folders) == first


HOSTILE = ["", "{", "[]", "null",
           '{"results": 3, "evalId": 1}', "[" * 200_000, '{"testCases": [7]}',
           '{"a": ' + "9" * 5000 + "}", "\x00\x01", '{"spec": 1, "run_id": 2}',
           '{"testCases": [{"input": [1], "metricsData": [{"name": {}, "score": "x"}, 3]}]}',
           '{"evalId": 1, "results": {"version": 3, "results": [{"provider": []}, 5]}}',
           '{"traces": [{"version": 2}]}', '{"traces": [{"agent": 1, "rewards": [1]}]}',
           '{"trace_id": 1, "x/value": {}, "request": null, "assessments": "[{"}']  # fmt: skip
FORMATS = {"deepeval": "test_run_1.json", "promptfoo": "results.json", "openai_evals": "log.jsonl",
           "verifiers": "traces.jsonl", "mlflow": "table.jsonl",
           "lmms_eval": "20261202_170446_samples_x.jsonl",
           "nemo_evaluator": "eval-x.json"}  # fmt: skip


def all_rows(spec: str) -> Iterator[ResultRow | UnreadLine]:
    """Yield the rows of all runs of a spec."""
    for log in read_logs(ResultSpec.parse(spec))[1]:
        yield from log.rows()


@pytest.mark.parametrize("form", FORMATS)
def test_hostile_files_end_in_no_traceback(tmp_path: Path, form: str) -> None:
    drawn = random.Random(5)
    source = next(p for p in (RECORDED / form).rglob("*.json*") if p.suffix in {".json", ".jsonl"})
    real = source.read_bytes()
    cut = [real[: drawn.randrange(len(real))].decode("utf-8", "replace") for _ in range(20)]
    for text in HOSTILE + cut:
        path = tmp_path / FORMATS[form]
        path.write_text(text)
        with suppress(UsageError):
            found = list(all_rows(f"{path}?format={form}"))
            assert all(isinstance(row, ResultRow | UnreadLine) for row in found)
