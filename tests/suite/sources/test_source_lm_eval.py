"""lm-eval's tasks as a case source: small tasks of YAML and JSON lines, made here."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lm_eval_tasks import MMLU, QUESTIONS
from tunegate.harness import suite
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import MissingExtra, SuiteError
from tunegate.harness.suite.sources.lm_eval import lm_eval

needs_lm_eval = pytest.mark.usefixtures("lm_eval_installed")


def cases(folder: Path, *tasks: str, **options: Any) -> list[Case]:
    found = lm_eval(folder, tasks=tasks, include_path="tasks", **options)
    return list(found)


def complaint(folder: Path, *tasks: str, **options: Any) -> str:
    with pytest.raises(SuiteError) as caught:
        cases(folder, *tasks, **options)
    return str(caught.value).replace(str(folder), "…")


@needs_lm_eval
def test_multiple_choice(task: Callable[..., Path]) -> None:
    """Choices, the index of the right one, the task as tag; lm-eval's space is ours."""
    folder = task(
        "ink",
        output_type="multiple_choice",
        doc_to_text="Question: {{question}}\nAnswer:",
        doc_to_choice="{{choices}}",
        doc_to_target="answer",
    )

    assert cases(folder, "ink", limit=2) == [
        Case(
            id=f"ink:{i}",
            prompt=f"Question: Q{i}? \nAnswer:",
            choices=("red", "blue", "green", "grey"),
            answer=i,
            tags=("ink",),
        )
        for i in range(2)
    ]


@needs_lm_eval
def test_its_mmlu_is_our_mmlu(task: Callable[..., Path], tmp_path: Path) -> None:
    """`from = "mmlu"` with letters makes the prompts that lm-eval's template makes."""
    from tunegate.harness.suite.sources.mmlu import mmlu

    folder = task("ink", **MMLU)
    rows = [{**row, "subject": "ink"} for row in QUESTIONS]
    for split in ("test", "dev"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{split}.jsonl").write_text(text, encoding="utf-8")
    ours = list(mmlu(tmp_path, path=".", few_shot=3, style="letters"))
    theirs = cases(folder, "ink", num_fewshot=3)

    assert [c.prompt for c in theirs] == [c.prompt for c in ours]
    assert [(c.choices, c.answer) for c in theirs] == [(c.choices, c.answer) for c in ours]


@needs_lm_eval
@pytest.mark.parametrize(
    ("text", "delimiter", "prompt", "between"),
    [
        ("Q:", " ", "Q:", None),
        ("Q:", "\n", "Q:", "\n"),
        ("Q:", "", "Q:", ""),
        ("Q: ", "", "Q:", None),
        ("Q:\n", " ", "Q:", "\n "),
    ],
)
def test_what_stands_between(
    task: Callable[..., Path], text: str, delimiter: str, prompt: str, between: str | None
) -> None:
    """The target delimiter, and spaces that end the prompt, as lm-eval moves them."""
    folder = task(
        "ink",
        output_type="multiple_choice",
        doc_to_text=text,
        doc_to_choice=["a", "b"],
        doc_to_target="b",
        target_delimiter=delimiter,
    )
    (case,) = cases(folder, "ink", limit=1)

    assert (case.prompt, case.delimiter, case.answer) == (prompt, between, 1)


@needs_lm_eval
def test_generation(task: Callable[..., Path]) -> None:
    """Prompt, expected answers and the texts that end an answer."""
    config = {
        "doc_to_text": "Name it: {{question}}",
        "generation_kwargs": {"until": ["\n\n", "Q:"], "max_gen_toks": 9},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    folder = task("one", doc_to_target="{{choices[0]}}", **config)
    task("many", doc_to_target="choices", **config)
    one, many = cases(folder, "one", "many", limit=1)

    assert (one.prompt, one.expected, one.stop) == ("Name it: Q0? ", "red", ("\n\n", "Q:"))
    assert many.expected == ("red", "blue", "green", "grey")


@needs_lm_eval
def test_loglikelihood(task: Callable[..., Path]) -> None:
    """The target is the expected answer; the space before it is what stands between."""
    folder = task(
        "last",
        output_type="loglikelihood",
        doc_to_text="The ink is",
        doc_to_target="\n {{choices[1]}}",
    )
    (case,) = cases(folder, "last", limit=1)

    assert (case.prompt, case.expected, case.delimiter) == ("The ink is", "blue", "\n ")


@needs_lm_eval
def test_examples_are_drawn_by_the_seed(task: Callable[..., Path]) -> None:
    """Few-shot examples of a drawing task depend on the seed; one that fixes 0 has none."""
    config = {
        "output_type": "multiple_choice",
        "doc_to_text": "question",
        "doc_to_choice": ["a", "b", "c", "d"],
        "doc_to_target": "answer",
        "fewshot_split": "dev",
    }
    folder = task("drawn", **config)
    task("bare", **config, num_fewshot=0)
    drawn = {cases(folder, "drawn", num_fewshot=2, seed=seed)[0].prompt for seed in range(5)}
    again = [cases(folder, "drawn", num_fewshot=2)[0].prompt for _ in range(2)]

    assert len(drawn) > 1
    assert again[0] == again[1]
    assert cases(folder, "bare", num_fewshot=2)[0].prompt == "Q0?"


@needs_lm_eval
def test_groups_are_taken_apart(task: Callable[..., Path]) -> None:
    config = {"output_type": "loglikelihood", "doc_to_text": "Q", "doc_to_target": " x"}
    folder = task("one", **config)
    task("two", **config)
    text = json.dumps({"group": "both", "task": ["one", "two"]})
    (folder / "tasks" / "both.yaml").write_text(text, encoding="utf-8")

    assert [c.id for c in cases(folder, "both", limit=1)] == ["one:0", "two:0"]


CHOICE = {"output_type": "multiple_choice", "doc_to_choice": ["a", "b"], "doc_to_target": "answer"}


@needs_lm_eval
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "x"},
            "…: lm-eval task 'odd' scores whole documents, which no case can express; run it with "
            "lm-eval --log_samples on both models, and compare its scores of samples by results:",
        ),
        (
            {**CHOICE, "doc_to_text": "{{answer}}", "doc_to_target": "x"},
            "…: lm-eval task 'odd' scores one ending after several beginnings, which no case can "
            "express; run it with lm-eval --log_samples on both models, and compare its scores of "
            "samples by results:",
        ),
        (
            {**CHOICE, "doc_to_text": ""},
            "lm-eval task 'odd', document 0: the text before the answer is empty, and a case needs "
            "a prompt",
        ),
        (
            {**CHOICE, "doc_to_text": "Q", "doc_to_target": "{{[0, 1]}}"},
            "lm-eval task 'odd', document 0: 2 right choices, but a case has one",
        ),
        (
            {**CHOICE, "doc_to_text": "Q", "doc_to_target": "zz"},
            "lm-eval task 'odd', document 0: the target 'zz' names none of the 2 choices",
        ),
        (
            {**CHOICE, "doc_to_text": "{{oops(}}"},
            "…: lm-eval task 'odd' cannot be loaded: TemplateSyntaxError: unexpected '}', expected "
            "')'; fix its YAML",
        ),
    ],
)
def test_what_no_case_can_express(
    task: Callable[..., Path], config: dict[str, Any], expected: str
) -> None:
    """Refused in one line, never scored in another way than lm-eval would."""
    folder = task("odd", [{"answer": 1}], **config)

    assert complaint(folder, "odd") == expected


@needs_lm_eval
def test_more_examples_than_there_are(task: Callable[..., Path]) -> None:
    folder = task("ink", **MMLU)

    assert complaint(folder, "ink", num_fewshot=7) == (
        "lm-eval task 'ink': its prompts cannot be made: AssertionError: Error: number of fewshot "
        "samples requested exceeds the 6 that are available.; fix its YAML"
    )


@needs_lm_eval
def test_data_out_of_reach(task: Callable[..., Path]) -> None:
    folder = task("ink", **MMLU)
    path = folder / "tasks" / "ink.yaml"
    remote = {**json.loads(path.read_text()), "dataset_path": "cais/mmlu", "dataset_kwargs": None}
    path.write_text(json.dumps(remote))
    text = complaint(folder, "ink")

    assert "\n" not in text
    assert "'ink' needs data that is not on this machine" in text
    assert "'cais/mmlu'" in text
    assert "dataset_kwargs: {data_files: {test: FILE}}" in text


@needs_lm_eval
def test_the_hubs_retries_are_not_shown(
    task: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from lm_eval.tasks import TaskManager

    client = logging.getLogger("huggingface_hub.utils._http")

    def unreachable(self: Any, names: list[str]) -> None:
        client.warning("Retrying in 1s [Retry 1/5].")
        raise ConnectionError("Couldn't reach 'cais/mmlu' on the Hub")

    monkeypatch.setattr(TaskManager, "load", unreachable)
    folder = task("ink", **MMLU)

    assert "Couldn't reach 'cais/mmlu' on the Hub" in complaint(folder, "ink")
    client.warning("heard again")
    assert [record.message for record in caplog.records] == ["heard again"]


@needs_lm_eval
def test_missing_folders_and_names(task: Callable[..., Path], monkeypatch: Any) -> None:
    from lm_eval import tasks

    folder = task("colours", **MMLU)
    theirs = tasks.TaskManager
    monkeypatch.setattr(  # lm-eval's own tasks take seconds to read
        tasks, "TaskManager", lambda **options: theirs(**{**options, "include_defaults": False})
    )
    with pytest.raises(SuiteError, match="nowhere: no such folder; include_path starts at"):
        list(lm_eval(folder, tasks=("colours",), include_path="nowhere"))

    assert complaint(folder) == "…: lm-eval: tasks=[] is empty; name at least one task"
    assert complaint(folder, "colors") == (
        "…: unknown lm-eval task 'colors'; did you mean 'colours'?"
    )


def test_without_lm_eval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says how to install it."""
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)

    with pytest.raises(MissingExtra, match=r"pip install 'tunegate\[lm-eval\]'"):
        list(lm_eval(tmp_path, tasks=("mmlu",)))


@needs_lm_eval
def test_in_a_suite(
    task: Callable[..., Path],
    suite_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """suite.toml names the source and its tasks."""
    monkeypatch.chdir(tmp_path)
    task("ink", **MMLU)
    folder = suite_folder(
        'name = "ink"\n'
        '[cases]\nfrom = "lm_eval"\ntasks = ["ink"]\nlimit = 3\ninclude_path = "../tasks"\n'
        '[generation]\ntemplate = "none"\n'
        '[[metrics]]\nuse = "choice_accuracy"\n',
        [],
    )

    assert [case.where for case in suite.load_suite(folder).cases] == [
        f"lm-eval task 'ink', document {i}" for i in range(3)
    ]
