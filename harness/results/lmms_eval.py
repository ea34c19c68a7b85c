"""Results of lmms-eval with `--log_samples`: `DATE_samples_TASK.jsonl` and `DATE_results.json`.

A question is named by its `doc_id`, its place in the data: the hash that lmms-eval writes leaves
out images and is often the same for all. Prompts and targets are compared. A metric is a number, or
an object with the score under the task's `score_key`; metrics that lmms-eval computes over the
whole data set are unscored. Format: `lmms_eval/loggers/evaluation_tracker.py` of lmms-eval 0.7.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    UnreadLine,
    result_reader,
    score_value,
    value_at,
)
from tunegate.harness.results._files import json_lines
from tunegate.harness.results._lm_eval_files import (
    SampleFile,
    SampleForm,
    find_samples,
    sample_logs,
)
from tunegate.harness.results._values import text_of, token_count

_SAMPLES = re.compile(r"(?P<date>\d{8}_\d{6})_samples_(?P<task>.+)\.jsonl")
_NO_SCORES = frozenset(
    {
        "doc_id", "doc_hash", "target", "resps", "filtered_resps", "input", "input_media",
        "token_counts",
    }
)  # fmt: skip
"""Keys of a line that are not scores."""
CORPUS = "lmms-eval computes it over the whole data set; it is not a score of a case"


_FORM = SampleForm(
    tool="lmms-eval",
    files="DATE_samples_TASK.jsonl",
    samples=_SAMPLES,
    header="{date}_results.json",
    version="lmms_eval_version",
    filters=False,
)


def _is_lmms_eval(path: Path) -> bool:
    return bool(find_samples(path, _SAMPLES))


@result_reader(
    files="the output folder of lmms-eval, or its DATE_samples_TASK.jsonl", recognize=_is_lmms_eval
)
def lmms_eval(path: Path) -> Iterator[ResultLog]:
    """Yield a log for each model and task.

    Raises:
        UsageError: there are no samples.
    """
    yield from sample_logs(path, _FORM, _rows)


def _rows(sample: SampleFile) -> Iterator[ResultRow | UnreadLine]:
    score_key = str(sample.config.get("score_key") or "score")
    for where, line in json_lines(sample.file):
        yield line if isinstance(line, UnreadLine) else _row(where, sample.task, line, score_key)


def _row(where: str, task: str, line: Mapping[str, Any], score_key: str) -> ResultRow:
    scores: dict[str, float | None] = {}
    errors: dict[str, str] = {}
    for name in line.keys() - _NO_SCORES:
        raw = line[name]
        whole = isinstance(raw, list) or (isinstance(raw, Mapping) and score_key not in raw)
        value, problem = score_value(raw.get(score_key) if isinstance(raw, Mapping) else raw)
        scores[name] = value
        if problem is not None:
            errors[name] = CORPUS if whole else problem
    answer = line.get("filtered_resps")
    replies = line.get("resps", answer)
    single = replies if isinstance(replies, str) else None
    if isinstance(replies, list) and len(replies) == 1 and isinstance(replies[0], str):
        single = replies[0]
    return ResultRow(
        id=str(line.get("doc_id")),
        where=where,
        task=task,
        prompt=text_of(line.get("input")) or None,
        completion=single,
        scores=scores,
        errors=errors,
        expected=text_of(line.get("target")) or None,
        whole=single is not None,
        input_tokens=token_count(value_at(line, "token_counts.0.input_tokens")),
        output_tokens=token_count(value_at(line, "token_counts.0.output_tokens")),
        fields=line,
    )
