"""Results of lighteval: `details_TASK_DATE.parquet` of `--save-details`.

`OUT/details/MODEL/DATE/details_TASK|FEWSHOT_DATE.parquet` holds a row for each question, with the
question (`doc`), the answer (`model_response`) and the scores (`metric`). Each model is a run; the
newest of several dates is read. lighteval's `doc.id` is the row's position, so the id is the hash
of the question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    ScoreTraits,
    UnreadLine,
    content_id,
    result_reader,
    value_at,
)
from tunegate.harness.results._files import json_document, parquet_records
from tunegate.harness.results._values import (
    convert_scores,
    dict_at,
    fields_of,
    list_at,
    read_rows,
    sampling_of,
    text_of,
)

PATTERN = "details_*.parquet"
RULES = (
    "specific", "generation_size", "stop_sequences", "num_samples", "generation_grammar",
    "use_logits", "sampling_methods",
)  # fmt: skip
"""Parts of a question that limit its answer or that its metrics read."""
TASK_RULES = ("version", "hf_revision", "evaluation_splits", "num_samples")
"""Parts of a task's configuration that decide what is scored, and how."""
TASK = re.compile(r"details_(.+)_\d{4}-\d{2}-\d{2}T[\d\-.]+\.parquet")


def _files(path: Path) -> Iterator[Path]:
    files = sorted(path.rglob(PATTERN)) if path.is_dir() else []
    return (file for file in files if TASK.fullmatch(file.name))


@result_reader(
    files="the folder with details_TASK_DATE.parquet",
    recognize=lambda path: next(_files(path), None) is not None,
)
def lighteval(path: Path) -> Iterator[ResultLog]:
    """Yield a run for each model, of its newest date."""
    dates: dict[Path, list[Path]] = {}
    for folder in dict.fromkeys(file.parent for file in _files(path)):
        dates.setdefault(folder.parent, []).append(folder)
    for model, folders in dates.items():
        newest = max(folders, key=lambda folder: folder.name)
        inside = model.relative_to(path) if model.is_relative_to(path) else Path()
        name = "/".join(part for part in inside.parts if part != "details")
        older = len(folders) - 1
        yield _log(newest, name, (f"{older} older runs of {name} are not read",) if older else ())


def _log(folder: Path, model: str, notes: tuple[str, ...]) -> ResultLog:
    files = {
        name[1].rpartition("|")[0] or name[1]: file
        for file in sorted(folder.glob(PATTERN))
        if (name := TASK.fullmatch(file.name))
    }
    general, tasks = _header(folder)
    settings = {
        name[1].rpartition("|")[0] or name[1]: {
            **({"few-shot": name[1].rpartition("|")[2]} if "|" in name[1] else {}),
            **fields_of(tasks.get(name[1]), TASK_RULES),
        }
        for file in files.values()
        if (name := TASK.fullmatch(file.name))
    }

    def rows() -> Iterator[ResultRow | UnreadLine]:
        for task, file in files.items():
            for position, record in enumerate(parquet_records(file)):
                yield from read_rows([record], partial(_row, task, position))

    return ResultLog(
        tool="lighteval",
        rows=rows,
        run=model,
        model=model or None,
        tasks=tuple(files),
        settings=general,
        task_settings=settings,
        traits=dict(_traits(tasks)),
        notes=notes,
    )


def _traits(tasks: Mapping[str, Any]) -> Iterator[tuple[str, ScoreTraits]]:
    """Yield each task's scores with the metric that makes them, which may make several."""
    for task, config in tasks.items():
        for metric in list_at(config, "metrics"):
            names = value_at(metric, "metric_name")
            better = value_at(metric, "higher_is_better")
            for name in names if isinstance(names, list) else [names]:
                up = value_at(better, name) if isinstance(better, dict) else better
                yield (
                    f"{task.rpartition('|')[0] or task}/{name}",
                    ScoreTraits(
                        higher_is_better=up if isinstance(up, bool) else None,
                        rule={"metric": metric},
                    ),
                )


def _header(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return how the model was asked, and task → its configuration, if `results` are there.

    `OUT/results/MODEL/results_DATE.json` belongs to `OUT/details/MODEL/DATE/`.
    """
    parts = folder.absolute().parts
    if "details" not in parts:
        return {}, {}
    at = len(parts) - 1 - parts[::-1].index("details")
    file = Path(*parts[:at], "results", *parts[at + 1 : -1], f"results_{folder.name}.json")
    results = json_document(file) if file.is_file() else None
    model = dict_at(results, "config_general.model_config")
    if not model:
        return {}, dict_at(results, "config_tasks")
    sampling = {**sampling_of(model), **sampling_of(model.get("generation_parameters"))}
    return {"sampling": sampling}, dict_at(results, "config_tasks")


def _row(task: str, position: int, where: str, record: Mapping[str, Any]) -> ResultRow:
    question = text_of(value_at(record, "doc.query"))
    if question is None:
        raise ValueError("no doc.query; is this a details file of lighteval?")
    scores, errors = convert_scores(dict_at(record, "metric"))
    texts = value_at(record, "model_response.text")
    return ResultRow(
        id=content_id([question, value_at(record, "doc.choices")]),
        where=where,
        task=task,
        position=position,
        prompt=_prompt(record, question),
        completion=_first_text(texts),
        reasoning=_first_text(value_at(record, "model_response.reasonings")) or None,
        scores=scores,
        errors=errors,
        expected=_right_answers(record),
        rules=fields_of(record.get("doc"), RULES),
        whole=len(texts) == 1 if isinstance(texts, list) else True,
        fields=record,
    )


def _prompt(record: Mapping[str, Any], asked: str) -> str | Sequence[Mapping[str, Any]]:
    """Return what the model read, with few-shot examples and template."""
    given = value_at(record, "model_response.input")
    if isinstance(given, list) and given and all(isinstance(turn, dict) for turn in given):
        return given
    return text_of(given) or asked


def _first_text(texts: Any) -> str | None:
    if isinstance(texts, list):
        return text_of(texts[0]) if texts else None
    return text_of(texts)


def _right_answers(record: Mapping[str, Any]) -> str | Sequence[str] | None:
    choices, gold = value_at(record, "doc.choices"), value_at(record, "doc.gold_index")
    places = gold if isinstance(gold, list) else [gold]
    if not isinstance(choices, list):
        return None
    right = [
        str(choices[place])
        for place in places
        if isinstance(place, int) and -len(choices) <= place < len(choices)
    ]
    return (right[0] if len(right) == 1 else right) or None
