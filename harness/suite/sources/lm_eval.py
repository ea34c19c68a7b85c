"""Cases from lm-eval's tasks: their data, prompts and answers, scored by our metrics.

Prompts include the few-shot examples, so the suite has `template = "none"`. Tasks that don't fit
are refused; `results:` compares two runs of lm-eval by lm-eval's own metrics.

A task's files may hold Python that runs when the suite is loaded: name only folders that you trust.

Example:
    [cases]
    from = "lm_eval"
    tasks = ["mmlu_anatomy", "my_task"]
    include_path = "tasks"      # a folder of your own YAML files
    limit = 20
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tunegate.harness.contracts.quiet import quiet_libraries
from tunegate.harness.contracts.source import make_case
from tunegate.harness.records.cases import Case
from tunegate.harness.records.errors import (
    MissingExtra,
    SuiteError,
    error_summary,
    unknown_name_message,
)

NAMES_SHOWN = 20
"""Most task names listed when no name is similar; lm-eval has thousands."""


def lm_eval(
    folder: Path,
    *,
    tasks: tuple[str, ...],
    limit: Annotated[int, Field(ge=1)] | None = None,
    num_fewshot: Annotated[int, Field(ge=0)] | None = None,
    include_path: str = "",
    seed: int = 1234,
) -> Iterator[Case]:
    """Yield the documents of lm-eval's tasks as cases, tagged with their task.

    Args:
        folder: The suite's folder.
        tasks: Names of tasks, groups or tags.
        limit: The first N documents of each task, like lm-eval's `--limit`; by default all.
        num_fewshot: Answered examples in front, like `--num_fewshot`; a task that fixes 0 keeps 0.
        include_path: Folder of more task files, from the suite's folder. If it has all the tasks,
            lm-eval's own are not read, which saves seconds.
        seed: Seed of the drawing of few-shot examples; lm-eval's default is 1234.

    Raises:
        SuiteError: a task is unknown, its data set is out of reach, or it cannot be cases.
        MissingExtra: lm-eval is not installed.
    """
    where = f"{folder}: lm-eval"
    if not tasks:
        raise SuiteError([f"{where}: tasks=[] is empty; name at least one task"])
    problems: list[str] = []
    for name, task in _load(folder, tasks, include_path).items():
        refusal = _refusal(task)
        if refusal:
            problems.append(f"{where} task {name!r} {refusal}")
            continue
        for number, doc, task_requests in _documents(task, name, limit, num_fewshot, seed):
            place = f"lm-eval task {name!r}, document {number}"
            try:
                fields = _fields(task, doc, task_requests)
                yield make_case({"id": f"{name}:{number}", "tags": [name], **fields}, place)
            except ValueError as error:
                problems.append(f"{place}: {error}")
    if problems:
        raise SuiteError(problems)


def _load(folder: Path, tasks: Sequence[str], include_path: str) -> Mapping[str, Any]:
    """Return task name → lm-eval task, with groups and tags expanded."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise MissingExtra("the case source 'lm_eval'", "lm-eval") from error
    own_tasks = folder / include_path if include_path else None
    if own_tasks and not own_tasks.is_dir():
        raise SuiteError(
            [f"{own_tasks}: no such folder; include_path starts at the suite's folder"]
        )
    if own_tasks:
        manager = TaskManager(include_path=str(own_tasks), include_defaults=False)
        if set(tasks) <= set(manager.all_tasks):
            try:
                return _load_tasks(folder, tasks, manager)
            except SuiteError as error:
                # a group may name lm-eval's own tasks, but a data set would still be missing
                if isinstance(error.__cause__, OSError):
                    raise
    return _load_tasks(
        folder, tasks, TaskManager(include_path=str(own_tasks) if own_tasks else None)
    )


def _load_tasks(folder: Path, tasks: Sequence[str], manager: Any) -> Mapping[str, Any]:
    names = tuple(manager.all_tasks)
    unknown = [name for name in tasks if name not in names]
    if unknown:
        raise SuiteError([f"{folder}: {_unknown_task(name, names)}" for name in unknown])
    loaded: dict[str, Any] = {}
    for name in tasks:
        try:
            with quiet_libraries("huggingface_hub"):  # its client prints every retry
                loaded |= manager.load([name])["tasks"]
        except OSError as error:
            raise SuiteError(
                [
                    f"{folder}: lm-eval task {name!r} needs data that is not on this machine "
                    f"({error_summary(error)}); for a local copy, write the task's YAML with "
                    "dataset_path: json and dataset_kwargs: {data_files: {test: FILE}}, and name "
                    "its folder as include_path"
                ]
            ) from error
        except Exception as error:  # the task's YAML, templates or Python
            raise SuiteError(
                [
                    f"{folder}: lm-eval task {name!r} cannot be loaded: {error_summary(error)}; "
                    "fix its YAML"
                ]
            ) from error
    return loaded


def _unknown_task(name: str, names: tuple[str, ...]) -> str:
    text = unknown_name_message(name, names, what="lm-eval task")
    if "did you mean" in text or len(names) <= NAMES_SHOWN:
        return text
    return f"unknown lm-eval task {name!r}; `lm-eval ls tasks` lists all {len(names)}"


def _refusal(task: Any) -> str | None:
    """Return why a task's documents cannot be cases, or None."""
    from lm_eval.api.task import ConfigurableTask

    reason = None
    if not isinstance(task, ConfigurableTask):
        reason = "is a Python class that scores in its own way"
    elif getattr(task, "MULTIMODAL", False):
        reason = "has pictures or sound"
    elif task.OUTPUT_TYPE == "loglikelihood_rolling":
        reason = "scores whole documents"
    elif task.OUTPUT_TYPE == "multiple_choice" and task.multiple_input:
        reason = "scores one ending after several beginnings"
    elif task.OUTPUT_TYPE == "multiple_choice" and task.config.process_results is not None:
        reason = "scores its choices by a function of its own (process_results)"
    return (
        reason
        and f"{reason}, which no case can express; run it with lm-eval --log_samples on both "
        "models, and compare its scores of samples by results:"
    )


def _documents(
    task: Any, name: str, limit: int | None, num_fewshot: int | None, seed: int
) -> Iterator[tuple[int, Any, list[Any]]]:
    """Yield (number, document, requests that lm-eval would send for it)."""
    # as in lm_eval.simple_evaluate: a task that fixes 0 keeps 0
    fixed = task.get_config("num_fewshot")
    if fixed is None or (num_fewshot is not None and fixed != 0):
        task.set_config(key="num_fewshot", value=num_fewshot or 0)
    task.set_fewshot_seed(seed=seed)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            task.build_all_requests(limit=limit)
    except Exception as error:  # templates and Python of the task: anything may come
        raise SuiteError(
            [
                f"lm-eval task {name!r}: its prompts cannot be made: {error_summary(error)}; "
                "fix its YAML"
            ]
        ) from error
    for number, instances in groupby(task.instances, key=lambda instance: instance.doc_id):
        requests = list(instances)
        yield number, requests[0].doc, requests


def _fields(task: Any, doc: Any, task_requests: Sequence[Any]) -> dict[str, Any]:
    """Return the fields of a case.

    Raises:
        ValueError: the document does not fit one.
    """
    context = task_requests[0].args[0]
    if task.OUTPUT_TYPE == "generate_until":
        return {"prompt": context, **_expected_text(task, doc), **_stop(task_requests[0].args[1])}
    # trailing spaces belong to the answer, as in lm-eval's `_encode_pair`
    prompt = context.rstrip()
    between = context[len(prompt) :]
    if not prompt:
        raise ValueError("the text before the answer is empty, and a case needs a prompt")
    if task.OUTPUT_TYPE == "loglikelihood":
        target = str(task_requests[0].args[1])
        text = target.lstrip()
        between += target[: len(target) - len(text)]
        fields: dict[str, Any] = {"expected": text}
    else:
        choices = [str(choice) for choice in task.doc_to_choice(doc)]
        between += task_requests[0].args[1].removesuffix(choices[0])
        fields = {"choices": choices, "answer": _answer(task.doc_to_target(doc), choices)}
    return {"prompt": prompt, **fields, **({} if between == " " else {"delimiter": between})}


def _answer(target: Any, choices: Sequence[str]) -> int:
    """Return the index of the right choice, which a task gives as index or text."""
    if isinstance(target, list):
        if len(target) != 1:
            raise ValueError(f"{len(target)} right choices, but a case has one")
        target = target[0]
    if isinstance(target, str) and target in choices:
        return list(choices).index(target)
    if type(target) is int and 0 <= target < len(choices):
        return target
    raise ValueError(f"the target {target!r} names none of the {len(choices)} choices")


def _expected_text(task: Any, doc: Any) -> dict[str, Any]:
    target = task.doc_to_target(doc)
    if task.config.doc_to_choice is not None and type(target) is int:
        target = task.doc_to_choice(doc)[target]
    if isinstance(target, list):
        return {"expected": [str(text) for text in target]} if target else {}
    return {"expected": str(target)}


def _stop(settings: Mapping[str, Any]) -> dict[str, Any]:
    until = settings.get("until") or []
    texts = [text for text in ([until] if isinstance(until, str) else until) if text]
    return {"stop": texts} if texts else {}
