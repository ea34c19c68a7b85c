"""Results of lm-eval with `--log_samples`: `samples_TASK_DATE.jsonl` and `results_DATE.json`.

lm-eval writes a line for each document and filter. They become one row with a score for each metric
and filter, `exact_match,strict-match`. The id is the hash of the document's content, with `doc_id`
for documents that occur twice. A folder may hold several models, each a run, and several dates; the
newest is read for each task.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    UnreadLine,
    result_reader,
    value_at,
)
from tunegate.harness.results._files import json_lines
from tunegate.harness.results._lm_eval_files import (
    SampleFile,
    SampleForm,
    find_samples,
    sample_logs,
)
from tunegate.harness.results._values import (
    convert_scores,
    dict_at,
    sampling_of,
    text_of,
)

_DATE = r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?"
_SAMPLES = re.compile(rf"samples_(?P<task>.+)_(?P<date>{_DATE})\.jsonl")
_OWN_KEYS = {
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics",
    "doc_hash", "prompt_hash", "target_hash",
}  # fmt: skip
"""Keys of a line that are not scores, for versions that do not list the scores."""
CORPUS = (
    "lm-eval computes it over the whole data set and logs its parts; it is not a score of a case"
)


_FORM = SampleForm(
    tool="lm-eval",
    files="samples_TASK_DATE.jsonl",
    samples=_SAMPLES,
    header="results_{date}.json",
    version="lm_eval_version",
    filters=True,
)


def _is_lm_eval(path: Path) -> bool:
    named = re.fullmatch(rf"results_{_DATE}\.json", path.name)
    return bool(named or find_samples(path, _SAMPLES))


@result_reader(
    files="the output folder of lm-eval, or its samples_TASK_DATE.jsonl", recognize=_is_lm_eval
)
def lm_eval(path: Path) -> Iterator[ResultLog]:
    """Yield a log for each model and task.

    Raises:
        UsageError: there are no samples.
    """
    yield from sample_logs(path, _FORM, _rows)


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
        metrics = listed if isinstance(listed, list) else line.keys() - _OWN_KEYS
        raw = {f"{metric},{name}" if name else str(metric): line.get(metric) for metric in metrics}
        corpus = [key for key, value in raw.items() if isinstance(value, list)]
        scores, errors = convert_scores(raw, dict.fromkeys(corpus, CORPUS))
        self.scores |= scores
        self.errors |= errors


def _rows(sample: SampleFile) -> Iterator[ResultRow | UnreadLine]:
    file, task = sample.file, sample.task
    planned = dict_at(dict_at(sample.header, "n-samples"), task).get("effective")
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
        elif str(line.get("filter")) == (document := documents[_name(line)]).first:
            yield _row(where, task, line, document)
    if isinstance(planned, int) and planned > len(documents) and not cut:
        problem = f"{len(documents)} of {planned} documents are there"
        yield UnreadLine(str(file), problem, cut=True)


def _name(line: Mapping[str, Any]) -> tuple[Any, str]:
    number = line.get("doc_id")
    return (number if isinstance(number, int) else None, str(line.get("doc_hash") or number))


def _row(where: str, task: str, line: Mapping[str, Any], document: _DocumentScores) -> ResultRow:
    number, name = _name(line)
    arguments = _first_arguments(line)
    generation = sampling_of(value_at(arguments, "1"))
    return ResultRow(
        id=name[:16],
        where=where,
        task=task,
        position=number,
        prompt=(text_of(arguments[0]) if arguments else None) or None,
        prompt_sha256=text_of(line.get("prompt_hash")),
        completion=_completion(line),
        scores=document.scores,
        errors=document.errors,
        expected=text_of(line.get("target")) or None,
        rules={"generation": generation} if generation else {},
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
    replies = line.get("resps")
    listed = replies if isinstance(replies, list) else []
    return sum(len(one) if isinstance(one, list) else 1 for one in listed)


def _completion(line: Mapping[str, Any]) -> str | None:
    """Return the first text that the model wrote; None for log-likelihoods."""
    arguments, answer = _first_arguments(line), line.get("resps")
    for _ in range(2):
        answer = answer[0] if isinstance(answer, list) and answer else None
    written = len(arguments) > 1 and isinstance(arguments[1], Mapping)  # generation settings
    return answer if written and isinstance(answer, str) else None
