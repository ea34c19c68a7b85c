"""Results of lmms-eval with `--log_samples`: `DATE_samples_TASK.jsonl` and `DATE_results.json`.

A question is named by its `doc_id`, its place in the data: the hash that lmms-eval writes leaves
out images and is often the same for all. Prompts and targets are compared. A metric is a number, or
an object with the score under the task's `score_key`; metrics that lmms-eval computes over the
whole data set are unscored. Format: `lmms_eval/loggers/evaluation_tracker.py` of lmms-eval 0.7.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tunegate.harness.contracts.result_reader import (
    ResultLog,
    ResultRow,
    UnreadLine,
    result_reader,
)
from tunegate.harness.results._files import json_lines
from tunegate.harness.results._lm_eval_files import (
    SampleFile,
    SampleForm,
    find_samples,
    sample_logs,
)
from tunegate.harness.results._values import convert_scores, read_rows, row_fields

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


@result_reader(
    files="the output folder of lmms-eval, or its DATE_samples_TASK.jsonl",
    recognize=lambda path: bool(find_samples(path, _SAMPLES)),
)
def lmms_eval(path: Path) -> Iterator[ResultLog]:
    """Yield a log for each model and task.

    Raises:
        UsageError: there are no samples.
    """
    yield from sample_logs(path, _FORM, _rows)


def _rows(sample: SampleFile) -> Iterator[ResultRow | UnreadLine]:
    score_key = str(sample.config.get("score_key") or "score")
    return read_rows(json_lines(sample.file), partial(_row, sample.task, score_key))


def _row(task: str, score_key: str, where: str, line: Mapping[str, Any]) -> ResultRow:
    raw = {name: line[name] for name in line.keys() - _NO_SCORES}
    corpus = [
        name
        for name, value in raw.items()
        if isinstance(value, list) or (isinstance(value, Mapping) and score_key not in value)
    ]
    scores, errors = convert_scores(
        {k: v.get(score_key) if isinstance(v, Mapping) else v for k, v in raw.items()},
        dict.fromkeys(corpus, CORPUS),
    )
    replies = line.get("resps", line.get("filtered_resps"))
    if isinstance(replies, list) and len(replies) == 1:
        replies = replies[0]
    answer = replies if isinstance(replies, str) else None
    return ResultRow(
        id=str(line.get("doc_id")),
        where=where,
        task=task,
        completion=answer,
        whole=answer is not None,
        scores=scores,
        errors=errors,
        fields=line,
        **row_fields(
            line,
            prompt="input",
            expected="target",
            input_tokens="token_counts.0.input_tokens",
            output_tokens="token_counts.0.output_tokens",
        ),
    )
