"""Results of other tools that differ in more than the model, on files that the tools wrote."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.results.recorded_results import RECORDED, write_rows
from tunegate.harness.checks.recorded_results import compare_results
from tunegate.harness.models.results import results
from tunegate.harness.records.errors import NotComparable

HELM = "helm/simple_mcqa%3Amodel=simple_{},data_augmentation=lower,num_train_trials=2"
RUNS = {
    "lm_eval": ("lm_eval/base/ink-base", "lm_eval/tuned/ink-tuned", ""),
    "inspect": ("inspect/base", "inspect/tuned", ""),
    "promptfoo": ("promptfoo/results.json", "promptfoo/results.json", "#{}"),
    "deepeval": ("deepeval/base", "deepeval/tuned", ""),
    "verifiers": ("verifiers/base", "verifiers/tuned", ""),
    "bfcl": ("bfcl", "bfcl", "#{}-prompt"),
    "mlflow": ("mlflow/base.jsonl", "mlflow/tuned.jsonl", ""),
    "openai_evals": ("openai_evals/base.jsonl", "openai_evals/tuned.jsonl", ""),
    "helm": (HELM.format("base"), HELM.format("tuned"), ""),
    "tau2": ("tau2/base.json", "tau2/tuned.json", ""),
    "harbor": ("harbor", "harbor", "#offline/{}"),
}
"""Format → files of base and tuned, and what selects a run in them."""


def compare(base: str, tuned: str, scores: tuple[str, ...] | None = None) -> Mapping[str, Any]:
    """Compare two runs on all cases and scores of base."""
    arms = {"base": results(base), "tuned": results(tuned)}
    found = arms["base"].results
    keys = scores or tuple(dict.fromkeys(summary.key for summary in found.scores))
    return compare_results([("s", case) for case in found.cases], arms, keys)


def specs(form: str) -> tuple[str, str]:
    """Return the specs of the recorded base and tuned."""
    base, tuned, run = RUNS[form]
    return f"{RECORDED / base}{run.format('base')}", f"{RECORDED / tuned}{run.format('tuned')}"


@pytest.mark.parametrize("form", RUNS)
def test_two_models_by_one_rule_are_comparable(form: str) -> None:
    """Names, dates, run ids and answers differ in the tools' files."""
    assert compare(*specs(form))["status"] in {"proven", "declared"}


Edit = Callable[[Any], object]


def in_json(name: str, edit: Edit) -> Callable[[Path], None]:
    """Return an edit of the JSON files of a name."""

    def apply(place: Path) -> None:
        files = [place] if place.is_file() else sorted(place.rglob(name))
        assert files
        for file in files:
            found = json.loads(file.read_text(encoding="utf-8"))
            edit(found)
            file.write_text(json.dumps(found), encoding="utf-8")

    return apply


def in_lines(name: str, edit: Edit) -> Callable[[Path], None]:
    """Return an edit of each line of the JSON-lines files of a name."""

    def apply(place: Path) -> None:
        files = [place] if place.is_file() else sorted(place.rglob(name))
        assert files
        for file in files:
            lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
            for line in lines:
                edit(line)
            write_rows(file, lines)

    return apply


def sums(edit: Edit) -> Callable[[Path], None]:
    """Return an edit of the configuration of lm-eval's task `sums`."""
    return in_json("results_*.json", lambda found: edit(found["configs"]["sums"]))


def set_match(line: dict[str, Any]) -> None:
    if line.get("type") == "match":
        line["data"]["expected"] += "0"


def set_possible(line: dict[str, Any]) -> None:
    if "possible_answer" in line:
        line["possible_answer"] = [{"other": {}}]


def set_expectation(line: dict[str, Any]) -> None:
    for one in line["assessments"]:
        if one["assessment_name"] == "expected_response":
            one["expectation"]["value"] += "0"


def set_criteria(found: dict[str, Any], criteria: str) -> None:
    """Write what GEval logs of itself (DeepEval 4.3.1), with steps that a model wrote."""
    steps = f'[\n    "Compare the answers ({criteria})"\n]'
    parts = (f"Criteria:\n{criteria}", f"Evaluation Steps:\n{steps}", "Rubric:\nNone", "Score: 1.0")
    found["testCases"][1]["metricsData"][0]["verboseLogs"] = " \n \n".join(parts)


def set_weight(line: dict[str, Any]) -> None:
    for trace in line["traces"]:
        if "short" in trace["rewards"]:
            trace["rewards"]["short"]["weight"] = 9


def set_sampling(line: dict[str, Any]) -> None:
    for trace in line["traces"]:
        trace["agent"]["config"]["sampling"] = {"top_p": 0.5, "seed": 3}


def set_references(found: dict[str, Any]) -> None:
    for state in found["request_states"]:
        first, second = state["instance"]["references"]
        first["tags"], second["tags"] = second["tags"], first["tags"]


def set_assertion(found: dict[str, Any]) -> None:
    for row in found["results"]["results"]:
        row["testCase"]["assert"][0]["value"] = "output.includes(context.vars.answer)"


DIFFERENCES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "filter": (
        "lm_eval",
        sums(lambda c: c["filter_list"][0]["filter"][0].update(regex_pattern=r"(\d+)")),
        r"filter of exact_match,strict: base has .*#### .*tuned has .*\(",
    ),
    "metric arguments": (
        "lm_eval",
        sums(lambda c: c["metric_list"][0].update(ignore_case=True)),
        "metric of exact_match,(strict|flexible): .*ignore_case",
    ),
    "doc_to_target": (
        "lm_eval",
        sums(lambda c: c.update(doc_to_target="{{answer}}.")),
        "doc_to_target: base has '{{answer}}', tuned has '{{answer}}.'",
    ),
    "task version": (
        "lm_eval",
        in_json("results_*.json", lambda found: found["versions"].update(sums=2)),
        "task version: base has 1, tuned has 2",
    ),
    "length limit": (
        "lm_eval",
        in_json("results_*.json", lambda f: f["config"].update(model_args="max_length=9,dtype=x")),
        "model_args: base has None, tuned has {'max_length': 9}",
    ),
    "target": (
        "lm_eval",
        in_lines("samples_sums*", lambda line: line.update(target="7")),
        "right answer in 1[12] of 24 cases: 'sums/.*' in base and '7' in tuned",
    ),
    "assertion": (
        "promptfoo",
        in_json("", set_assertion),
        "rule of exact in 5 of 5 cases: .*output === .*output.includes",
    ),
    "expected output": (
        "deepeval",
        in_json("*.json", lambda f: f["testCases"][1].update(expectedOutput="nine")),
        "right answer in 1 of 5 cases: 'sum-2' has '8' in base and 'nine' in tuned",
    ),
    "judge of DeepEval": (
        "deepeval",
        in_json(
            "*.json", lambda f: f["testCases"][1]["metricsData"][0].update(evaluationModel="b")
        ),
        "judge of Exact: base has 'offline-judge', tuned has 'b, offline-judge'",
    ),
    "criteria of G-Eval": (
        "deepeval",
        in_json("*.json", lambda f: set_criteria(f, "Is it brief?")),
        "rule of Exact in 1 of 5 cases: 'sum-2' has .*Is it right.*Is it brief",
    ),
    "weight of a reward": (
        "verifiers",
        in_lines("*", set_weight),
        "weight of reward short in . of 4 cases: .* has 0.2 in base and 9 in tuned",
    ),
    "sampling": (
        "verifiers",
        in_lines("*", set_sampling),
        "sampling: base has None, tuned has {'top_p': 0.5}",
    ),
    "possible answer": (
        "bfcl",
        in_lines("*_score.json", set_possible),
        "right answer in 2 of 12 cases: .*algebra.quadratic_roots.*other",
    ),
    "expectation": (
        "mlflow",
        in_lines("", set_expectation),
        "right answer in 4 of 4 cases: .*'90' in tuned",
    ),
    "expected": ("openai_evals", in_lines("", set_match), "right answer in .*'40' in tuned"),
    "references": ("helm", in_json("scenario_state.json", set_references), "right answer in "),
    "judge of HELM": (
        "helm",
        in_json("run_spec.json", lambda f: f.update(annotators=[{"class_name": "WildBench"}])),
        "annotators: base has None, tuned has .*WildBench",
    ),
    "evaluation criteria": (
        "tau2",
        in_json("", lambda f: f["tasks"][0]["evaluation_criteria"].update(reward_basis=["DB"])),
        "evaluation_criteria in 1 of ",
    ),
    "time limit": (
        "harbor",
        in_json(
            "result.json", lambda f: "config" in f and f["config"].update(timeout_multiplier=2)
        ),
        "timeout_multiplier: base has 1.0, tuned has 2",
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
def test_another_rule_or_right_answer_is_not_comparable(tmp_path: Path, name: str) -> None:
    """The tools' files of tuned, with one change; the message has both values."""
    form, edit, told = DIFFERENCES[name]
    base, tuned = specs(form)
    place, _, run = tuned.partition("#")
    copy = tmp_path / Path(place).name
    (shutil.copytree if Path(place).is_dir() else shutil.copy)(place, copy)
    edit(copy)
    if name == "criteria of G-Eval":
        ours = tmp_path / "base"
        shutil.copytree(base, ours)
        in_json("*.json", lambda found: set_criteria(found, "Is it right?"))(ours)
        base = str(ours)

    with pytest.raises(NotComparable, match=told):
        compare(base, f"{copy}#{run}" if run else str(copy))


LOG = next((RECORDED / "inspect" / "json").glob("*.json"))
INSPECT: dict[str, tuple[Edit, str]] = {
    "target": (
        lambda log: log["samples"][3].update(target="11"),
        "right answer in 1 of 8 cases: 'sums/q3' has '8' in base and '11' in tuned",
    ),
    "token limit": (
        lambda log: log["eval"]["config"].update(token_limit=500),
        "token_limit: base has None, tuned has 500",
    ),
    "temperature": (
        lambda log: log["eval"]["model_generate_config"].update(temperature=0.7),
        "temperature: base has None, tuned has 0.7",
    ),
    "max_tokens": (
        lambda log: log["plan"]["config"].update(max_tokens=64),
        "max_tokens: base has None, tuned has 64",
    ),
    "scorer": (
        lambda log: log["eval"]["scorers"][0].update(options={"location": "any"}),
        "options of scorer match: base has None, tuned has {'location': 'any'}",
    ),
}


@pytest.mark.parametrize("name", INSPECT)
def test_inspect_logs_with_other_settings_are_not_comparable(tmp_path: Path, name: str) -> None:
    edit, told = INSPECT[name]
    copy = tmp_path / LOG.name
    shutil.copy(LOG, copy)
    in_json("", edit)(copy)

    with pytest.raises(NotComparable, match=told):
        compare(str(LOG), str(copy))


def test_connections_seeds_and_retries_of_inspect_may_differ(tmp_path: Path) -> None:
    copy = tmp_path / LOG.name
    shutil.copy(LOG, copy)
    own = {"max_connections": 64, "max_retries": 3, "timeout": 9, "seed": 7, "batch": 100}
    in_json("", lambda log: log["plan"]["config"].update(own))(copy)
    in_json("", lambda log: log["eval"]["config"].update(max_samples=20, retry_on_error=2))(copy)

    assert compare(str(LOG), str(copy))["compared"] == 7


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


def table(path: Path, score: int, **columns: Any) -> str:
    """Write a table of 40 right answers to 40 questions."""
    found = [{"id": f"r{i}", "prompt": f"{i}?", "score": score, **columns} for i in range(40)]
    return str(write_rows(path, found))


@pytest.mark.parametrize("column", ["expected", "target", "judge"])
def test_tables_are_compared_by_right_answer_and_judge(tmp_path: Path, column: str) -> None:
    base = table(tmp_path / "a.jsonl", 0, **{column: "one"})
    same = table(tmp_path / "b.jsonl", 1, **{column: "one"})
    other = table(tmp_path / "c.jsonl", 1, **{column: "two"})

    assert "on_trust" not in compare(base, same)
    with pytest.raises(NotComparable, match="in 40 of 40 cases: 'r0' has 'one' in base and 'two'"):
        compare(base, other)


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


LIGHTEVAL: dict[str, tuple[Edit | None, Edit | None, str]] = {
    "honest": (None, None, ""),
    "gold index": (
        None,
        lambda row: row["doc"].update(gold_index=1 - row["doc"]["gold_index"]),
        "right answer in 4 of 4 cases: .* has '4' in base and '8' in tuned",
    ),
    "length": (
        None,
        lambda row: row["doc"].update(generation_size=9),
        "generation_size in 4 of 4 cases: .* has None in base and 9 in tuned",
    ),
    "metric": (
        lambda found: next(iter(found["config_tasks"].values()))["metrics"][0].update(
            sample_level_fn="ExactMatches(strip_strings=False)"
        ),
        None,
        "metric of em: base has .*normalize_gold.*tuned has .*strip_strings=False",
    ),
    "sampling": (
        lambda found: found["config_general"]["model_config"]["generation_parameters"].update(
            temperature=0.7, seed=3
        ),
        None,
        "sampling: base has {'temperature': 0}, tuned has {'temperature': 0.7}",
    ),
}


@pytest.mark.parametrize("name", LIGHTEVAL)
def test_lighteval_runs_by_another_rule_are_not_comparable(tmp_path: Path, name: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    header, question, told = LIGHTEVAL[name]
    for file in (path for path in (RECORDED / "lighteval").rglob("*") if path.is_file()):
        target = tmp_path / str(file.relative_to(RECORDED)).replace("%7C", "|")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
        if "base" in target.parts:
            continue
        if header and target.suffix == ".json":
            in_json("", header)(target)
        if question and target.suffix == ".parquet":
            rows = pq.read_table(target).to_pylist()
            for row in rows:
                question(row)
            pq.write_table(pa.Table.from_pylist(rows), target)
    specs = [str(tmp_path / "lighteval" / arm) for arm in ("base", "tuned")]

    if not told:
        assert compare(*specs)["status"] == "proven"
        return
    with pytest.raises(NotComparable, match=told):
        compare(*specs)


def test_another_judge_of_wildbench_in_helm_is_not_comparable(tmp_path: Path) -> None:
    """HELM names the judge in each annotation; an empty answer gets no judge, whoever judges."""
    runs = {}
    for name, arm, judge in (("a", "base", "gpt"), ("b", "tuned", "gpt"), ("c", "tuned", "claude")):
        runs[name] = tmp_path / name
        shutil.copytree(RECORDED / HELM.format(arm), runs[name])
        in_json("run_spec.json", lambda spec: spec.update(annotators=[{"class_name": "W"}]))(
            runs[name]
        )

        def annotate(found: Any, judge: str = judge, name: str = name) -> None:
            for number, state in enumerate(found["request_states"]):
                scores = {"prompt_text": "…", f"{judge}_score": 7}
                empty = {"prompt_text": None, "empty_output_score": 1.0}
                state["annotations"] = {"wildbench": scores if number or name == "a" else empty}

        in_json("scenario_state.json", annotate)(runs[name])

    assert compare(str(runs["a"]), str(runs["b"]))["compared"] > 0
    with pytest.raises(NotComparable, match=r"kinds of annotations: .*gpt_score.*claude_score"):
        compare(str(runs["a"]), str(runs["c"]))


def test_oaieval_runs_differ_by_arguments_and_grader_and_not_by_places(tmp_path: Path) -> None:
    """As `oaieval MODEL,GRADER EVAL` writes its spec (evals 3.0.1)."""

    def spec(name: str, grader: str, **args: str) -> str:
        base, tuned = RUNS["openai_evals"][:2]
        copy = tmp_path / f"{name}.jsonl"
        shutil.copy(RECORDED / (base if name == "base" else tuned), copy)

        def edit(line: dict[str, Any]) -> None:
            if "spec" in line:
                line["spec"]["completion_fns"] = [f"offline/{name}", grader]
                args_of = {"samples_jsonl": f"/data/{name}/sums.jsonl", **args}
                cls = "evals.elsuite.modelgraded.classify:ModelBasedClassify"
                line["spec"]["run_config"]["eval_spec"] = {"cls": cls, "args": args_of}

        in_lines("", edit)(copy)
        return str(copy)

    base = spec("base", "gpt-4", modelgraded_spec="fact")

    assert compare(base, spec("same", "gpt-4", modelgraded_spec="fact"))["compared"] == 3
    with pytest.raises(NotComparable, match=r"arguments of the eval: .*'fact'.*'closedqa'"):
        compare(base, spec("other", "gpt-4", modelgraded_spec="closedqa"))
    with pytest.raises(NotComparable, match=r"grader: base has \['gpt-4'\], tuned has \['gpt-5'\]"):
        compare(base, spec("third", "gpt-5", modelgraded_spec="fact"))
