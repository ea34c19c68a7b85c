"""Results of other tools that differ in more than the model, and in less."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.results.changed_runs import (
    RUNS,
    changed_copy,
    compare,
    in_json,
    in_lines,
    specs,
    sums,
)
from tests.results.recorded_results import write_rows
from tunegate.harness.records.errors import NotComparable


@pytest.mark.parametrize("form", RUNS)
def test_two_models_by_one_rule_are_comparable(form: str) -> None:
    """Names, dates, run ids and answers differ in the tools' files."""
    assert compare(*specs(form))["status"] in {"proven", "declared"}


def set_machine(found: dict[str, Any]) -> None:
    """Change what another machine changes in lm-eval's header."""
    found.update(date=1.0, git_hash="f00", total_evaluation_time_seconds="9", model_source="vllm")
    arguments = "pretrained=/models/b,dtype=float16,batch_size=64,tensor_parallel_size=2,seed=3"
    found["config"].update(batch_size="auto:4", device="cuda:1", random_seed=7, torch_seed=8)
    found["config"].update(model_args=arguments, model_dtype="float16", use_cache="/tmp/x")
    for config in found["configs"].values():
        config["metadata"].update(config_source="/home/b/t.yaml", pretrained="/models/b")
        config["dataset_kwargs"] = {"data_files": {"test": "/home/b/test.jsonl"}}


def set_runtime(line: dict[str, Any]) -> None:
    for trace in line["traces"]:
        trace["agent"]["config"]["runtime"].update(image="python:3.13", cpu=8.0)
        trace["agent"]["config"].update(client={"base_url": "http://b:8001"}, sampling={"seed": 9})


def set_endpoints(found: dict[str, Any]) -> None:
    found.update(timestamp="2027-01-01T00:00:00")
    found["info"].update(git_commit="f00", seed=7)
    for side in ("agent_info", "user_info"):
        found["info"][side]["llm_args"].update(api_base="http://b:8001/v1", num_retries=5)


def set_trial(found: dict[str, Any]) -> None:
    if "config" in found and "trial_name" in found:
        found["config"].update(trials_dir="/b", job_id="b", trial_name="b")
        found["config"]["agent"].update(n_concurrent=9, kwargs={"api_base": "http://b:8001/v1"})
        found["config"]["environment"].update(type="daytona", force_build=True)


def set_device(spec: dict[str, Any]) -> None:
    spec["adapter_spec"].update(max_eval_instances=9)
    for metric in spec["metric_specs"]:
        metric["args"]["device"] = "cuda:1"


def set_eval(found: dict[str, Any]) -> None:
    found.update(evalId="eval-b")
    found["results"].update(timestamp="2027")
    for number, row in enumerate(found["results"]["results"]):
        row.update(id=f"b{number}", promptId="b", latencyMs=number)
    for provider in found["config"]["providers"]:
        provider["config"].update(apiBaseUrl="http://b:8001", apiKey="…", timeout=9)


HONEST = {
    "lm_eval": in_json("results_*.json", set_machine),
    "promptfoo": in_json("", set_eval),
    "verifiers": in_lines("*", set_runtime),
    "helm": in_json("run_spec.json", set_device),
    "tau2": in_json("", set_endpoints),
    "harbor": in_json("result.json", set_trial),
}


@pytest.mark.parametrize("form", HONEST)
def test_machines_dates_places_and_addresses_may_differ(tmp_path: Path, form: str) -> None:
    tuned = changed_copy(form, tmp_path, HONEST[form])

    assert compare(specs(form)[0], tuned)["status"] in {"proven", "declared"}


def test_the_rule_of_a_score_that_is_not_compared_does_not_matter(tmp_path: Path) -> None:
    base, tuned = specs("lm_eval")
    copy = tmp_path / "tuned"
    shutil.copytree(tuned, copy)
    sums(lambda c: c["filter_list"][0]["filter"][0].update(regex_pattern="x"))(copy)

    assert compare(base, str(copy), ("exact_match,flexible",))["status"] == "proven"
    with pytest.raises(NotComparable, match="exact_match,strict"):
        compare(base, str(copy), ("exact_match,strict",))


def test_where_python_keeps_a_function_is_no_difference(tmp_path: Path) -> None:
    """lm-eval writes a function without source by its address, new in each process."""
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    for copy, source, address in zip(
        (base, tuned), specs("lm_eval"), ("f0a1", "c93b"), strict=True
    ):
        shutil.copytree(source, copy)
        text = f"functools.partial(<function score at 0x7f{address}>)"
        sums(lambda c, text=text: c.update(process_results=text))(copy)

    assert compare(str(base), str(tuned))["status"] == "proven"


def test_an_unknown_setting_is_no_difference(tmp_path: Path) -> None:
    """Samples of lm-eval without the header: nothing is known of their rule."""
    base, tuned = specs("lm_eval")
    copy = tmp_path / "tuned"
    shutil.copytree(tuned, copy)
    next(copy.glob("results_*.json")).unlink()

    assert compare(base, str(copy))["status"] == "proven"


@pytest.mark.parametrize("given", ["seed=7", {}, {"seed": 7}, "", None])
def test_a_seed_among_the_generation_settings_of_lm_eval_may_differ(
    tmp_path: Path, given: object
) -> None:
    def set_seed(found: dict[str, Any]) -> None:
        found["config"]["gen_kwargs"] = given
        found["configs"]["sums"]["generation_kwargs"]["seed"] = 7

    copy = changed_copy("lm_eval", tmp_path, in_json("results_*.json", set_seed))

    assert compare(specs("lm_eval")[0], copy)["status"] == "proven"


def table(path: Path, score: int, **columns: Any) -> str:
    """Write a table of 40 right answers to 40 questions."""
    found = [{"id": f"r{i}", "prompt": f"{i}?", "score": score, **columns} for i in range(40)]
    return str(write_rows(path, found))


@pytest.mark.parametrize("column", ["expected", "target", "reference", "judge"])
def test_tables_are_compared_by_right_answer_and_judge(tmp_path: Path, column: str) -> None:
    base = table(tmp_path / "a.jsonl", 0, **{column: "one"})
    same = table(tmp_path / "b.jsonl", 1, **{column: "one"})
    other = table(tmp_path / "c.jsonl", 1, **{column: "two"})

    assert "on_trust" not in compare(base, same)
    with pytest.raises(NotComparable, match="in 40 of 40 cases: 'r0' has 'one' in base and 'two'"):
        compare(base, other)


def test_an_empty_right_answer_is_unknown(tmp_path: Path) -> None:
    base, tuned = (
        table(tmp_path / f"{n}.jsonl", n, expected=right) for n, right in enumerate(("4", ""))
    )

    assert compare(base, tuned)["on_trust"] == 40


def test_the_words_of_a_judge_are_not_its_name(tmp_path: Path) -> None:
    runs = [
        [{"id": f"r{i}", "score": 1, "judge": f"{word}, since {i}"} for i in range(40)]
        for word in ("right", "good")
    ]
    base, tuned = (str(write_rows(tmp_path / f"{at}.jsonl", rows)) for at, rows in enumerate(runs))

    assert compare(base, tuned)["on_trust"] == 40


def test_the_order_of_right_answers_does_not_matter(tmp_path: Path) -> None:
    base = table(tmp_path / "a.jsonl", 0, expected=["a", "b"])
    tuned = table(tmp_path / "b.jsonl", 1, expected=["b", "a "])

    assert compare(base, tuned)["status"] == "proven"


def test_a_folder_names_the_judge_of_a_table(tmp_path: Path) -> None:
    """WildBench keeps the scores of each judge in a folder `eval=JUDGE`."""
    folders = [tmp_path / f"eval={judge}" for judge in ("gpt-4o", "gpt-4-turbo")]
    for folder in folders:
        folder.mkdir()
    base, same = (table(folders[0] / f"{arm}.jsonl", n) for n, arm in enumerate(("base", "tuned")))
    other = table(folders[1] / "tuned.jsonl", 1)

    assert compare(base, same)["status"] == "proven"
    with pytest.raises(NotComparable, match="judge: base has 'gpt-4o', tuned has 'gpt-4-turbo'"):
        compare(base, other)


def test_a_column_can_be_named_as_part_of_the_rule(tmp_path: Path) -> None:
    base = table(tmp_path / "a.jsonl", 0, threshold=0.5)
    tuned = table(tmp_path / "b.jsonl", 1, threshold=0.7)

    assert compare(base, tuned)["status"] == "proven"
    with pytest.raises(NotComparable, match=r"threshold in 40 of 40 cases: 'r0' has 0.5 in base"):
        compare(f"{base}?rule=threshold", f"{tuned}?rule=threshold")


def test_scores_without_any_rule_are_taken_on_trust(tmp_path: Path) -> None:
    base, tuned = (table(tmp_path / f"{n}.jsonl", n) for n in (0, 1))

    found = compare(base, tuned)

    assert found["on_trust"] == 40
    assert "do not say how answers were scored: scores taken on trust" in found["note"]
