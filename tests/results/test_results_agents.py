"""Readers of HELM, tau2-bench and Harbor.

Files are those that the tools wrote (`record_*.py`). The wanted numbers are the tools' own
summaries, corrected by what they count as a wrong answer though nothing was answered.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.results.recorded_results import RECORDED, gate, write_suite
from tunegate.harness.contracts.result_reader import ResultRow, UnreadLine
from tunegate.harness.contracts.result_set import read_results
from tunegate.harness.contracts.result_spec import ResultSpec, read_logs
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.verdict import Verdict

HELM = RECORDED / "helm"
TAU2 = RECORDED / "tau2"
HARBOR = RECORDED / "harbor"


def rows_of(spec: str | Path) -> Iterator[ResultRow | UnreadLine]:
    """Yield the rows of all runs of a spec."""
    for log in read_logs(ResultSpec.parse(str(spec)))[1]:
        yield from log.rows()


def read(spec: str | Path) -> list[ResultRow]:
    """Return the rows of a spec, all of which must be readable."""
    found = list(rows_of(spec))
    assert all(isinstance(row, ResultRow) for row in found)
    return [row for row in found if isinstance(row, ResultRow)]


@pytest.mark.parametrize("model", ["base", "tuned"])
@pytest.mark.parametrize("perturbed", [False, True])
def test_the_means_are_those_of_helm_but_for_refused_requests(model: str, perturbed: bool) -> None:
    """HELM's mean counts a refused request as a wrong answer; without those the sums are equal."""
    folder = next(each for each in HELM.iterdir() if f"simple_{model}," in each.name)
    stats = json.loads((folder / "stats.json").read_text())
    wanted = next(
        stat
        for stat in stats
        if stat["name"]["name"] == "exact_match"
        and stat["name"]["split"] == "test"
        and stat["name"].get("perturbation", {}).get("computed_on")
        == ("perturbed" if perturbed else None)
    )
    found = [row for row in read(folder) if row.id.endswith("+lowercase") is perturbed]
    refused = [row for row in found if row.error]

    assert len(refused) == 2
    assert {row.error for row in refused} == {"the content filter refused the request"}
    assert len(found) == 16
    total = sum(row.scores["exact_match"] or 0 for row in found if not row.error)
    assert total / len(found) == pytest.approx(wanted["mean"])


def test_sets_of_examples_of_helm_are_samples_and_models_are_runs() -> None:
    """A folder of two models is two runs; eight questions and their copies have two samples."""
    with pytest.raises(UsageError, match="#simple/base, #simple/tuned"):
        read(HELM)
    found = read_results(f"{HELM}#simple/base")

    assert (len(found.cases), found.samples, found.tool) == (16, 2, "HELM")
    assert set(found.tasks) == {"simple_mcqa:data_augmentation=lower,num_train_trials=2"}
    assert found.settings(next(iter(found.tasks)))["max_tokens"] == 5
    assert {summary.key for summary in found.scores} == {
        *(f"{kind}exact_match{at}" for kind in ("", "quasi_", "prefix_", "quasi_prefix_")
          for at in ("", "@5")), "logprob",
    }  # fmt: skip


def test_one_set_of_examples_of_helm_compares_the_whole_prompt(tmp_path: Path) -> None:
    folder = next(HELM.glob("*simple_base*"))
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    for name in ("run_spec.json", "scenario_state.json", "per_instance_stats.json"):
        found = json.loads((copy / name).read_text())
        if name == "run_spec.json":
            found["adapter_spec"]["num_train_trials"] = 1
        elif name == "scenario_state.json":
            states = found["request_states"]
            found["request_states"] = [one for one in states if one["train_trial_index"] == 0]
        else:
            found = [one for one in found if one["train_trial_index"] == 0]
        (copy / name).write_text(json.dumps(found))

    row = read(copy)[0]
    assert str(row.prompt).startswith("Answer the following questions with a single letter only.")
    assert (row.completion, row.expected) in {(" A", "Even"), (" B", "Odd"), (" A", "Odd"),
                                              (" B", "Even")}  # fmt: skip


@pytest.mark.parametrize("path", ["base.json", "base_folder"])
def test_errors_of_infrastructure_and_user_are_no_zeros_of_tau2(path: str) -> None:
    """The simulated user's error has reward 0 in the file; it says nothing about the agent."""
    found = {(row.id, row.sample): row for row in read(TAU2 / path)}
    rewards = {key: None if row.error else row.scores["reward"] for key, row in found.items()}

    assert rewards == {
        ("create_task_1", 0): 0.0, ("create_task_1", 1): 0.0,
        ("update_task_1", 0): 1.0, ("update_task_1", 1): 1.0,
        ("impossible_task_1", 0): 0.0, ("impossible_task_1", 1): None,
        ("update_task_with_initialization_actions", 0): None,
        ("update_task_with_initialization_actions", 1): None,
    }  # fmt: skip
    refused = found["impossible_task_1", 1].error
    assert refused == "infrastructure_error: 503 Service Unavailable"
    assert found["create_task_1", 0].scores == {
        "reward": 0.0, "reward.DB": 0.0, "reward.COMMUNICATE": 1.0,
    }  # fmt: skip
    assert found["create_task_1", 0].output_tokens == 14
    assert found["create_task_1", 0].completion == "That is done."


def test_another_simulated_user_is_another_measurement(tmp_path: Path) -> None:
    """Two runs of tau2-bench whose users are played by different models are not comparable."""
    changed = json.loads((TAU2 / "tuned.json").read_text())
    changed["info"]["user_info"]["llm"] = "another"
    (tmp_path / "tuned.json").write_text(json.dumps(changed))
    suite = write_suite(
        tmp_path, TAU2 / "base.json", score="reward", options="binary = true",
        generation="[generation]\nsamples = 2",
    )  # fmt: skip
    verdict = gate(suite, str(TAU2 / "base.json"), str(tmp_path / "tuned.json"))
    assert verdict.verdict is Verdict.NOT_COMPARABLE
    told = (tmp_path / "run" / "verdict.json").read_text()
    assert "simulated user" in told
    assert "another" in told


@pytest.mark.parametrize("model", ["base", "tuned"])
def test_rewards_of_harbor_are_those_of_the_job(model: str) -> None:
    """The job's own summary names the trials of each reward; a refused call is not among them."""
    job = json.loads((HARBOR / "result.json").read_text())
    summary = job["stats"]["evals"][f"looked-up__offline/{model}__sums"]
    refused = set(summary["exception_stats"]["ConnectionError"])
    wanted = {
        trial: float(value)
        for value, trials in summary["reward_stats"]["reward"].items()
        for trial in trials
    }
    assert len(refused & wanted.keys()) == 2, "Harbor counts trials without an answer"

    found = read(f"{HARBOR}#offline/{model}")
    scored = {row.fields["trial_name"]: row.scores["reward"] for row in found if not row.error}
    assert scored == {trial: value for trial, value in wanted.items() if trial not in refused}
    reasons = {str(row.error).split(":")[0] for row in found if row.error}
    assert reasons == {"ConnectionError", "RewardFileNotFoundError"}
    slow = [row for row in found if row.id == "slow"]
    assert [row.scores["reward"] for row in slow] == [1.0, 1.0], "out of time after its work"
    assert all(row.latency_s is not None and 2 <= row.latency_s < 4 for row in slow)


def test_a_task_of_harbor_that_changed_is_another_question(tmp_path: Path) -> None:
    copy = tmp_path / "job"
    shutil.copytree(HARBOR, copy)
    for file in copy.glob("sum__*/result.json"):
        file.write_text(file.read_text().replace('"task_checksum": "', '"task_checksum": "0'))
    suite = write_suite(
        tmp_path, Path(f"{HARBOR}#offline/base"), score="reward",
        generation="[generation]\nsamples = 2",
    )  # fmt: skip
    verdict = gate(suite, f"{HARBOR}#offline/base", f"{copy}#offline/tuned")
    assert verdict.verdict is Verdict.NOT_COMPARABLE


def test_a_trial_that_is_still_written_is_told(tmp_path: Path) -> None:
    """A cut-off result is an unread line with its place; the other trials are read."""
    copy = tmp_path / "job"
    shutil.copytree(HARBOR, copy)
    first = sorted(copy.glob("sum__*/result.json"))[0]
    first.write_text(first.read_text()[:-700])

    found = [row for row in rows_of(f"{copy}#offline/base") if isinstance(row, UnreadLine)]
    assert [(line.where, line.cut) for line in found] == [(str(first), True)]


@pytest.mark.parametrize(
    ("source", "change"),
    [
        ("harbor", ('"schema_version": 1,', '"schema_version": 2,')),
        ("helm", ('"adapter_spec"', '"adapter"')),
        ("tau2", ('"tasks"', '"task_list"')),
    ],
)
def test_unknown_forms_are_refused_in_a_line(
    tmp_path: Path, source: str, change: tuple[str, str]
) -> None:
    copy = tmp_path / source
    shutil.copytree(RECORDED / source, copy)
    for file in copy.rglob("*.json"):
        file.write_text(file.read_text().replace(*change))
    path = copy / "base.json" if source == "tau2" else copy
    with pytest.raises(UsageError) as told:
        read(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("source", ["helm", "tau2", "harbor"])
def test_damaged_files_end_in_no_traceback(tmp_path: Path, source: str) -> None:
    drawn = random.Random(7)
    strange = ["null", "true", "-1", '"x"', "[]", "{}", "[[]]", '{"a": 1}', "NaN"]
    copy = tmp_path / source
    shutil.copytree(RECORDED / source, copy)
    files = sorted(copy.rglob("*.json"))
    texts = {file: file.read_text() for file in files}
    for _ in range(40):
        file = drawn.choice(files)
        found = json.loads(texts[file])
        for _ in range(3):
            _spoil(found, drawn, strange)
        file.write_text(json.dumps(found))
        run = "#simple/base" if source == "helm" else "#offline/base" if source == "harbor" else ""
        path = copy / "base.json" if source == "tau2" else copy
        with suppress(UsageError):
            read_results(f"{path}?format={source}{run}")
        file.write_text(texts[file])


def _spoil(value: object, drawn: random.Random, strange: list[str]) -> None:
    """Put a strange JSON value into a random place."""
    while True:
        keys: list[object] = (
            list(value) if isinstance(value, dict)
            else list(range(len(value))) if isinstance(value, list) else []
        )  # fmt: skip
        if not keys:
            return
        key = drawn.choice(keys)
        inner = value[key]  # type: ignore[index]
        if not isinstance(inner, dict | list) or not inner or drawn.random() < 0.2:
            value[key] = json.loads(drawn.choice(strange))  # type: ignore[index]
            return
        value = inner
