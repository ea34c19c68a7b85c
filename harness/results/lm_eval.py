"""Results of lm-eval with `--log_samples`: `samples_TASK_DATE.jsonl` and `results_DATE.json`.

lm-eval writes a line for each document and filter. They become one row with a score for each metric
and filter, `exact_match,strict-match`. The id is the hash of the document's content, with `doc_id`
for documents that occur twice. A folder may hold several models, each a run, and several dates; the
newest is read for each task.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    ScoreTraits,
    UnreadLine,
    result_reader,
    score_value,
    value_at,
)
from tunegate.harness.records.errors import UsageError
from tunegate.harness.records.wording import count_noun
from tunegate.harness.results._files import json_document, json_lines
from tunegate.harness.results._values import (
    dict_at,
    fields_of,
    list_at,
    sampling_of,
    text_of,
    without_seed,
)

_DATE = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?"
_SAMPLES = re.compile(rf"samples_(?P<task>.+)_(?P<date>{_DATE})\.jsonl")
_OWN_KEYS = {
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics",
    "doc_hash", "prompt_hash", "target_hash",
}  # fmt: skip
"""Keys of a line that are not scores, for versions that do not list the scores."""
HEADERS = (("versions", "task version"), ("n-shot", "number of few-shot examples"))
"""Parts of the header that hold a setting of each task."""
RULES = (
    "output_type", "doc_to_target", "doc_to_choice", "target_delimiter", "process_results",
    "repeats",
)  # fmt: skip
"""Parts of a task's configuration that decide how an answer is generated and scored. What it asks
is compared by the prompts."""
SHARES = frozenset({"acc", "acc_norm", "acc_bytes", "exact_match"})
"""Metrics of `lm_eval/api/metrics.py` that are 0 to 1 whatever the task."""
CORPUS = (
    "lm-eval computes it over the whole data set and logs its parts; it is not a score of a case"
)


def _sample_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if _SAMPLES.fullmatch(path.name) else []
    found = [file for depth in ("", "*/", "*/*/") for file in path.glob(f"{depth}samples_*.jsonl")]
    return sorted(file for file in found if _SAMPLES.fullmatch(file.name))


def _is_lm_eval(path: Path) -> bool:
    return bool(_sample_files(path)) or bool(re.fullmatch(rf"results_{_DATE}\.json", path.name))


@result_reader(
    files="the output folder of lm-eval, or its samples_TASK_DATE.jsonl", recognize=_is_lm_eval
)
def lm_eval(path: Path) -> Iterator[ResultLog]:
    """Yield a log for each model and task.

    Raises:
        UsageError: there are no samples.
    """
    files = _sample_files(path)
    if not files:
        raise UsageError(
            f"{path}: no samples_TASK_DATE.jsonl; run lm-eval with --log_samples, and name its "
            "output folder"
        )
    newest: dict[tuple[Path, str], tuple[str, Path]] = {}
    older: Counter[tuple[Path, str]] = Counter()
    for file in files:
        parts = _SAMPLES.fullmatch(file.name)
        assert parts is not None
        place = (file.parent, parts["task"])
        older[place] += place in newest
        newest[place] = max(newest.get(place, ("", file)), (parts["date"], file))
    for (folder, task), (date, file) in newest.items():
        notes = []
        if older[folder, task]:
            others = count_noun(older[folder, task], "older run")
            notes = [f"{task}: {date} is read, the newest; {others} left out"]
        run = "" if path.is_file() else str(folder.relative_to(path)).removeprefix(".")
        yield _log(file, task, run, folder / f"results_{date}.json", tuple(notes))


def _log(file: Path, task: str, run: str, header: Path, notes: tuple[str, ...]) -> ResultLog:
    found = json_document(header) if header.is_file() else {}
    if not isinstance(found, dict):
        raise UsageError(f"{header}: not a JSON object; name the output folder of lm-eval")
    config = dict_at(dict_at(found, "configs"), task)
    filters = [one.get("name", "none") for one in config.get("filter_list") or [{}]]
    better = dict_at(dict_at(found, "higher_is_better"), task)
    listed = [value_at(one, "metric") for one in list_at(config, "metric_list")]
    names = [name for name in listed if isinstance(name, str) and name not in better]
    generation = without_seed(config.get("generation_kwargs"))
    planned = dict_at(dict_at(found, "n-samples"), task).get("effective")
    model = found.get("model_name") or dict_at(found, "config").get("model")
    return ResultLog(
        tool="lm-eval",
        tool_version=found.get("lm_eval_version"),
        run=run,
        model=text_of(model),
        tasks=(task,),
        settings=_run_settings(found),
        task_settings={
            task: {
                **{name: dict_at(found, at).get(task) for at, name in HEADERS if at in found},
                **fields_of(config, RULES),
                **({"generation_kwargs": generation} if config else {}),
            }
        },
        traits={
            f"{task}/{metric},{name}": ScoreTraits(
                higher_is_better=value if isinstance(value := better.get(metric), bool) else None,
                range=(0.0, 1.0) if metric in SHARES else None,
                rule={
                    "metric": _named(config.get("metric_list"), "metric", metric),
                    "filter": _named(config.get("filter_list"), "name", name),
                },
            )
            for metric in [*better, *names]
            for name in filters
        },
        notes=notes,
        rows=lambda: _rows(file, task, planned if isinstance(planned, int) else 0),
    )


def _named(entries: Any, key: str, name: str) -> Any:
    """Return the entry of a configuration with a name; all of them if none has it."""
    listed = entries if isinstance(entries, list) else []
    return next((one for one in listed if value_at(one, key) == name), entries)


def _run_settings(header: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of all tasks; none if the run has no header."""
    if not header:
        return {}
    config = dict_at(header, "config")
    return {
        "chat template": header.get("chat_template_sha"),
        "system instruction": header.get("system_instruction_sha"),
        **({"gen_kwargs": without_seed(config.get("gen_kwargs"))} if config else {}),
        **({"model_args": sampling_of(_arguments(config.get("model_args")))} if config else {}),
    }


def _arguments(given: Any) -> Any:
    """Return `model_args`, which is an object or a text `pretrained=x,max_length=2048`."""
    if not isinstance(given, str):
        return given
    parts = (part.partition("=") for part in given.split(","))
    return {name.strip(): _argument(value.strip()) for name, _, value in parts}


def _argument(text: str) -> Any:
    """Return what lm-eval reads: a number or truth value, or the text."""
    try:
        return json.loads(text.lower())
    except ValueError:
        return text


@dataclass(slots=True)
class _DocumentScores:
    """The scores of a document, from its lines of all filters."""

    scores: dict[str, float | None] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    first: str = ""
    """Filter of its first line, whose position is the row's."""

    def add(self, line: Mapping[str, Any]) -> None:
        """Add the scores of a line."""
        name = line.get("filter")
        self.first = self.first or str(name)
        listed = line.get("metrics")
        for metric in listed if isinstance(listed, list) else line.keys() - _OWN_KEYS:
            key = f"{metric},{name}" if name else str(metric)
            raw = line.get(metric)
            value, problem = score_value(raw)
            self.scores[key] = value
            if problem is not None:
                self.errors[key] = CORPUS if isinstance(raw, list) else problem


def _rows(file: Path, task: str, planned: int) -> Iterator[ResultRow | UnreadLine]:
    # Lines of one document are apart, the prompts are long: scores are collected first.
    documents: dict[tuple[Any, str], _DocumentScores] = {}
    for _, line in json_lines(file):
        if isinstance(line, dict):
            documents.setdefault(_name(line), _DocumentScores()).add(line)
    cut = False
    for where, line in json_lines(file):
        if isinstance(line, UnreadLine):
            cut |= line.cut
            yield line
        elif str(line.get("filter")) == (found := documents[_name(line)]).first:
            yield _row(where, task, line, found)
    if planned > len(documents) and not cut:
        problem = f"{len(documents)} of {planned} documents are there"
        yield UnreadLine(str(file), problem, cut=True)


def _name(line: Mapping[str, Any]) -> tuple[Any, str]:
    number = line.get("doc_id")
    return (number if isinstance(number, int) else None, str(line.get("doc_hash") or number))


def _row(where: str, task: str, line: Mapping[str, Any], found: _DocumentScores) -> ResultRow:
    number, name = _name(line)
    given = _first_arguments(line)
    asked = sampling_of(value_at(given, "1"))
    return ResultRow(
        id=name[:16],
        where=where,
        task=task,
        position=number,
        prompt=(text_of(given[0]) if given else None) or None,
        prompt_sha256=text_of(line.get("prompt_hash")),
        completion=_completion(line),
        scores=found.scores,
        errors=found.errors,
        expected=text_of(line.get("target")) or None,
        rules={"generation": asked} if asked else {},
        whole=_answers(line) == 1,
        fields=line,
    )


def _first_arguments(line: Mapping[str, Any]) -> list[Any]:
    """Return the arguments of the first request; versions before 0.4.4 write lists."""
    arguments = line.get("arguments")
    if isinstance(arguments, Mapping):
        return list(dict_at(arguments, "gen_args_0").values())
    first = arguments[0] if isinstance(arguments, list) and arguments else None
    return first if isinstance(first, list) else []


def _answers(line: Mapping[str, Any]) -> int:
    """Return how many answers were scored together."""
    found = line.get("resps")
    listed = found if isinstance(found, list) else []
    return sum(len(one) if isinstance(one, list) else 1 for one in listed)


def _completion(line: Mapping[str, Any]) -> str | None:
    """Return the first text that the model wrote; None for log-likelihoods."""
    given, found = _first_arguments(line), line.get("resps")
    for _ in range(2):
        found = found[0] if isinstance(found, list) and found else None
    written = len(given) > 1 and isinstance(given[1], Mapping)  # generation settings
    return found if written and isinstance(found, str) else None
