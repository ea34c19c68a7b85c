"""What each reader says about right answers and rules, on files that the tools wrote."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.results.changed_runs import (
    HELM,
    RUNS,
    Edit,
    changed_copy,
    compare,
    in_json,
    in_lines,
    specs,
    sums,
)
from tests.results.recorded_results import RECORDED
from tunegate.harness.records.errors import NotComparable


def set_length(line: dict[str, Any]) -> None:
    line["arguments"]["gen_args_0"]["arg_1"]["max_gen_toks"] = 9


def set_arguments(found: dict[str, Any]) -> None:
    for row in found["results"]["results"]:
        if row["provider"]["label"] == "tuned":
            row["prompt"]["config"] = {"temperature": 1, "seed": 7, "provider": "x"}


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


def set_system_prompt(line: dict[str, Any]) -> None:
    for trajectory in line.get("trajectory", ()):
        for step in trajectory["steps"]:
            if step["source"] == "system":
                step["message"] = "Guess."


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
    "length of one answer": (
        "lm_eval",
        in_lines("samples_sums*", set_length),
        "generation in 12 of 24 cases: .* in base and .*'max_gen_toks': 9",
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
    "arguments of a prompt": (
        "promptfoo",
        in_json("", set_arguments),
        "prompt's arguments in 5 of 5 cases: .* has {} in base and {'temperature': 1} in tuned",
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
    "settings of lmms-eval": (
        "lmms_eval",
        in_json(
            "*_results.json",
            lambda f: f["configs"]["pictures"]["generation_kwargs"].update(max_new_tokens=64),
        ),
        r'generation_kwargs: base has .*"max_new_tokens": 8.*tuned has .*"max_new_tokens": 64',
    ),
    "target of lmms-eval": (
        "lmms_eval",
        in_lines("*_samples_*", lambda line: line.update(target="3")),
        "right answer in 2 of 3 cases: 'pictures/1' has 'red' in base and '3' in tuned",
    ),
    "answer of NeMo Evaluator": (
        "nemo_evaluator",
        in_lines("results.jsonl", lambda line: line.update(expected_answer="8")),
        "right answer in . of 4 cases: 'sums/[023]' has '.*' in base and '8' in tuned",
    ),
    "system prompt of NeMo Evaluator": (
        "nemo_evaluator",
        in_lines("results.jsonl", set_system_prompt),
        r"system prompt in . of 4 cases: .* has \['You add.'\] in base and \['Guess.'\] in tuned",
    ),
    "scorers of NeMo Evaluator": (
        "nemo_evaluator",
        in_json("eval-*.json", lambda f: f["config"].update(scorers=["fuzzy"])),
        "scorers: base has None, tuned has \\['fuzzy'\\]",
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
    base, tuned = specs(form)[0], changed_copy(form, tmp_path, edit)
    if name == "criteria of G-Eval":
        ours = tmp_path / "base"
        shutil.copytree(base, ours)
        in_json("*.json", lambda found: set_criteria(found, "Is it right?"))(ours)
        base = str(ours)

    with pytest.raises(NotComparable, match=told):
        compare(base, tuned)


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
    "argument of the model": (
        lambda log: log["eval"]["model_args"].update(enable_thinking=False, device="cuda:1"),
        "model arguments: base has None, tuned has {'enable_thinking': False}",
    ),
    "extra_body": (
        lambda log: log["plan"]["config"].update(extra_body={"thinking": False}),
        "extra_body: base has None, tuned has {'thinking': False}",
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
    in_json("", lambda log: log["eval"]["task_args"].update(seed=7))(copy)
    in_json("", lambda log: log["eval"]["model_args"].update(model_path="/b", seed=7))(copy)

    assert compare(str(LOG), str(copy))["compared"] == 7


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
